#!/bin/bash
# Makes the images that kubeadm's static pods and add-ons name, under those names, and one archive of them all.
set -euo pipefail
. "$(dirname "$0")/env.sh"
want=$(sha256sum <"$here/node/rootfs.sh" | cut -c1-12)
have=$(docker image inspect -f '{{index .Config.Labels "kindlab"}}' kindlab/rootfs:bookworm 2>/dev/null || true)
[[ $want == "$have" ]] || { "$here/node/rootfs.sh" kindlab/rootfs:bookworm "$want"; say "made rootfs"; }
docker build -q -t kindlab/iptables:1 -f "$here/images/iptables.Dockerfile" "$here/images" >/dev/null
ctx=$(mktemp -d "$KINDLAB/ctx.XXXXXX"); trap 'rm -rf "$ctx"' EXIT
mkdir "$ctx/bin"; cp -P "$bin"/{kube,etcd,kube-*,kubectl} "$ctx/bin/"
docker build -q -t kindlab/kube:local -f "$here/images/kube.Dockerfile" "$ctx" >/dev/null
names=$("$bin/kubeadm" config images list --kubernetes-version "$k8s" 2>/dev/null)
for name in $names; do
  repo=${name%:*}; cmd=${repo##*/}
  case $cmd in
    coredns | pause)
      cp "$bin/$cmd" "$ctx/"
      printf 'FROM scratch\nCOPY %s /%s\nENTRYPOINT ["/%s"]\n' "$cmd" "$cmd" "$cmd" >"$ctx/Dockerfile"
      docker build -q -t "$name" "$ctx" >/dev/null ;;
    *) docker tag kindlab/kube:local "$name" ;;
  esac
done
docker save -o "$KINDLAB/control-plane.tar" kindlab/kube:local $names
say "control-plane images: $(du -h "$KINDLAB/control-plane.tar" | cut -f1)"
