#!/bin/sh
# The folder may lie on a drive that is mounted only now.
set -eu
mkdir -p {{ param.path | sh }}
chmod {{ param.mode | sh }} {{ param.path | sh }}
systemctl enable nfs-server.service
systemctl restart nfs-server.service
exportfs -ra
