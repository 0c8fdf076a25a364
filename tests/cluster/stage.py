"""A scenario on its stage: the images are pressed, the machines are switched on and off, and questions are asked.

A scenario NAME is `scenarios/NAME.toml`, a profile without `[image]` and users, and `scenarios/NAME.py` with

    the doc string     what is proven, its first line for `--list`
    PROFILE            optional: another scenario's profile, `"slurm.toml"`
    ORDER              optional: [(node, seconds after the one before), …]; else all are switched on at once
    CHECKS             [Check(…), …], asked when all nodes are up
    play(stage)        optional: does all of it otherwise; the default is `Stage.play`

All addresses are in one /24 whose `.1` is the gateway: it leads nowhere, and has a port to each node's ssh.
"""

import collections
import importlib.util
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import machines
from checks import Checks

LABEL = "cluster-test"
SCENARIOS = Path(__file__).resolve().parent / "scenarios"
USER = "captain"
LIMIT_S = 90 * 60
# One machine boots in two to five minutes; three at once on two cores, with services to start, take their time.
SETTLE_S = 30 * 60
ANSWER_S = 10 * 60
GROW_BY = 2 << 30

# What the base's packages would start on every node. Where a package has yet to be installed there is no such service;
# a recipe starts those that it means.
IDLE = ["docker.service", "docker.socket", "containerd.service", "munge.service", "slurmctld.service", "slurmd.service",
        "nfs-server.service", "autofs.service", "glusterd.service", "prometheus.service",
        "prometheus-node-exporter.service"]

OUTER = """\
schema = 1
extends = ["{profile}"]

[image]
path = "{base}"
grow = "{grow}MiB"

[defaults]
ssh.enable = true
ssh.password-login = false
service.disable = {disabled}

[defaults.user.{user}]
ssh-keys = ["file:{key}.pub"]
groups = ["sudo"]
sudo = "nopasswd"
"""

# A question to a node, or with "*" to each: a shell command, and what its output must match (re.search, ^ and $ at
# lines). It is asked again until it does, for so many seconds.
Check = collections.namedtuple("Check", "node what command wanted within_s", defaults=[ANSWER_S])


def names():
    return sorted(path.stem for path in SCENARIOS.glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), SCENARIOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Machines(machines.Cluster):
    label, cpus, memory_mib, silent_s = LABEL, 1, 1280, SETTLE_S
    reaches_out = False


class Stage:
    def __init__(self, name, base, cardpress, out, keep):
        self.name, self.base, self.cardpress, self.out, self.keep = name, base, cardpress, out, keep
        self.scenario = load(name)
        self.deadline = time.monotonic() + LIMIT_S
        self.began = time.monotonic()

    def run(self):
        """All of the scenario; whatever happens, no machine is left. Returns the checks."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.checks = Checks(self.out / "checks.log", LABEL)
        try:
            self.stand_up()
        except machines.GaveUp as end:
            self.checks.about(self.name)
            self.checks.verdict("came to its end", str(end), False, "a machine gave up")
        except subprocess.CalledProcessError as end:
            self.checks.about(self.name)
            self.checks.verdict("came to its end", str(end), False, "a command failed")
        if not self.keep and not self.checks.failed:
            for image in self.out.glob("pressed*/*/*.img"):
                image.unlink()
        return self.checks

    def stand_up(self):
        self.write_profile()
        images = self.press("pressed")
        self.addresses = addresses(next(iter(images.values())), images)
        network = next(iter(self.addresses.values())).rpartition(".")[0]
        with Machines(self.out, self.base, "arm64", network, self.addresses, images, USER, self.deadline) as cluster:
            self.cluster, self.nodes = cluster, cluster.nodes
            try:
                getattr(self.scenario, "play", Stage.play)(self)
            except machines.GaveUp:
                self.keep_journals()
                raise
            if self.checks.failed:
                self.keep_journals()
            self.switch_off(*self.running())
        self.sound_after_use()

    def play(self):
        """What most scenarios do: everything is switched on, and works."""
        self.start_in_order()
        self.settle()
        self.common()
        self.ask_all(self.scenario.CHECKS)

    # ------------------------------------------------------------------------------------------------ the images

    def write_profile(self):
        self.key = self.out / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", LABEL, "-f", self.key], check=True)
        self.profile = self.out / "cluster.toml"
        self.profile.write_text(OUTER.format(
            profile=SCENARIOS / getattr(self.scenario, "PROFILE", f"{self.name}.toml"), base=self.base,
            grow=(self.base.stat().st_size + GROW_BY) >> 20, disabled=json.dumps(self.idle()), user=USER, key=self.key))

    def idle(self):
        """Those of IDLE that this base has: one without the packages will do where a scenario has no recipe."""
        said = subprocess.run([self.cardpress, "fs", self.base, "ls", "/usr/lib/systemd/system"], check=True,
                              capture_output=True, text=True)
        return sorted(set(IDLE) & set(said.stdout.split()))

    def press(self, folder, *only):
        """Presses all nodes, or only these, by the program under test: name -> image."""
        chosen = [word for name in only for word in ("--node", name)]
        self.say(f"{self.cardpress} build {self.profile} {' '.join(chosen)}")
        subprocess.run([self.cardpress, "build", self.profile, "--quiet", "--out", self.out / folder, *chosen],
                       check=True)
        (manifest,) = (self.out / folder).glob("*/manifest.json")
        nodes = json.loads(manifest.read_text())["nodes"]
        return {node["name"]: manifest.parent / node["image"] for node in nodes}

    def press_again(self, name):
        """Another card for a node that is off, as if the old one had died. It must be the same node."""
        image = self.press(f"pressed-again-{name}", name)[name]
        node = self.nodes[name]
        before, old = node.pressed, node.image
        node.insert(image)
        old.unlink()
        self.checks.about(f"{name}, pressed again")
        self.checks.equal("its host key and machine-id", node.pressed, before)

    # ---------------------------------------------------------------------------------------------- the switches

    def start_in_order(self):
        for name, delay_s in getattr(self.scenario, "ORDER", [(name, 0) for name in self.nodes]):
            self.wait(delay_s)
            self.start(name)

    def start(self, *chosen):
        for name in chosen:
            self.nodes[name].boot()

    def switch_off(self, *chosen):
        for name in chosen:
            self.nodes[name].ask_to_shut_down()
        for name in chosen:
            self.nodes[name].wait_until_off()

    def cut_power(self, *chosen):
        """Off in this moment: what the node had not written yet is lost."""
        for name in chosen:
            self.say(f"{name}: power cut")
            self.nodes[name].kill()

    def running(self):
        return [name for name, node in self.nodes.items() if node.process]

    def wait(self, seconds):
        until = min(self.deadline, time.monotonic() + seconds)
        while time.monotonic() < until:
            for node in self.nodes.values():
                node.still_running()
            time.sleep(min(5, max(0.1, until - time.monotonic())))

    # --------------------------------------------------------------------------------------------- the questions

    def settle(self, *chosen):
        """Until the nodes, or these, are up and have nothing left to do."""
        for name in chosen or self.running():
            self.nodes[name].wait_until_settled()
            self.say(f"{name} is up")

    def ask_all(self, checks):
        for check in checks:
            for name in self.running() if check.node == "*" else [check.node]:
                self.holds(name, *check[1:])

    def holds(self, name, what, command, wanted, within_s=ANSWER_S):
        """One check: asks until the answer matches, and tells the last answer."""
        found, matches = self.answer(name, command, wanted, within_s)
        self.checks.about(name)
        self.checks.verdict(what, found, matches, f"wanted {wanted!r}")
        return matches

    def reach(self, name, command, wanted, within_s=SETTLE_S):
        """Waits for a moment to act in; it is no check, but without it the scenario cannot go on."""
        found, matches = self.answer(name, command, wanted, within_s)
        if not matches:
            raise machines.GaveUp(f"{LABEL}: {name}: `{command}` says {found!r}, wanted {wanted!r}")

    def answer(self, name, command, wanted, within_s):
        until = min(self.deadline, time.monotonic() + within_s)
        while True:
            for node in self.nodes.values():
                node.still_running()
            found = self.nodes[name].ssh(command)
            matches = re.search(wanted, found, re.MULTILINE) is not None
            if matches or time.monotonic() >= until:
                return found, matches
            time.sleep(5)

    def common(self, *chosen):
        """What holds in every cluster: each is who it should be and reaches every other by name, no question asked."""
        running = self.running()
        for name in chosen or running:
            domain = self.nodes[name].ssh("hostname -d")
            self.ask_all([
                Check(name, "host name", "hostname", f"^{name}$", 0),
                Check(name, "static address on eth0", "ip -o -4 addr show eth0", f" {self.addresses[name]}/24 ", 0),
                Check(name, "first boot is done", "test ! -e /usr/local/bin/cardpress-status && echo nothing to do || "
                      "cardpress-status", "^(this node is set up|nothing to do)$", 0),
                Check(name, "host key on disk", "cut -d' ' -f1-2 /etc/ssh/ssh_host_*_key.pub",
                      f"\\A{re.escape(self.nodes[name].pressed['host-key'])}\\Z", 0),
                Check(name, "no other unit failed", "echo ok; systemctl --failed --no-legend --plain", "\\Aok\\Z", 0),
                Check(name, "ext4 complaints", "echo ok; sudo -n dmesg | grep -iE 'ext4|jbd2' | "
                      "grep -iE 'error|warn|corrupt|checksum|orphan inode|abort' || true", "\\Aok\\Z", 0),
            ])
            for other in (other for other in running if other != name):
                self.ask_all([
                    Check(name, f"{other} answers a ping", f"sudo -n ping -c 2 -w 20 {other}", " 0% packet loss", 60),
                    *(Check(name, f"ssh to {spelling} by key, no question asked",
                            f"ssh -o BatchMode=yes -o StrictHostKeyChecking=yes {spelling} hostname", f"^{other}$", 60)
                      for spelling in (other, f"{other}.local", f"{other}.{domain}")),
                ])

    def sound_after_use(self):
        for name, node in self.nodes.items():
            start = machines.partition(node.image, 2).start
            done = subprocess.run(["e2fsck", "-fn", f"{node.image}?offset={start}"], capture_output=True, text=True)
            self.checks.about(name)
            self.checks.equal("e2fsck -fn after a shutdown", done.returncode, 0)

    def keep_journals(self):
        """What one would want to read of a cluster that did not do as it should."""
        for name in self.running():
            done = self.nodes[name].try_ssh(
                "cardpress-status; systemctl --failed --no-pager; free -m; df -h /; "
                "sudo -n tail -n +1 /var/log/cardpress/*; sudo -n journalctl --boot --no-pager", 300)
            (self.out / f"{name}.journal").write_text(done.stdout + done.stderr)
            self.say(f"{name}: see {self.out / name}.journal")

    def say(self, text):
        print(f"{LABEL}: {self.name} {(time.monotonic() - self.began) / 60:.1f} min: {text}", flush=True)


def addresses(image, chosen):
    """What the build has decided: every node of the profile, as one of them knows it. Those not pressed are left out."""
    found = {}
    for line in machines.read_root(image, "/etc/hosts").splitlines():
        words = line.split("#")[0].split()
        if len(words) > 1 and words[1] in chosen and not words[0].startswith("127."):
            found[words[1]] = words[0]
    return found
