#!/bin/sh
# Installs what is missing of the packages named below. Safe to cut off at any point and to run again.
set -eu

export DEBIAN_FRONTEND=noninteractive

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

# A power cut may have left packages unpacked.
dpkg --configure -a

missing=
for package in "$@"; do
    name=${package%%=*}
    is_installed "${name%%:*}" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# Keeps configuration files as this node has them; waits for whoever else is installing.
apt_get() {
    apt-get --option DPkg::Lock::Timeout=600 --option Dpkg::Options::=--force-confdef \
        --option Dpkg::Options::=--force-confold "$@"
}

# Without this, one source that cannot be reached is a warning, and its packages "have no candidate".
apt_get update --option APT::Update::Error-Mode=any
# The names have no spaces of their own.
# shellcheck disable=SC2086
apt_get install --yes --no-install-recommends $missing
