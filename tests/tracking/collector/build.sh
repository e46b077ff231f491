#!/usr/bin/env bash
# Prints the path of a program with the OpenTelemetry Collector's receiver (main.go), building it first
# where needed.
#   tests/tracking/collector/build.sh            build if needed
#   tests/tracking/collector/build.sh --where    build nothing; exit status 1 if that has not been done
# It lives under ~/.cache/mizzen/collector, named by the hash of its sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cache="${MIZZEN_CACHE:-$HOME/.cache/mizzen}/collector"
program="$cache/collector-$(cat go.mod go.sum main.go | sha256sum | cut -c1-16)"
if [ "${1:-}" = --where ]; then
  echo "$program"
  [ -x "$program" ]
  exit
fi
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -x "$program" ]; then
  PATH=$(../../cluster/toolchain.sh):$PATH
  CGO_ENABLED=0 nice go build -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w" -o "$program.new" . >&2
  # Under its final name it is whole.
  mv "$program.new" "$program"
fi
echo "$program"
