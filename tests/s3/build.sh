#!/usr/bin/env bash
# Prints the path of s3-server (see main.go), building it first where needed: cold, about a minute of
# two cores and 150 MB of modules.
# It lives under ~/.cache/mizzen/s3, named by the hash of its sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cache="${MIZZEN_CACHE:-$HOME/.cache/mizzen}/s3"
program="$cache/s3-server-$(cat go.mod go.sum main.go | sha256sum | cut -c1-16)"
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -x "$program" ]; then
  PATH=$(../cluster/toolchain.sh):$PATH
  CGO_ENABLED=0 nice go build -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w" -o "$program.new" . >&2
  # Under its final name it is whole.
  mv "$program.new" "$program"
fi
echo "$program"
