#!/bin/sh
# `make coverage`: which lines of src/image the tests of filesystems and tables run. Prints a line for each file, and
# leaves the lines that nothing ran in target/coverage/uncovered.txt. Test code is not counted.
set -eu
cd "$(dirname "$0")/../.."

missing=
command -v cargo-llvm-cov >/dev/null || missing="$missing
  cargo-llvm-cov           cargo install cargo-llvm-cov --locked"

# What reads the counters must know the format that rustc's LLVM writes.
llvm=$(rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc --version --verbose | sed -n 's/^host: //p')/bin
if [ -x "$tools/llvm-cov" ]; then
    LLVM_COV=$tools/llvm-cov LLVM_PROFDATA=$tools/llvm-profdata
else
    : "${LLVM_COV:=$(command -v "llvm-cov-$llvm" || true)}"
    : "${LLVM_PROFDATA:=$(command -v "llvm-profdata-$llvm" || true)}"
fi
if [ ! -x "$LLVM_COV" ] || [ ! -x "$LLVM_PROFDATA" ]; then
    missing="$missing
  llvm-cov, llvm-profdata  rustup component add llvm-tools, or Debian package llvm-$llvm (or newer ones by their path
                           in LLVM_COV and LLVM_PROFDATA)"
fi
if [ -n "$missing" ]; then
    echo "make coverage needs:$missing" >&2
    exit 1
fi
export LLVM_COV LLVM_PROFDATA

# A folder of its own: nothing that is built for coverage fits anything else.
export CARGO_LLVM_COV_TARGET_DIR="${CARGO_LLVM_COV_TARGET_DIR:-$PWD/target/coverage}"
CARDPRESS_ORACLES=require nice -n 10 cargo llvm-cov --no-report --lib --test main -- \
    image:: oracle::ext4 oracle::fat oracle::table oracle::grow cli::check cli::fs fault::

out=$CARGO_LLVM_COV_TARGET_DIR
cargo llvm-cov report --lcov --output-path "$out/all.lcov"
awk -v root="$PWD/" -v uncovered="$out/uncovered.txt" -f tests/coverage/table.awk "$out/all.lcov"
echo "what was not run: $out/uncovered.txt"
