#!/bin/sh
# A release archive and its SHA-256, in target/archives. The same source, compiler and target give the same bytes, whatever
# the day and the folder.
#
#   packaging/dist.sh                   for the machine that runs this
#   TARGET=aarch64-unknown-linux-musl   another target; its program must run here (binfmt), since it writes its pages itself
#   CARDPRESS=FILE                      pack that program instead of building one
#   OUT=DIR                             elsewhere than target/archives
#   SOURCE_DATE_EPOCH=SECONDS           the time of every file [default: the commit's]
set -eu
cd "$(dirname "$0")/.."
top=$(pwd -P)
out=${OUT:-target/archives}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
name=cardpress-$version-$target

program=${CARDPRESS-}
if [ -z "$program" ]; then
    # Where this was built is nobody's business, and would differ from machine to machine.
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    RUSTFLAGS="${RUSTFLAGS-} --remap-path-prefix=$cargo_home=cargo --remap-path-prefix=$top=cardpress"
    CFLAGS="${CFLAGS-} -ffile-prefix-map=$cargo_home=cargo -ffile-prefix-map=$top=cardpress"
    export RUSTFLAGS CFLAGS
    cargo build --locked --profile dist --target "$target"
    program=${CARGO_TARGET_DIR:-target}/$target/dist/cardpress
fi

mkdir -p "$out"
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
stage=$work/$name
mkdir -p "$stage/man/man1" "$stage/completions"
install -m 0755 "$program" "$stage/cardpress"
"$program" man "$stage/man/man1" >&2
"$program" completions bash > "$stage/completions/cardpress.bash"
"$program" completions zsh > "$stage/completions/_cardpress"
"$program" completions fish > "$stage/completions/cardpress.fish"
"$program" completions powershell > "$stage/completions/_cardpress.ps1"
# A shell's completions that came out empty are a fault, too.
for file in "$stage"/completions/* "$stage/man/man1/cardpress.1"; do
    [ -s "$file" ] || { echo "error: $file is empty or missing" >&2; exit 1; }
done
cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$stage/"
cp -R docs profiles "$stage/"
# The demonstration needs the small image that comes with the source.
rm -r "$stage/profiles/demo"
python3 packaging/third-party.py "$target" > "$stage/THIRD-PARTY"

# Names sorted, no owner, one time, modes that do not depend on anybody's umask. gzip -n: no name and no time of its own.
tar --create --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" \
    --mode='u+rwX,go+rX,go-w' --format=gnu "$name" | gzip -n -9 > "$work/archive"
mv "$work/archive" "$out/$name.tar.gz"
# `cargo deb` takes these from here.
rm -rf "$out/share"
mkdir "$out/share"
cp -R "$stage/man" "$stage/completions" "$stage/THIRD-PARTY" "$out/share/"
(cd "$out" && LC_ALL=C && export LC_ALL && set -- *.tar.gz && sha256sum "$@" > SHA256SUMS)
echo "$out/$name.tar.gz: $(wc -c < "$out/$name.tar.gz") bytes; the program: $(wc -c < "$stage/cardpress")" >&2
