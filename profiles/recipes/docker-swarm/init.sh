#!/bin/sh
# Makes the swarm, once.
set -eu
state=$(docker info --format '{% raw %}{{.Swarm.LocalNodeState}}{% endraw %}')
[ "$state" = active ] && exit 0
docker swarm init --advertise-addr {{ node.address }}
