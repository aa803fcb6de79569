#!/bin/bash
# Stops the dockerd that 1-host.sh started, with every container in it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
kill "$(cat "$KINDLAB/docker/dockerd.pid")"
