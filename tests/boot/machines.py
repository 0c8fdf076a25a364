"""Emulated machines on one network, each booting a pressed image as its firmware would: the kernel with the
command line that stands in the image's own cmdline.txt.

A user-mode network is the gateway, with a port to each node's ssh; a switch joins it with the machines. No bridge,
no root.
"""

import collections
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from network import Switch

# A machine ends with the test, however that ends.
BOUND = ["setpriv", "--pdeathsig", "KILL", "--"]
Partition = collections.namedtuple("Partition", "start size")
Emulator = collections.namedtuple("Emulator", "program machine cpu")
EMULATORS = {
    "arm64": Emulator("qemu-system-aarch64", "virt,gic-version=3", "cortex-a72"),
    "armhf": Emulator("qemu-system-arm", "virt,highmem=off", "cortex-a15"),
}
OLDEST = (9, 2)
SILENT_S = 20 * 60


class GaveUp(SystemExit):
    """A machine did not do in time what it must; the message says which and what."""


def require(label, arch, files):
    """Ends the program unless the tools are here, and the files, each with the command that makes it."""
    # The gateway is always the first of these.
    wanted = {"qemu-system-aarch64": "qemu-system-arm", EMULATORS[arch].program: "qemu-system-arm",
              "mtype": "mtools", "debugfs": "e2fsprogs", "e2fsck": "e2fsprogs", "sfdisk": "fdisk",
              "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
    os.environ["PATH"] += ":/sbin:/usr/sbin"
    missing = [f"{tool} (Debian package {package})" for tool, package in wanted.items() if not shutil.which(tool)]
    if missing:
        sys.exit(f"{label}: missing: {', '.join(missing)}")
    if version() < OLDEST:
        # A link that comes back, `reconnect-ms` of -netdev stream.
        found = ".".join(map(str, version()))
        sys.exit(f"{label}: qemu-system-arm is {found}, wanted 9.2 or newer (Debian 13, bookworm-backports)")
    for path, how in files.items():
        if not path.exists():
            sys.exit(f"{label}: no {path}: run `{how}` first")


def version():
    said = subprocess.run(["qemu-system-aarch64", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else OLDEST


def partition_table(image):
    done = subprocess.run(["sfdisk", "--json", image], check=True, capture_output=True)
    return json.loads(done.stdout)["partitiontable"]


def partition(image, number):
    found = partition_table(image)["partitions"][number - 1]
    return Partition(found["start"] * 512, found["size"] * 512)


def disk_id(image):
    return partition_table(image)["id"].removeprefix("0x")


def read_boot(image, path):
    start = partition(image, 1).start
    done = subprocess.run(["mtype", "-i", f"{image}@@{start}", f"::{path}"], check=True, capture_output=True,
                          env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))
    return done.stdout.decode()


def read_root(image, path):
    start = partition(image, 2).start
    done = subprocess.run(["debugfs", "-R", f"cat {path}", f"{image}?offset={start}"], check=True, capture_output=True)
    return done.stdout.decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    # What another test may want otherwise; `reaches_out`: whether the gateway leads to this machine's own network.
    label, cpus, memory_mib, silent_s = "boot-test", 2, 1024, SILENT_S
    reaches_out = True

    def __init__(self, out, base, arch, network, addresses, images, user, deadline):
        self.out, self.base, self.arch, self.network, self.deadline = out, base, arch, network, deadline
        self.info = json.loads(base.with_name(base.name + ".json").read_text())
        self.nodes = {}
        # The names of sockets are short by law (unix(7)).
        self.sockets = Path(tempfile.mkdtemp(prefix=f"{self.label}-"))
        self.known_hosts = out / "known_hosts"
        for number, (name, address) in enumerate(addresses.items()):
            self.nodes[name] = Node(self, number, name, address, images[name], user)
        # What was predicted, and nothing else: ssh refuses a machine that shows another key.
        lines = [f"[127.0.0.1]:{node.port} {node.pressed['host-key']}\n" for node in self.nodes.values()]
        self.known_hosts.write_text("".join(lines))

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.switch = Switch([self.socket(port) for port in ("gateway", *self.nodes)])
        self.start_gateway()
        return self

    def __exit__(self, *_):
        for node in self.nodes.values():
            node.kill()
        self.gateway.kill()
        self.gateway.wait()
        self.switch.close()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def start(self):
        for node in self.nodes.values():
            node.boot()

    def stop(self):
        for node in reversed(self.nodes.values()):
            node.shut_down()

    def socket(self, port):
        return self.sockets / port

    def start_gateway(self):
        """A machine without processor or memory: its process is the user-mode network, with a port to each node's ssh."""
        forward = "".join(f",hostfwd=tcp:127.0.0.1:{node.port}-{node.address}:22" for node in self.nodes.values())
        # Restricted, it hands nothing on; what comes in by a forwarded port still does.
        restricted = "" if self.reaches_out else ",restrict=on"
        words = [*BOUND, "qemu-system-aarch64", "-M", "none", "-display", "none", "-monitor", "none", "-serial", "none",
                 "-netdev", f"user,id=user,net={self.network}.0/24,host={self.network}.1,dns={self.network}.3"
                 f"{restricted}{forward}",
                 "-netdev", "hubport,id=port1,hubid=0,netdev=user",
                 "-netdev", f"stream,id=wire,server=off,addr.type=unix,addr.path={self.socket('gateway')}",
                 "-netdev", "hubport,id=port2,hubid=0,netdev=wire"]
        with open(self.out / "gateway.log", "w") as log:
            self.gateway = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


class Node:
    def __init__(self, cluster, number, name, address, image, user):
        self.cluster, self.number, self.name, self.address = cluster, number, name, address
        self.user, self.port, self.process, self.starts = user, free_port(), None, 0
        self.insert(image)

    def insert(self, image):
        """Puts a card in: this image, from the next start on."""
        name, self.image = self.name, image
        self.pressed = {
            "machine-id": read_root(image, "/etc/machine-id").strip(),
            "host-key": " ".join(read_root(image, "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]),
        }
        listed = [line for line in read_root(image, "/etc/ssh/ssh_known_hosts").splitlines()
                  if line.split(" ")[0].split(",")[0] == name]
        if [" ".join(line.split()[1:3]) for line in listed] != [self.pressed["host-key"]]:
            sys.exit(f"{self.cluster.label}: {name}: ssh_known_hosts does not list the key in {image}")

    def boot(self):
        cluster = self.cluster
        self.starts += 1
        self.console = cluster.out / f"{self.name}.console-{self.starts}.log"
        lines = read_boot(self.image, "cmdline.txt").splitlines()
        if len(lines) != 1:
            sys.exit(f"{cluster.label}: {self.name}: cmdline.txt has {len(lines)} lines, wanted 1")
        print(f"{cluster.label}: {self.name}: start {self.starts} with {lines[0]}", flush=True)
        program, machine, cpu = EMULATORS[cluster.arch]
        folder = cluster.base.parent
        command = [*BOUND, program, "-M", machine, "-cpu", cpu, "-accel", "tcg,thread=multi", "-smp", str(cluster.cpus),
                   "-m", str(cluster.memory_mib), "-display", "none", "-monitor", "none", "-serial", f"file:{self.console}", "-no-reboot",
                   "-kernel", folder / cluster.info["kernel"], "-initrd", folder / cluster.info["initrd"],
                   # The Pi's firmware names the serial console; here nobody else does.
                   "-append", lines[0] + " console=ttyAMA0,115200",
                   "-drive", f"if=none,id=card,format=raw,cache=unsafe,file={self.image}",
                   "-device", "virtio-blk-pci,drive=card", "-device", "virtio-rng-pci",
                   "-netdev", "stream,id=nic,server=off,addr.type=unix,reconnect-ms=1000,"
                   f"addr.path={cluster.socket(self.name)}",
                   "-device", f"virtio-net-pci,netdev=nic,romfile=,mac=52:54:00:77:00:{self.number + 1:02x}"]
        self.log = open(cluster.out / f"{self.name}.qemu-{self.starts}.log", "w")
        self.process = subprocess.Popen([str(word) for word in command], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)

    def try_ssh(self, command, seconds):
        words = ["ssh", "-F", "none", "-i", self.cluster.out / "id_ed25519", "-p", str(self.port),
                 "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30",
                 "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.cluster.known_hosts}",
                 "-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                 "-o", f"ControlPath={self.cluster.sockets}/ssh{self.number}-{self.starts}", "-o", "ControlMaster=auto",
                 "-o", "ControlPersist=30", "-o", "ServerAliveInterval=20",
                 f"{self.user}@127.0.0.1", command]
        try:
            return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=seconds,
                                  stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 255, "", f"no answer in {seconds} s")

    def ssh(self, command):
        done = self.try_ssh(command, 180)
        if done.returncode == 0:
            return done.stdout.strip()
        return f"exit {done.returncode}: {done.stdout.strip()} {done.stderr.strip()}"

    def wait_until_settled(self):
        """Until ssh answers and systemd and the first-boot scripts have no work left."""
        until = min(self.cluster.deadline, time.monotonic() + self.cluster.silent_s)
        last = ""
        while time.monotonic() < until:
            for node in self.cluster.nodes.values():
                node.still_running()
            done = self.try_ssh("systemctl is-system-running; "
                                "systemctl is-active --quiet cardpress-first-boot && echo busy", 120)
            last = done.stderr.strip() or done.stdout.strip()
            words = done.stdout.split()
            if words and words[0] in ("running", "degraded", "maintenance") and "busy" not in words:
                return
            if "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr or "Permission denied" in done.stderr:
                break
            time.sleep(5)
        raise GaveUp(f"{self.cluster.label}: {self.name} did not settle ({last}); see {self.console}")

    def still_running(self):
        """A machine that rebooted by itself, as bookworm's first boot does, is started again, its command line read anew."""
        if self.process is None or self.process.poll() is None:
            return
        if self.process.returncode == 0:
            print(f"{self.cluster.label}: {self.name} has rebooted", flush=True)
            self.boot()
        else:
            raise GaveUp(f"{self.cluster.label}: {self.name}: the emulator ended with {self.process.returncode}; see {self.log.name}")

    def shut_down(self):
        self.ask_to_shut_down()
        self.wait_until_off()

    def ask_to_shut_down(self):
        self.try_ssh("sudo -n systemctl poweroff", 60)

    def wait_until_off(self):
        until = min(self.cluster.deadline, time.monotonic() + 5 * 60)
        while self.process.poll() is None:
            if time.monotonic() > until:
                raise GaveUp(f"{self.cluster.label}: {self.name} does not shut down; see {self.console}")
            time.sleep(1)
        self.process = None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None
