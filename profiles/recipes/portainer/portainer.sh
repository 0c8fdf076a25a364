#!/bin/sh
# Starts Portainer; Docker starts it again after that.
set -eu
docker container inspect portainer > /dev/null 2>&1 && exec docker start portainer
docker pull {{ param.image | sh }}
docker run --detach --name portainer --restart always --publish {{ param.port }}:9443 \
    --volume /var/run/docker.sock:/var/run/docker.sock --volume portainer_data:/data \
    --volume /etc/cardpress/portainer-password:/run/password:ro \
    {{ param.image | sh }} --admin-password-file /run/password
