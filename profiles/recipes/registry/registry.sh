#!/bin/sh
# The account comes with the package, so its folder can be given to it only now.
set -eu
install -d -o docker-registry -g docker-registry {{ param.storage | sh }}
systemctl enable docker-registry.service
systemctl restart docker-registry.service
