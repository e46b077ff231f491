#!/usr/bin/env bash
# Ends a cluster, and the node of node/start.sh; keeps its logs.
#   tests/cluster/stop.sh DIR
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -eq 1 ] || { sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ -d "$1" ] || exit 0
cd "$1"
rm -f env owner
if [ -d node ]; then "$tests_cluster/node/stop.sh" "$PWD"; fi
end TERM
rm -rf pids etcd
