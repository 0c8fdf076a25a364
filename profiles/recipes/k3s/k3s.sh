#!/bin/sh
# Starts k3s, which looks for its server by itself, and waits until it is part of the cluster. 75: not yet.
set -eu
systemctl daemon-reload
systemctl enable k3s.service
systemctl start --no-block k3s.service
{% if part == "server" %}
/usr/local/bin/k3s kubectl get --raw=/readyz > /dev/null || exit 75
{% else %}
[ -e /var/lib/rancher/k3s/agent/client-kubelet.crt ] || {
    echo "the server has not answered yet"
    exit 75
}
{% endif %}
