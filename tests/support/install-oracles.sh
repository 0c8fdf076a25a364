#!/bin/sh
# Makes sure that the programs which judge our work are here: installs them where this is Debian and we are root,
# else says exactly what is missing. Exit status 1 when something is.
set -eu

# program:package, as Debian names them
wanted="e2fsck:e2fsprogs debugfs:e2fsprogs mke2fs:e2fsprogs resize2fs:e2fsprogs fsck.fat:dosfstools mkfs.fat:dosfstools
mcopy:mtools sfdisk:fdisk xz:xz-utils gzip:gzip zstd:zstd zip:zip shellcheck:shellcheck ssh-keygen:openssh-client
openssl:openssl zsh:zsh fish:fish groff:groff-base mandoc:mandoc systemd-analyze:systemd mkfs.xfs:xfsprogs
getfattr:attr getfacl:acl script:bsdutils
ssh:openssh-client ansible:ansible-core ansible-inventory:ansible-core bmaptool:bmap-tools gpg:gpg gpg-agent:gpg-agent gpgv:gpgv"

PATH=$PATH:/usr/sbin:/sbin
missing=
python3 -c 'import jsonschema, tomllib' 2>/dev/null || missing=" python3-jsonschema"
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
# Servers, of which only the program is wanted that judges a configuration: unpacked here, because installing them would
# start them.
here=$(cd "$(dirname "$0")/../.." && pwd)
oracles=$here/target/oracles
unpack() {
    # What is wanted may have become more since.
    [ "$(cat "$oracles/.done" 2>/dev/null)" = "$*" ] && return
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "the tests need programs of Debian's packages docker.io, prometheus, openssh-server, sudo and netplan.io in $oracles" >&2
        exit 1
    fi
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq >&2
    elif ! apt-cache show "$1" >/dev/null 2>&1; then
        echo "the tests unpack programs of Debian's packages $*, and apt knows none of them yet; once:" >&2
        echo "    sudo apt-get update" >&2
        exit 1
    fi
    rm -rf "$oracles"
    mkdir -p "$oracles/debs"
    echo "unpacking $* to $oracles" >&2
    (cd "$oracles/debs" && apt-get download -qq "$@" >&2)
    for deb in "$oracles"/debs/*.deb; do
        dpkg-deb --extract "$deb" "$oracles"
    done
    rm -r "$oracles/debs"
    echo "$*" > "$oracles/.done"
}

# shellcheck disable=SC2086 # a list of words
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
if [ -z "${missing# }" ]; then
    :
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing $missing" >&2
    apt-get update -qq >&2
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
else
    echo "the tests need programs that are not here; on Debian or Ubuntu:" >&2
    echo "    sudo apt-get update && sudo apt-get install $missing" >&2
    exit 1
fi

# Debian 13 has another library for netplan, and its generator in a package of its own.
netplan="netplan.io libnetplan0"
if apt-cache show libnetplan1 >/dev/null 2>&1; then netplan="netplan-generator libnetplan1"; fi
# shellcheck disable=SC2086 # two words
unpack docker.io prometheus openssh-server sudo libdevmapper1.02.1 libsystemd0 libwrap0 libyaml-0-2 $netplan
