#!/usr/bin/env python3
"""`cardpress fs` side by side with debugfs, resize2fs and, as root, the kernel's own ext4 in a loop mount, in one run.

    tests/bench/fs.py CARDPRESS BASE.img [--runs N]

Three jobs: a thousand small files into one directory of the full-size image; a file of 500 MiB put and read back;
a filesystem grown from 2 to 32 GiB. Each is timed until its bytes are on the disk. Medians; nothing is asserted, as
this machine may be busy.
"""
import argparse, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

FILES, BIG = 1000, 500 << 20

def run(argv, stdin=None):
    """CPU seconds and peak memory in MiB of one child that must succeed."""
    child = subprocess.Popen([str(word) for word in argv], stdin=stdin, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
    errors = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{argv} failed: {errors}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

def timed(job):
    """Wall seconds, CPU seconds and peak memory of a list of commands run one after another."""
    began = time.monotonic()
    rows = [run(argv) for argv in job]
    return time.monotonic() - began, sum(cpu for cpu, _ in rows), max(memory for _, memory in rows)

def fresh_copy(source, target):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)
    subprocess.run(["sync", target], check=True)

def compare(title, contenders, prepare, runs):
    print(f"\n{title}, medians of {runs}")
    first = None
    for name, job in contenders:
        rows = []
        for _ in range(runs):
            prepare()
            rows.append(timed(job))
        wall, cpu, memory = (statistics.median(column) for column in zip(*rows))
        first = first or wall
        print(f"  {name:34} {wall:7.3f} s {cpu:7.3f} s CPU {memory:6.0f} MiB peak   {wall / first:5.1f} times")

def root_offset(image):
    said = subprocess.run(["sfdisk", "--dump", image], check=True, capture_output=True, text=True).stdout
    line = [line for line in said.splitlines() if "type=83" in line][0]
    return int(line.split("start=")[1].split(",")[0]) * 512

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cardpress")
    parser.add_argument("base")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    cardpress = os.path.abspath(args.cardpress)
    work = pathlib.Path(tempfile.mkdtemp(dir="target"))
    try:
        bench(cardpress, pathlib.Path(args.base), work, args.runs)
    finally:
        subprocess.run(["umount", work / "mount"], capture_output=True)
        shutil.rmtree(work)

def bench(cardpress, base, work, runs):
    as_root = os.geteuid() == 0
    if not as_root:
        print("no figures of the kernel: a loop mount needs root", file=sys.stderr)
    image, mount, small, big, back = (work / name for name in ("image", "mount", "small", "big", "back"))
    mount.mkdir()
    small.mkdir()
    for number in range(FILES):
        (small / f"{number:04}.conf").write_text(f"setting = {number}\n" * 20)
    with open(big, "wb") as file:
        for _ in range(BIG >> 20):
            file.write(os.urandom(1 << 20))
    roomy = work / "roomy"
    fresh_copy(base, roomy)
    run([cardpress, "fs", roomy, "grow", "4GiB"])
    offset = root_offset(roomy)
    device = f"{image}?offset={offset}"
    in_mount = ["mount", "-t", "ext4", "-o", f"loop,offset={offset}", image, mount]

    script, by_debugfs = work / "script", work / "debugfs"
    names = sorted(path.name for path in small.iterdir())
    script.write_text("mkdir /srv/many\n" + "".join(f"put {small}/{name} /srv/many/{name}\n" for name in names))
    by_debugfs.write_text("mkdir /srv/many\ncd /srv/many\n" + "".join(f"write {small}/{name} {name}\n" for name in names))
    contenders = [("cardpress fs --script", [[cardpress, "fs", image, "--script", script]]),
                  ("debugfs -w -f, sync", [["debugfs", "-w", "-f", by_debugfs, device], ["sync", image]])]
    if as_root:
        contenders.append(("mount, cp, umount, sync", [in_mount, ["cp", "-r", small, mount / "srv/many"],
                                                       ["umount", mount], ["sync", image]]))
    compare(f"{FILES} small files into one directory of {base.name}", contenders,
            lambda: fresh_copy(roomy, image), runs)

    contenders = [("cardpress fs put", [[cardpress, "fs", image, "put", big, "/srv/big"]]),
                  ("debugfs -w write, sync", [["debugfs", "-w", "-R", f"write {big} srv/big", device], ["sync", image]])]
    if as_root:
        contenders.append(("mount, cp, umount, sync", [in_mount, ["cp", big, mount / "srv/big"], ["umount", mount],
                                                       ["sync", image]]))
    compare("a file of 500 MiB put", contenders, lambda: fresh_copy(roomy, image), runs)

    contenders = [("cardpress fs get", [[cardpress, "fs", image, "get", "/srv/big", back]]),
                  ("debugfs dump, sync", [["debugfs", "-R", f"dump srv/big {back}", device], ["sync", back]])]
    if as_root:
        contenders.append(("mount, cp, umount, sync", [in_mount, ["cp", mount / "srv/big", back], ["umount", mount],
                                                       ["sync", back]]))
    fresh_copy(roomy, image)
    run([cardpress, "fs", image, "put", big, "/srv/big"])
    compare("and read back", contenders, lambda: back.unlink(missing_ok=True), runs)

    bare = work / "bare"
    bare.touch()
    os.truncate(bare, 2 << 30)
    run(["mke2fs", "-q", "-t", "ext4", bare])
    compare("ext4 grown from 2 GiB to 32 GiB",
            [("cardpress fs grow", [[cardpress, "fs", image, "grow", "32GiB"]]),
             ("truncate, resize2fs, sync", [["truncate", "-s", "32G", image], ["resize2fs", "-f", image],
                                            ["sync", image]])],
            lambda: fresh_copy(bare, image), runs)

if __name__ == "__main__":
    main()
