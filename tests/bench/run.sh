#!/bin/sh
# `make bench`: measures on this folder's filesystem, and as root also on an XFS with reflinks in a loop mount.
set -eu
base=${BASE:-target/base-image/trixie-arm64.img}
[ -f "$base" ] || { echo "no $base: run \`make base-image\` first, or name an image: make bench BASE=FILE" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
set -- target/release/cardpress "$base"
if [ "$(id -u)" = 0 ] && command -v mkfs.xfs >/dev/null 2>&1; then
    scratch=$(mktemp -d)
    trap 'umount "$scratch/xfs" 2>/dev/null || true; rm -rf "$scratch"' EXIT INT TERM
    truncate -s 20G "$scratch/xfs.img"
    mkfs.xfs -q -m reflink=1 "$scratch/xfs.img"
    mkdir "$scratch/xfs"
    mount -o loop "$scratch/xfs.img" "$scratch/xfs" && set -- "$@" --folder "XFS with reflinks=$scratch/xfs"
else
    echo "no reflink figures: they need root and mkfs.xfs (Debian package xfsprogs)" >&2
fi
python3 tests/bench/run.py "$@"
python3 tests/bench/fs.py target/release/cardpress "$base"
python3 tests/bench/source.py target/release/cardpress "$base"
python3 tests/bench/sink.py "$@"
python3 tests/bench/look.py "$@"
