"""SLURM: a controller and two compute nodes, a job on both, its file on the NFS share; one compute node pressed again."""

from stage import Check

# The folder that nfs-server exports and nfs-client mounts, unless told otherwise.
SHARE = "/srv/shared"

BOTH = r"\Acompute1\ncompute2\Z"
JOB = f"""\
sudo -n install -d -o captain {SHARE}/captain && cd {SHARE}/captain && rm -f who && cat > job.sh <<'EOF'
#!/bin/sh
#SBATCH --nodes=2 --ntasks-per-node=1
srun hostname | sort > who
EOF
timeout 150 sbatch --wait --output=log job.sh && cat who"""

RUNS = [
    Check("controller1", "two nodes are idle", "sinfo --noheader --format '%D %t'", r"\A2 idle\Z"),
    Check("controller1", "srun reaches both", "srun --nodes=2 --immediate=60 hostname | sort", BOTH),
    Check("controller1", "a batch job writes to the share", JOB, r"compute1\ncompute2\Z"),
    Check("*", "its file is on the share on all nodes", f"cat {SHARE}/captain/who", BOTH),
]
CHECKS = [
    Check("*", "munge takes its own word", "munge -n | unmunge | grep STATUS", "Success"),
    Check("controller1", "munge takes the others' word", "for node in compute1 compute2; do "
          "ssh -o BatchMode=yes $node munge -n | unmunge | grep STATUS; done",
          r"\ASTATUS: +Success.*\nSTATUS: +Success.*\Z"),
    Check("*", "the munge key is munge's alone", "sudo -n stat -c '%a %U:%G' /etc/munge/munge.key",
          r"\A[46]00 munge:munge\Z"),
    *RUNS,
]


def play(stage):
    stage.start_in_order()
    stage.settle()
    stage.common()
    stage.ask_all(CHECKS)

    stage.switch_off("compute2")
    stage.press_again("compute2")
    stage.start("compute2")
    stage.settle("compute2")
    stage.common()
    stage.ask_all(RUNS)
