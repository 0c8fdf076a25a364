#!/bin/sh
# Joins the cluster as soon as its control plane answers.
{% set leader = nodes_with("kubeadm/control-plane") | first %}
set -eu
apt-mark hold kubeadm kubelet kubectl
given=/etc/cardpress/kubernetes

# What kubeadm reads first. 75: not yet.
kubectl --kubeconfig="$given/bootstrap.kubeconfig" --request-timeout=10s --namespace=kube-system \
    get configmap/kubeadm-config > /dev/null || {
    echo "the control plane on {{ leader.name }} is not ready yet"
    exit 75
}

# An earlier try was cut off: kubeadm starts from nothing or not at all.
if [ -e /etc/kubernetes/pki/ca.crt ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ]; then
    kubeadm reset --force --cri-socket=unix:///run/containerd/containerd.sock
fi
systemctl enable containerd.service kubelet.service
systemctl restart containerd.service
kubeadm join --config="$given/kubeadm.yaml"
