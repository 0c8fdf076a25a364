#!/bin/sh
set -eu
getent passwd minio > /dev/null || adduser --system --group --no-create-home --home /nonexistent minio
install -d -o minio -g minio -m 0750 {{ param.storage | sh }}
systemctl enable minio.service
systemctl restart minio.service
