#!/bin/sh
set -eu
systemctl enable --now tailscaled.service
if [ -e /etc/cardpress/tailscale.key ]; then
    tailscale up --hostname={{ node.name }} --auth-key=file:/etc/cardpress/tailscale.key{% for word in param.options %} {{ word | sh }}{% endfor +%}
    rm -f /etc/cardpress/tailscale.key
fi
tailscale status > /dev/null
