#!/bin/sh
# Makes the cluster, with the authority that the workers already know.
set -eu
apt-mark hold kubeadm kubelet kubectl
given=/etc/cardpress/kubernetes
pki=/etc/kubernetes/pki

# An earlier try was cut off: kubeadm starts from nothing or not at all.
if [ -e "$pki/ca.crt" ]; then
    kubeadm reset --force --cri-socket=unix:///run/containerd/containerd.sock
fi
systemctl enable containerd.service kubelet.service
systemctl restart containerd.service

install -d -m 0755 "$pki"
install -m 0600 "$given/ca.key" "$pki/ca.key"
install -m 0644 "$given/ca.crt" "$pki/ca.crt"
version=$(kubeadm version --output=short)
trap 'rm -f /run/cardpress-kubeadm.yaml' EXIT
(umask 077 && sed "s/@VERSION@/$version/" "$given/kubeadm.yaml" > /run/cardpress-kubeadm.yaml)
kubeadm init --skip-token-print --config=/run/cardpress-kubeadm.yaml
