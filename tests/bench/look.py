#!/usr/bin/env python3
"""`cardpress diff` and `cardpress fs tar-out|tar-in` side by side with the kernel's own ext4 in loop mounts, in one run.

    tests/bench/look.py CARDPRESS BASE.img [--folder NAME=DIR]… [--runs N]

Compared are the base with a node pressed from it, and two nodes, in the current folder and in each that is named: where
it can share blocks, the images do. Packed and unpacked is the whole root. Files are in the page cache in all runs.
Needs root. Medians; nothing is asserted, as this machine may be busy.
"""
import argparse, os, pathlib, shutil, subprocess, sys, tempfile

from fs import compare, fresh_copy, root_offset, run

PROFILE = """\
schema = 1
[image]
path = "{base}"
[cluster]
name = "bench"
subnet = "192.168.7.0/24"
gateway = "192.168.7.1"
[defaults.user.ann]
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJZlBEiCAmcVF9RcRMSZ8F4qjkJdWIpuGSSJQv8U4GDp ann@desk"]
[[node]]
name = "n1"
address = "192.168.7.11"
[[node]]
name = "n2"
address = "192.168.7.12"
"""

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cardpress")
    parser.add_argument("base")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("no figures of looking: beside it stand loop mounts, which need root", file=sys.stderr)
        return
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    cardpress, base = os.path.abspath(args.cardpress), pathlib.Path(args.base).absolute()
    for number, (name, folder) in enumerate([("this folder", "target")] + [folder.split("=", 1) for folder in args.folder]):
        work = pathlib.Path(tempfile.mkdtemp(dir=folder)).absolute()
        try:
            differences(name, cardpress, base, work, args.runs)
            if number == 0:
                archives(cardpress, base, work, args.runs)
        finally:
            for mount in work.glob("mount*"):
                subprocess.run(["umount", mount], capture_output=True)
            shutil.rmtree(work)

def mounted(image, mount, options="ro,noload"):
    mount.mkdir(exist_ok=True)
    return ["mount", "-t", "ext4", "-o", f"loop,{options},offset={root_offset(image)}", image, mount]

def may_differ(argv):
    """The command, where exit status 1 says that there is a difference."""
    return ["sh", "-c", '"$@" > /dev/null; [ $? -le 1 ]', "sh", *argv]

def differences(where, cardpress, base, work, runs):
    local = work / base.name
    fresh_copy(base, local)
    (work / "bench.toml").write_text(PROFILE.format(base=local))
    run([cardpress, "build", work / "bench.toml", "--out", work / "out"])
    images = {"the base": local, "node 1": work / "out/bench/n1.img", "node 2": work / "out/bench/n2.img"}
    left, right = work / "mount-left", work / "mount-right"
    for one, other in [("the base", "node 1"), ("node 1", "node 2")]:
        a, b = images[one], images[other]
        by_mount = [mounted(a, left), mounted(b, right), may_differ(["diff", "-r", "--no-dereference", left, right]),
                    ["umount", left], ["umount", right]]
        compare(f"{where}: what differs between {one} and {other}, {local.stat().st_size >> 20} MiB each",
                [("cardpress diff", [may_differ([cardpress, "diff", a, b])]),
                 ("cmp -l (which bytes, not which files)", [["sh", "-c", 'cmp -l "$0" "$1" | tail -n 1', a, b]]),
                 ("mount both, diff -r, umount", by_mount)], lambda: None, runs)

def archives(cardpress, base, work, runs):
    image, mount, archive = work / "image", work / "mount-tar", work / "root.tar"
    fresh_copy(base, image)
    tar = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=pax"]
    compare(f"the root of {base.name} as a tar archive",
            [("cardpress fs tar-out", [["sh", "-c", '"$0" fs --partition root "$1" tar-out / > "$2"; sync "$2"', cardpress, image, archive]]),
             ("mount, tar -c, umount", [mounted(image, mount), [*tar, "-C", mount, "-cf", archive, "."],
                                        ["umount", mount], ["sync", archive]])],
            lambda: archive.unlink(missing_ok=True), runs)
    empty = work / "empty"
    empty.touch()
    os.truncate(empty, 2 << 30)
    run(["mke2fs", "-q", "-t", "ext4", empty])
    print(f"  the archive: {archive.stat().st_size >> 20} MiB")
    mount.mkdir(exist_ok=True)
    compare("and unpacked into an empty filesystem",
            [("cardpress fs tar-in", [[cardpress, "fs", image, "tar-in", archive, "/"]]),
             ("mount, tar -x, umount, sync", [["mount", "-t", "ext4", "-o", "loop", image, mount],
                                              [*tar, "-C", mount, "-xf", archive], ["umount", mount], ["sync", image]])],
            lambda: fresh_copy(empty, image), runs)

if __name__ == "__main__":
    main()
