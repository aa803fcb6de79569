#!/bin/bash
# From a bare machine to a node image that kind can make clusters of, and prints its name. Builds only when this recipe
# changed since the image was made.
set -euo pipefail
. "$(dirname "$0")/env.sh"
mkdir -p "$KINDLAB"
timed() { local t=$SECONDS; "$@" >&2; say "-- ${1##*/}: $((SECONDS - t)) s" >&2; }
timed "$here/1-host.sh"
want=$(cd "$here" && find . -type f ! -name '*.yaml' ! -name 1-host.sh ! -name README.md ! -name up.sh ! -name dns.sh ! -name down.sh -o -path './node/manifests/*' -type f | sort | xargs cat | sha256sum | cut -c1-12)
have=$(docker image inspect -f '{{index .Config.Labels "kindlab"}}' "$node_image" 2>/dev/null || true)
if [[ $want != "$have" ]]; then
  timed "$here/2-build.sh"
  timed "$here/3-images.sh"
  KINDLAB_STAMP=$want timed "$here/4-node.sh"
fi
echo "$node_image"
