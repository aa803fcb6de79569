#!/bin/bash
# Gives a cluster of the lab ($1 its name, KUBECONFIG leads to it) a CoreDNS without a forwarder, and one of it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
kubectl() { docker exec -i "$name-control-plane" kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
kubectl apply --server-side --force-conflicts -f - <"$here/kind/corefile.yaml" >/dev/null
kubectl -n kube-system scale deploy/coredns --replicas=1 >/dev/null
kubectl -n kube-system rollout restart deploy/coredns >/dev/null
kubectl -n kube-system rollout status deploy/coredns --timeout=120s >&2
