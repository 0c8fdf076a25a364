"""GlusterFS: a replicated volume of three bricks mounts on all, and is whole again after a node was without power."""

from stage import Check

# Where the recipe mounts its volume.
VOLUME = "/mnt/gluster"

MOUNTED = Check("*", "the volume is mounted", f"ls {VOLUME} >/dev/null; findmnt --noheadings --output FSTYPE {VOLUME}",
                r"^fuse\.glusterfs\Z")
CHECKS = [
    MOUNTED,
    Check("brick1", "it is one of three replicas", "sudo -n gluster volume info | grep '^Number of Bricks'", "1 x 3 = 3"),
    Check("brick1", "all bricks are online", "sudo -n gluster volume status all detail | grep -c '^Online *: Y'",
          r"\A3\Z"),
    Check("*", "it writes", f"hostname | sudo -n tee {VOLUME}/from-$(hostname)", r"\Abrick\d\Z"),
    Check("*", "it reads what all wrote", f"sort {VOLUME}/from-brick*", r"\Abrick1\nbrick2\nbrick3\Z"),
]


def play(stage):
    stage.start_in_order()
    stage.settle()
    stage.common()
    stage.ask_all(CHECKS)
    stage.cut_power("brick3")
    stage.ask_all([
        # Gluster waits 42 seconds for a brick that is silent (network.ping-timeout).
        Check("brick1", "two of three still take files", f"echo late | sudo -n tee {VOLUME}/late", r"\Alate\Z"),
        Check("brick2", "and read them", f"cat {VOLUME}/late", r"\Alate\Z"),
    ])
    stage.start("brick3")
    stage.settle("brick3")
    stage.ask_all([
        MOUNTED._replace(node="brick3", what="the volume is mounted again"),
        Check("brick3", "with what was written meanwhile", f"cat {VOLUME}/late", r"\Alate\Z"),
        Check("brick1", "nothing is left to heal", "sudo -n gluster volume heal $(sudo -n gluster volume list) info | "
              "grep '^Number of entries' | sort -u", r"\ANumber of entries: 0\Z"),
    ])
