#!/bin/sh
# The first node makes the volume once all others are there; the others wait until it is.
{% set all = nodes_with("glusterfs") %}
{% set replica = param.replica or all | length %}
set -eu
systemctl enable glusterd.service
systemctl start glusterd.service
mkdir -p {{ param.brick | sh }}/{{ param.volume | sh }}
gluster volume info {{ param.volume | sh }} > /dev/null 2>&1 && exit 0
{% if all[0].name == node.name %}
{% for n in all if n.name != node.name %}
gluster --mode=script peer probe {{ n.name }} || exit 75
{% endfor %}
connected=$(gluster pool list | grep -c Connected)
if [ "$connected" -lt {{ all | length }} ]; then
    echo "$connected of {{ all | length }} nodes are connected"
    exit 75
fi
# On one drive with the system it has to be asked for: `force`.
gluster --mode=script volume create {{ param.volume | sh }} {{ "replica " ~ replica ~ " " if replica > 1 }}\
{% for n in all %}
    {{ n.name }}:{{ param.brick | sh }}/{{ param.volume | sh }} \
{% endfor %}
    force
gluster --mode=script volume start {{ param.volume | sh }}
{% else %}
echo "{{ all[0].name }} has not made the volume yet"
exit 75
{% endif %}
