#!/bin/sh
# Docker runs with the settings of this cluster, and these accounts may use it.
set -eu
{% for user in param.users %}
usermod -aG docker {{ user | sh }}
{% endfor %}
systemctl enable docker.service
# It may have been started by its package before its data were where they belong.
systemctl restart docker.service
docker info > /dev/null
