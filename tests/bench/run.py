#!/usr/bin/env python3
"""How long one node takes, side by side with what people would run instead, in one run.

    tests/bench/run.py CARDPRESS BASE.img [--runs N]

Prints medians and ratios. The pipeline to beat does the same edits: cp --sparse=always, one debugfs -w script,
mcopy. Nothing is asserted: this machine may be busy.
"""
import argparse, json, os, pathlib, resource, shutil, statistics, subprocess, sys, tempfile, time

def run(argv, **more):
    """Wall seconds, CPU seconds and peak memory in MiB of one child."""
    began = time.monotonic()
    child = subprocess.Popen(argv, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more})
    errors = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{argv} failed: {errors}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

def median(measure, runs):
    rows = [measure() for _ in range(runs)]
    return [statistics.median(column) for column in zip(*rows)]

PROFILE = """schema = 1
[image]
path = "{base}"
[cluster]
name = "bench"
domain = "lan"
subnet = "192.168.1.0/24"
gateway = "192.168.1.1"
dns = ["192.168.1.1"]
[defaults]
timezone = "Europe/London"
ssh.enable = true
ssh.password-login = false
cmdline.add = ["cgroup_enable=cpuset", "cgroup_memory=1", "cgroup_enable=memory"]
[defaults.user.ops]
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPCSDsp79iAmC2h/h1kfGBGO1a1VUgwQ31u7L6RC+9T7 bench@example"]
groups = ["sudo"]
{files}
[[defaults.first-boot]]
name = "hello"
script = "#!/bin/sh\\nlogger hello\\n"
[[node]]
name = "bench1"
address = "192.168.1.201"
"""

def pipeline_for(edits, image, work, table):
    """The same edits as a debugfs script and mcopy calls, with contents taken from the pressed image."""
    root, boot = (f"{image}?offset={table[1]}", f"{image}@@{table[0]}")
    script, boot_files, made = [], [], set()
    payload = work / "payload"
    payload.mkdir()
    for number, edit in enumerate(edits):
        path, local = edit.get("path", ""), payload / str(number)
        if path.startswith("/boot/firmware/") or (path.startswith("/boot/") and "firmware" not in path):
            if edit["action"] == "write":
                name = path.split("/")[-1]
                subprocess.run(["mcopy", "-n", "-i", boot, f"::{name}", str(local)], check=True)
                boot_files.append((str(local), name))
            continue
        if edit["action"] == "write":
            subprocess.run(["debugfs", "-R", f"dump {path} {local}", root], check=True, capture_output=True)
            uid, gid = edit.get("owner", "0:0").split(":")
            for parent in reversed(pathlib.PurePosixPath(path).parents):
                if str(parent) not in made:
                    made.add(str(parent))
                    script.append(f"mkdir {parent}")
            script += [f"rm {path}", f"write {local} {path}", f"sif {path} mode 0100{edit.get('mode', '0644')[1:]}",
                       f"sif {path} uid {uid}", f"sif {path} gid {gid}"]
        elif edit["action"] == "symlink":
            script += [f"rm {path}", f"symlink {path} {edit['to']}"]
        elif edit["action"] == "remove":
            script.append(f"rm {path}")
        elif edit["action"] == "directory":
            script.append(f"mkdir {path}")
    (work / "script").write_text("\n".join(script) + "\n")
    return boot_files, len(script)

def bench_folder(name, cardpress, base, folder, runs, cache):
    work = pathlib.Path(tempfile.mkdtemp(dir=os.path.abspath(folder)))
    local = work / "base.img"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", base, local], check=True)
    files = "\n".join(f'[[defaults.file]]\npath = "/etc/bench/{i:02}.conf"\ncontent = "setting = {i}\\n"'
                      for i in range(35))
    profile = work / "bench.toml"
    profile.write_text(PROFILE.format(base=local, files=files))
    env = dict(os.environ, CARDPRESS_CACHE=cache)
    build = [cardpress, "build", profile, "--out", work / "out", "--jobs", "1"]
    run(build, env=env)  # fills the cache: the base's digests are made once
    manifest = json.loads((work / "out/bench/manifest.json").read_text())
    edits = manifest["nodes"][0]["edits"]
    table = [int(part["start"]) * 512 for part in json.loads(subprocess.run(
        ["sfdisk", "--json", local], check=True, capture_output=True).stdout)["partitiontable"]["partitions"]]
    boot_files, lines = pipeline_for(edits, work / "out/bench/bench1.img", work, table)
    target = work / "by-hand.img"

    def pressed():
        # A new file, as for the others: to replace one is to give its blocks back too.
        (work / "out/bench/bench1.img").unlink(missing_ok=True)
        return run(build, env=env)

    def by_hand(reflink):
        target.unlink(missing_ok=True)
        began = time.monotonic()
        run(["cp", "--sparse=always", f"--reflink={reflink}", local, target])
        run(["debugfs", "-w", "-f", work / "script", f"{target}?offset={table[1]}"])
        for source, name in boot_files:
            run(["mcopy", "-o", "-i", f"{target}@@{table[0]}", source, f"::{name}"])
        run(["sync", target])
        return time.monotonic() - began, 0, 0

    def copy_only():
        target.unlink(missing_ok=True)
        began = time.monotonic()
        run(["cp", "--sparse=always", "--reflink=never", local, target])
        run(["sync", target])
        return time.monotonic() - began, 0, 0

    print(f"\n{name}: base {os.path.getsize(local) >> 20} MiB long, {os.stat(local).st_blocks >> 11} MiB on disk; "
          f"{len(edits)} edits ({lines} debugfs lines), medians of {runs}")
    memory_only = median(lambda: run(build + ["--format", "none"], env=env), runs)
    whole = median(pressed, runs)
    hand = median(lambda: by_hand("auto"), runs)
    copy = median(copy_only, runs)
    rows = [("cardpress build --format none", memory_only), ("cardpress build, one node, verified", whole),
            ("cp + debugfs -w + mcopy + sync", hand), ("cp --sparse=always + sync alone", copy)]
    for title, (wall, cpu, memory) in rows:
        extra = f"{cpu * 1000:7.0f} ms CPU {memory:6.0f} MiB peak" if cpu else ""
        print(f"  {title:38} {wall:7.3f} s {extra}")
    print(f"  one node by hand / by cardpress: {hand[0] / whole[0]:.1f} times")
    shutil.rmtree(work)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cardpress")
    parser.add_argument("base")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", action="append", default=[], help="NAME=DIR: also measure on this filesystem")
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    cardpress, base = os.path.abspath(args.cardpress), os.path.abspath(args.base)
    with tempfile.TemporaryDirectory() as cache:
        for name, folder in [("this folder's filesystem", "target")] + [f.split("=", 1) for f in args.folder]:
            bench_folder(name, cardpress, base, folder, args.runs, cache)

if __name__ == "__main__":
    main()
