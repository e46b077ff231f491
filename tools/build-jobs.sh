#!/usr/bin/env bash
# Prints how many compiles may run at once: MIZZEN_JOBS if that is set, else one per 1.5 GB of memory
# that this machine or its cgroup has left, and never more than there are cores.
set -euo pipefail
if [ -n "${MIZZEN_JOBS:-}" ]; then
  echo "$MIZZEN_JOBS"
  exit
fi
available=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
used=$(cat /sys/fs/cgroup/memory.current 2>/dev/null || true)
if [[ $limit =~ ^[0-9]+$ && $used =~ ^[0-9]+$ ]]; then
  limit=$(((limit - used) / 1048576))
  [ "$limit" -ge "$available" ] || available=$limit
fi
count=$((available / 1500))
[ "$count" -le "$(nproc)" ] || count=$(nproc)
[ "$count" -ge 1 ] || count=1
echo "$count"
