#!/bin/sh
# A Debian package in target/archives, from what packaging/dist.sh built and wrote. Needs cargo-deb.
set -eu
cd "$(dirname "$0")/.."
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
[ -d target/archives/share ] || { echo "error: run \`make dist\` first" >&2; exit 1; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# Debian's own form of a changelog; what changed is in CHANGELOG.md, which is beside it in the package.
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
printf 'cardpress (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" > target/archives/share/changelog
{
    cat LICENSE-MIT
    printf '\nOr, as you like, the Apache License, Version 2.0: on Debian in /usr/share/common-licenses/Apache-2.0.\n'
} > target/archives/share/licences
cargo deb --no-build --locked --profile dist --target "$target" --output target/archives/
(cd target/archives && LC_ALL=C && export LC_ALL && set -- *.tar.gz *.deb && sha256sum "$@" > SHA256SUMS)
