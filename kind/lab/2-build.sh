#!/bin/bash
# Compiles everything: the Kubernetes commands with etcd, CoreDNS, pause. Slow once, then a cache hit.
set -euo pipefail
. "$(dirname "$0")/env.sh"
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
mkdir -p "$bin"
build() { # folder package output
  (cd "$here/$1" && nice -n 10 go build -gcflags=all=-dwarf=false -ldflags '-s -w' -o "$bin/$3" "$2"); say "built $3"
}
build pause . pause
build coredns . coredns
"$here/k8s/build.sh" "$bin"; say "built kubernetes $k8s"
