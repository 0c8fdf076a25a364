#!/bin/sh
# The picture in the README: runs the commands below and draws what they print.
#
#   docs/img/build.sh target/release/cardpress
#
# The base is the small image that ships with the source, so the picture differs from run to run only in the seconds.
set -eu
cardpress=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work" CARDPRESS_CACHE="$work/cache" LC_ALL=C.UTF-8
mkdir "$work/bin" "$work/.ssh"
ln -s "$cardpress" "$work/bin/cardpress"
PATH=$work/bin:$PATH
cp "$here/../../fixtures/small-base.img.xz" "$work/raspios.img.xz"
echo "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPCSDsp79iAmC2h/h1kfGBGO1a1VUgwQ31u7L6RC+9T7 you@desk" > "$work/.ssh/id_ed25519.pub"
# README's profile, with the image that is here.
awk '/^schema = 1/ { on = 1 } on && /^```/ { exit } on' "$here/../../README.md" |
    sed 's/^os = .*/path = "raspios.img.xz"/' > "$work/home.toml"
cd "$work"
cardpress fetch --quiet home.toml > /dev/null
: > "$here/build.txt"
while read -r line; do
    echo "\$ $line" >> "$here/build.txt"
    sh -c "$line" >> "$here/build.txt" 2>&1 < /dev/null
done <<'LINES'
cardpress build home.toml
cardpress check out/home/worker1.img
cardpress fs out/home/worker1.img cat /etc/hostname
LINES
# Where it takes long without a terminal, a line says so.
sed -i '/^pressing$/d' "$here/build.txt"
python3 "$here/terminal.py" < "$here/build.txt" > "$here/build.svg"
