#!/bin/sh
# A Debian package in target/dist, from what packaging/dist.sh built and wrote. Needs cargo-deb.
set -eu
cd "$(dirname "$0")/.."
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
[ -d target/dist/share ] || { echo "error: run \`make dist\` first" >&2; exit 1; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
cargo deb --no-build --locked --profile dist --target "$target" --output target/dist/
(cd target/dist && LC_ALL=C && export LC_ALL && set -- *.tar.gz *.deb && sha256sum "$@" > SHA256SUMS)
