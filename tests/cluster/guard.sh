#!/usr/bin/env bash
# Waits for the end of the process that DIR/owner names, and then ends the cluster in DIR: what start.sh
# --owner leaves behind. Goes away when the cluster gets another owner or is stopped.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$1"
owner=$(<owner)
read -r pid since <<<"$owner"
while alive "$pid" "$since"; do
  sleep 1
  [ "$(cat owner 2>/dev/null)" = "$owner" ] || exit 0
done
exec 9>.lock
flock 9
[ "$(cat owner 2>/dev/null)" = "$owner" ] || exit 0
exec "$tests_cluster/stop.sh" "$PWD"
