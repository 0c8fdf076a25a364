#!/bin/sh
# Upgrades everything, and keeps configuration files as this node has them. Safe to cut off and to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt_get() {
    apt-get --option DPkg::Lock::Timeout=600 --option Dpkg::Options::=--force-confdef \
        --option Dpkg::Options::=--force-confold "$@"
}
dpkg --configure -a
apt_get update
apt_get --yes full-upgrade
