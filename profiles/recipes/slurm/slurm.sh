#!/bin/sh
# munge and SLURM run with the key and the settings of this cluster.
set -eu
chown munge:munge /etc/munge/munge.key
chmod 0400 /etc/munge/munge.key
systemctl enable munge.service
systemctl restart munge.service
{% if part == "controller" %}
install -d -o slurm -g slurm -m 0755 /var/lib/slurm/slurmctld /var/log/slurm
systemctl enable slurmctld.service
systemctl restart slurmctld.service
{% else %}
install -d -o slurm -g slurm -m 0755 /var/lib/slurm/slurmd /var/log/slurm
systemctl enable slurmd.service
systemctl restart slurmd.service
{% endif %}
