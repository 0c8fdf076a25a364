"""Docker Swarm: a manager and two workers, the workers first; a service runs on all; one worker pressed again.

Nothing is pulled: the image of the service is what `docker import` makes of the node's own busybox.
"""

from stage import Check

ORDER = [("worker2", 0), ("worker1", 30), ("manager1", 120)]

NODES = "sudo -n docker node ls --format '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}' | sort"
ALL_READY = r"\Amanager1 Ready Active Leader\nworker1 Ready Active ?\nworker2 Ready Active ?\Z"
# busybox with the libraries it is linked with, at their own places.
IMPORT = ("sudo -n docker image inspect local/busybox >/dev/null 2>&1 || "
          "tar -C / --dereference -cf - bin/busybox $(ldd /bin/busybox | grep -o '/[^ ]*' | sed 's,^/,,') | "
          "sudo -n docker import - local/busybox >/dev/null; "
          "sudo -n docker run --rm --network none local/busybox /bin/busybox echo it runs")
SERVICE = ("sudo -n docker service inspect every >/dev/null 2>&1 || "
           "sudo -n docker service create --detach --no-resolve-image --name every --mode global "
           "local/busybox /bin/busybox sleep 1000000 >/dev/null; "
           "sudo -n docker service ps every --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' | sort")

CHECKS = [
    Check("manager1", "three nodes are ready", NODES, ALL_READY),
    Check("*", "is part of the swarm", "sudo -n docker info --format '{{.Swarm.LocalNodeState}}'", "^active$"),
    Check("*", "a container runs from an image made here", IMPORT, r"^it runs\Z"),
    Check("manager1", "a service runs on all three", SERVICE, r"\Amanager1 Running.*\nworker1 Running.*\nworker2 Running"),
]


def play(stage):
    stage.start_in_order()
    stage.settle()
    stage.common()
    stage.ask_all(CHECKS)

    stage.switch_off("worker1")
    stage.press_again("worker1")
    stage.start("worker1")
    stage.settle("worker1")
    stage.common()
    # And what was left of the old one is gone.
    stage.ask_all([
        Check("manager1", "three nodes are ready again", NODES, ALL_READY),
        Check("worker1", "a container runs from an image made here", IMPORT, r"^it runs\Z"),
        Check("manager1", "the service runs on all three", SERVICE, CHECKS[-1].wanted),
    ])
