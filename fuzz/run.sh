#!/bin/sh
# Runs fuzz targets one after the other, FUZZ_SECONDS each (all of them without arguments). The corpus in the repository
# is read, what is found goes to fuzz/target/corpus; a crash, a hang of ten seconds or more than 512 MiB end in failure,
# and the input is left in fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-1200}

missing=
command -v cargo-fuzz >/dev/null || missing="$missing
  cargo-fuzz          cargo install cargo-fuzz"
rustup run nightly rustc --version >/dev/null 2>&1 || missing="$missing
  a nightly compiler  rustup toolchain install nightly"
if [ -n "$missing" ]; then
    echo "make fuzz needs:$missing" >&2
    exit 1
fi

# No sanitizer: nothing here is unsafe, and without it a run tries several times as many inputs.
cargo +nightly fuzz build --sanitizer none
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list)
failed=
for target in "$@"; do
    mkdir -p "fuzz/target/corpus/$target" "fuzz/corpus/$target" "fuzz/artifacts/$target"
    echo "== $target, $seconds s"
    nice -n 15 cargo +nightly fuzz run --sanitizer none "$target" \
        "fuzz/target/corpus/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=256 -len_control=0 -print_final_stats=1 ||
        failed="$failed $target"
done
if [ -n "$failed" ]; then
    echo "crashed:$failed; see fuzz/artifacts" >&2
    exit 1
fi
