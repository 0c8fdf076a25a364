"""No recipe: nodes find each other, in the wrong order, through a power cut, and one of them pressed again.

The workers are switched on long before the head, whose power is then cut in the middle of its first boot. In the end one
worker's card is replaced while the others run.
"""

from stage import Check

CHECKS = [
    Check("head1", "what was done before the power cut is not done again", "cat /var/lib/count", r"\Astarted\Z", 0),
    Check("head1", "what was cut off ran again", "cat /var/lib/token-started", r"\Astarted\nstarted\Z", 0),
    Check("head1", "the token was made once", "stat -c %s /var/lib/token", r"\A25\Z", 0),
]


def play(stage):
    stage.start("worker2")
    stage.wait(30)
    stage.start("worker1")
    # They have tried, and have no one to ask.
    stage.reach("worker2", "sudo -n cat /var/log/cardpress/*-join.log", r"^--- ")
    stage.start("head1")
    stage.reach("head1", "cat /var/lib/token-started", "^started$")
    stage.cut_power("head1")
    stage.wait(10)
    stage.start("head1")
    stage.settle()
    stage.common()
    stage.ask_all(CHECKS)
    has_joined(stage, "worker1", "worker2")

    stage.switch_off("worker1")
    stage.press_again("worker1")
    stage.start("worker1")
    stage.settle("worker1")
    stage.common()
    has_joined(stage, "worker1")


def has_joined(stage, *workers):
    token = stage.nodes["head1"].ssh("cat /var/lib/token")
    for name in workers:
        stage.checks.about(name)
        stage.checks.equal("joined with the head's token", stage.nodes[name].ssh("cat /var/lib/joined"), token)
