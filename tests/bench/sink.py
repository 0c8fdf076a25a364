#!/usr/bin/env python3
"""What many images and cards cost, side by side with what people would run instead, in one run.

    tests/bench/sink.py CARDPRESS BASE.img [--runs N] [--folder NAME=DIR] [--parts abcdg] [--long]

Prints tables of medians and ratios. For (b) the base is compressed as it would be for its download, by `xz -T0 -6`;
that is measured too, and is what each image costs without cardpress. The part with loop devices needs root; bmaptool, xz
and debugfs are asked for where they are compared; guestfish is compared where it is installed and its virtual machine
starts in time. Nothing is asserted: this machine may be busy.
"""
import argparse, json, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.dirname(__file__))
from run import PROFILE, median, pipeline_for, run

NODES = 8
CARD_LEN = 4 << 30
# Without KVM its virtual machine takes minutes to start.
GUESTFISH_PATIENCE = 900

def profile_for(base, nodes, grow=""):
    files = "\n".join(f'[[defaults.file]]\npath = "/etc/bench/{i:02}.conf"\ncontent = "setting = {i}\\n"'
                      for i in range(35))
    text = PROFILE.format(base=base, files=files).replace("[cluster]", f"{grow}[cluster]", 1)
    for n in range(2, nodes + 1):
        text += f'[[node]]\nname = "bench{n}"\naddress = "192.168.{1 + n // 200}.{n % 200 + 1}"\n'
    return text.replace('subnet = "192.168.1.0/24"', 'subnet = "192.168.0.0/16"')

def row(title, wall, peak=None, other=None):
    extra = f"{peak:6.0f} MiB peak" if peak else ""
    ratio = f"{other / wall:6.1f} times" if other else ""
    print(f"  {title:58} {wall:9.3f} s  {extra:16} {ratio}", flush=True)

class Bench:
    def __init__(self, cardpress, base, folder, runs, cache):
        self.cardpress, self.base, self.runs = os.path.abspath(cardpress), base, runs
        self.work = pathlib.Path(tempfile.mkdtemp(dir=os.path.abspath(folder)))
        self.env = dict(os.environ, CARDPRESS_CACHE=cache, SOURCE_DATE_EPOCH="1700000000")

    def build(self, name, base, nodes, *words, grow=""):
        """A function that presses, and what to remove before it."""
        profile = self.work / f"{name}.toml"
        profile.write_text(profile_for(base, nodes, grow))
        out = self.work / name
        command = [self.cardpress, "build", profile, "--out", out, *words]
        def pressed():
            shutil.rmtree(out, ignore_errors=True)
            return run(command, env=self.env)
        return pressed, out / "bench"

    def by_hand(self):
        """Presses one node, and returns a function that makes the same edits with the tools of others."""
        pressed, out = self.build("one", self.base, 1)
        pressed()
        self.edits = json.loads((out / "manifest.json").read_text())["nodes"][0]["edits"]
        return self.pipeline(out / "bench1.img", self.edits)

    def pipeline(self, image, edits):
        table = [int(part["start"]) * 512 for part in json.loads(subprocess.run(
            ["sfdisk", "--json", self.base], check=True, capture_output=True).stdout)["partitiontable"]["partitions"]]
        boot_files, _ = pipeline_for(edits, image, self.work, table)
        target = self.work / "by-hand.img"
        def by_hand(count, reflink="auto"):
            began = time.monotonic()
            for _ in range(count):
                target.unlink(missing_ok=True)
                run(["cp", "--sparse=always", f"--reflink={reflink}", self.base, target])
                run(["debugfs", "-w", "-f", self.work / "script", f"{target}?offset={table[1]}"])
                for source, name in boot_files:
                    run(["mcopy", "-o", "-i", f"{target}@@{table[0]}", source, f"::{name}"])
                run(["sync", target])
            return time.monotonic() - began, 0, 0
        return by_hand

    def raw(self, name, by_hand):
        pressed, _ = self.build("raw", self.base, NODES)
        pressed()
        print(f"\n(a) {NODES} raw images on {name}, medians of {self.runs}")
        ours = median(pressed, self.runs)
        hand = median(lambda: by_hand(NODES), self.runs)
        row(f"cp + debugfs + mcopy + sync, {NODES} times", hand[0])
        row(f"cardpress build, {NODES} nodes, read back, with .bmap", ours[0], ours[2], hand[0])

    def packed(self, by_hand, is_long):
        print(f"\n(b) {NODES} compressed images, xz -6")
        hand = by_hand(1)[0]
        archive = self.work / "base.img.xz"
        with open(archive, "wb") as file:
            packed = run(["xz", "-T0", "-6", "-c", self.base], stdout=file)
        theirs = os.path.getsize(archive)
        other = NODES * (hand + packed[0])
        row(f"the same + xz -T0 -6, one measured, times {NODES}", other, packed[2])
        bases = [("from that archive", archive)]
        if is_long:
            # Nothing to take over: minutes for the first node.
            bases.append(("from a raw image", self.base))
        for title, base in bases:
            pressed, out = self.build("xz", base, NODES, "--format", "img.xz")
            # Unpacked once, as for every build.
            run([self.cardpress, "build", self.work / "xz.toml", "--format", "none"], env=self.env)
            wall, _, peak = pressed()
            ours = os.path.getsize(out / "bench1.img.xz")
            row(f"cardpress build --format img.xz, {title}", wall, peak, other)
            print(f"    {ours:,} bytes each; xz -T0 of the base {theirs:,}: {100 * ours / theirs - 100:+.1f} %")
        for suffix in ("img.zst", "img.gz"):
            wall, _, peak = self.build("other", self.base, NODES, "--format", suffix)[0]()
            row(f"cardpress build --format {suffix}", wall, peak)

    def fleet(self):
        print("\n(d) nodes as deltas only (--format none), pressed and checked in memory")
        for nodes in (1, 50, 100, 200):
            wall, cpu, peak = self.build("fleet", self.base, nodes, "--format", "none")[0]()
            row(f"{nodes} nodes: {1000 * wall / nodes:.1f} ms and {1000 * cpu / nodes:.1f} ms of CPU each", wall, peak)

    def cards(self):
        if os.geteuid() != 0:
            return print("\n(c) no figures for cards: loop devices need root", file=sys.stderr)
        pressed, out = self.build("card", self.base, 4)
        pressed()
        image, bmap = out / "bench1.img", out / "bench1.bmap"
        loops = []
        try:
            for n in range(4):
                file = self.work / f"card{n}"
                # Allocated, as the blocks of a card are.
                subprocess.run(["fallocate", "-l", str(CARD_LEN), file], check=True)
                loops.append(subprocess.run(["losetup", "--direct-io=on", "--find", "--show", file], check=True,
                                            capture_output=True, text=True).stdout.strip())
            flash = [self.cardpress, "flash", "--yes", "--allow-fixed-disk", "--image", image]
            nodes = [self.cardpress, "flash", "--yes", "--allow-fixed-disk", self.work / "card.toml"]
            rows = [("dd bs=4M oflag=direct conv=fsync",
                     ["dd", f"if={image}", f"of={loops[0]}", "bs=4M", "oflag=direct", "conv=fsync", "status=none"])]
            if shutil.which("bmaptool"):
                rows.append(("bmaptool copy", ["bmaptool", "-q", "copy", "--bmap", bmap, image, loops[0]]))
            rows += [("cardpress flash --no-verify", flash + ["--no-verify", loops[0]]),
                     ("cardpress flash, verified", flash + [loops[0]]),
                     ("cardpress flash, a node of a profile, verified", nodes + [f"bench1={loops[0]}"]),
                     ("cardpress flash, 4 nodes onto 4 cards, verified",
                      nodes + [f"bench{n + 1}={loops[n]}" for n in range(4)])]
            print(f"\n(c) cards: loop devices of {CARD_LEN >> 30} GiB, direct I/O, medians of {self.runs}")
            first = None
            for title, command in rows:
                wall, _, peak = median(lambda: run(command, env=self.env), self.runs)
                row(title, wall, peak, first)
                first = first or wall
        finally:
            for loop in loops:
                subprocess.run(["losetup", "--detach", loop])

    def guestfish(self, by_hand):
        print("\n(g) one raw image; guestfish, each measured once")
        if not shutil.which("guestfish"):
            return print("  skipped: guestfish is not installed (Debian: libguestfs-tools, linux-image-amd64)")
        target, script = self.work / "guestfish.img", self.work / "guestfish"
        script.write_text("\n".join(guestfish_script(target, self.edits, self.work / "payload")) + "\n")
        # There are machines that have a /dev/kvm whose guests do not start.
        for machine, settings in (("with KVM", ""), ("with its processor emulated", "force_tcg")):
            began = time.monotonic()
            run(["cp", "--sparse=always", "--reflink=auto", self.base, target])
            why = run_guestfish(script, settings)
            if not why:
                break
            print(f"  no figure for guestfish {machine}: {why}", flush=True)
        else:
            return
        run(["sync", target])
        theirs = time.monotonic() - began
        hand = by_hand(1)[0]
        ours, _, peak = self.build("one", self.base, 1)[0]()
        row(f"cp + guestfish {machine} + sync", theirs)
        row("cp + debugfs + mcopy + sync", hand, None, theirs)
        row("cardpress build, read back, with .bmap", ours, peak, theirs)

def run_guestfish(script, settings):
    """Nothing, or why it failed."""
    env = os.environ | {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": settings}
    try:
        subprocess.run(["guestfish", "--file", script], env=env, check=True, capture_output=True, text=True,
                       timeout=GUESTFISH_PATIENCE)
    except subprocess.TimeoutExpired:
        return f"not done after {GUESTFISH_PATIENCE} s"
    except subprocess.CalledProcessError as error:
        return " ".join(error.stderr.split())[:200]

def guestfish_script(image, edits, payload):
    """The same edits as for debugfs and mcopy, with the contents that were prepared for those."""
    boot_folders = {os.path.dirname(edit["path"]) for edit in edits
                    if edit.get("path", "").startswith("/boot/") and edit["action"] == "write"}
    lines = [f"add {image} format:raw", "run", "mount /dev/sda2 /"]
    lines += [f"mount /dev/sda1 {folder}" for folder in sorted(boot_folders)[:1]]
    made = set()
    for number, edit in enumerate(edits):
        path, local = edit.get("path", ""), payload / str(number)
        parent = os.path.dirname(path)
        if edit["action"] in ("write", "symlink") and parent not in made:
            made.add(parent)
            lines.append(f"mkdir-p {parent}")
        if edit["action"] == "write":
            lines.append(f"upload {local} {path}")
            if not path.startswith("/boot/"):
                uid, gid = edit.get("owner", "0:0").split(":")
                lines += [f"chmod 0{edit.get('mode', '0644')[1:]} {path}", f"chown {uid} {gid} {path}"]
        elif edit["action"] == "symlink":
            lines.append(f"ln-sf {edit['to']} {path}")
        elif edit["action"] == "remove":
            lines.append(f"rm-f {path}")
        elif edit["action"] == "directory":
            lines.append(f"mkdir-p {path}")
    return lines + ["umount-all"]

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cardpress")
    parser.add_argument("base")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--parts", default="abcdg", help="which of the tables [default: abcdg]")
    parser.add_argument("--long", action="store_true", help="compress a raw base, too, with nothing to take over")
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    base = os.path.abspath(args.base)
    with tempfile.TemporaryDirectory(dir=".") as cache:
        cache = os.path.abspath(cache)
        bench = Bench(args.cardpress, base, ".", args.runs, cache)
        try:
            by_hand = bench.by_hand()
            if "a" in args.parts:
                bench.raw("this folder", by_hand)
            if "b" in args.parts:
                bench.packed(by_hand, args.long)
            if "c" in args.parts:
                bench.cards()
            if "d" in args.parts:
                bench.fleet()
            if "g" in args.parts:
                bench.guestfish(by_hand)
        finally:
            shutil.rmtree(bench.work)
        for item in args.folder:
            name, folder = item.split("=", 1)
            local = os.path.join(folder, "base.img")
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", base, local], check=True)
            bench = Bench(args.cardpress, local, folder, args.runs, cache)
            try:
                bench.raw(name, bench.by_hand())
            finally:
                shutil.rmtree(bench.work)
                os.unlink(local)

if __name__ == "__main__":
    main()
