"""The power goes on every node in the middle of its first boot, and again on the controller; then SLURM's jobs run."""

from stage import load

slurm = load("slurm")
PROFILE = "slurm.toml"


def play(stage):
    stage.start_in_order()
    for name in stage.nodes:
        # The runner has begun.
        stage.reach(name, "sudo -n cat /var/log/cardpress/*.log", r"^--- ")
        stage.cut_power(name)
    stage.wait(10)
    stage.start_in_order()
    stage.reach("controller1", "cardpress-status || true", r"\w")
    stage.cut_power("controller1")
    stage.start("controller1")
    stage.settle()
    stage.common()
    stage.ask_all(slurm.CHECKS)
