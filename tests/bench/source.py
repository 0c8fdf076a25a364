#!/usr/bin/env python3
"""Unpacking and downloading side by side with xz, pixz and curl, in one run.

    tests/bench/source.py CARDPRESS BASE.img [--runs N]

Two jobs, each timed until its bytes are on the disk: a packed image (xz, many blocks, as Raspberry Pi OS comes) is
unpacked; the same archive is fetched from a server on this machine, verified and unpacked: in one pass by cardpress, by
curl, sha256sum and xz one after another. cardpress also takes the digests of archive, image and chunks while it
unpacks, which the others do not. Medians; nothing is asserted, as this machine may be busy.
"""
import argparse, functools, http.server, os, pathlib, shutil, statistics, subprocess, sys, tempfile, threading, time

def run(argv, env=None):
    """CPU seconds and peak memory in MiB of one child that must succeed."""
    child = subprocess.Popen([str(word) for word in argv], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{argv} failed: {errors}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

def compare(title, contenders, prepare, runs):
    print(f"\n{title}, medians of {runs}")
    rows = {name: [] for name, _ in contenders}
    # In turns, so that a busy minute does not fall on one of them alone.
    for _ in range(runs):
        for name, job in contenders:
            prepare()
            began = time.monotonic()
            parts = [run(*step) for step in job]
            wall = time.monotonic() - began
            rows[name].append((wall, sum(cpu for cpu, _ in parts), max(memory for _, memory in parts)))
    first = None
    for name, measured in rows.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*measured))
        first = first or wall
        print(f"  {name:34} {wall:7.2f} s {cpu:7.2f} s CPU {memory:6.0f} MiB peak   {wall / first:5.2f} times")

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        shutil.copyfileobj(source, outputfile, 1 << 20)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cardpress")
    parser.add_argument("base")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    cardpress = os.path.abspath(args.cardpress)
    work = pathlib.Path(tempfile.mkdtemp(dir="target")).absolute()
    try:
        bench(cardpress, pathlib.Path(args.base).absolute(), work, args.runs)
    finally:
        shutil.rmtree(work)

def bench(cardpress, base, work, runs):
    served, cache, out = work / "served", work / "cache", work / "out"
    served.mkdir()
    archive = served / "base.img.xz"
    packed = base.with_name(base.name + ".xz")
    if packed.exists():
        shutil.copy(packed, archive)
    else:
        print(f"packing {base}", file=sys.stderr)
        with open(archive, "wb") as file:
            subprocess.run(["xz", "-T0", "-3", "-c", base], stdout=file, check=True)
    blocks = subprocess.run(["xz", "--robot", "--list", archive], check=True, capture_output=True, text=True).stdout
    blocks = [line.split("\t")[2] for line in blocks.splitlines() if line.startswith("file")][0]
    # Not in this process: a child's peak memory would begin with what is held here.
    digest = subprocess.run(["sha256sum", archive], check=True, capture_output=True, text=True).stdout.split()[0]
    (served / "base.img.xz.sha256").write_text(f"{digest}  base.img.xz\n")
    profile = work / "cluster.toml"
    profile.write_text(f'schema = 1\n[image]\npath = "{archive}"\n[cluster]\nname = "x"\n[[node]]\nname = "a"\n')
    env = {**os.environ, "CARDPRESS_CACHE": str(cache)}

    def prepare():
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        subprocess.run(["sync"], check=True)

    raw = out / "base.img"
    contenders = [("cardpress fetch", [([cardpress, "fetch", profile], env)]),
                  ("xz -T0 -dc, sync", [(["sh", "-c", f"xz -T0 -dc {archive} >{raw} && sync {raw}"],)])]
    if shutil.which("pixz"):
        contenders.append(("pixz -d, sync", [(["sh", "-c", f"pixz -d {archive} {raw} && sync {raw}"],)]))
    else:
        print("no figures of pixz: Debian package pixz", file=sys.stderr)
    size = f"{archive.stat().st_size >> 20} MiB in {blocks} blocks, {base.stat().st_size >> 20} MiB unpacked"
    compare(f"{base.name}.xz unpacked ({size})", contenders, prepare, runs)

    if not shutil.which("curl"):
        print("no figures of downloads: Debian package curl", file=sys.stderr)
        return
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, copy = f"http://127.0.0.1:{server.server_port}/base.img.xz", out / "base.img.xz"
    by_hand = [(["curl", "-sfo", copy, url],), (["sha256sum", copy],), (["xz", "-T0", "-dk", copy],), (["sync", raw],)]
    compare("the same, fetched from a server, verified and unpacked",
            [("cardpress fetch", [([cardpress, "fetch", url], env)]),
             ("curl, sha256sum, xz -T0 -d, sync", by_hand)], prepare, runs)
    server.shutdown()

main()
