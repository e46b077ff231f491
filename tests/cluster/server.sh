#!/usr/bin/env bash
# Ends or starts one server of a cluster, for tests of failures:
#   tests/cluster/server.sh DIR kill NAME     as if it had crashed (SIGKILL)
#   tests/cluster/server.sh DIR stop NAME     in good order
#   tests/cluster/server.sh DIR start NAME    again, as it was started first: same port, same data
#   tests/cluster/server.sh DIR pause NAME    SIGSTOP: its connections stay, and are silent
#   tests/cluster/server.sh DIR resume NAME
# NAME: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok. A started API server is
# ready when this returns.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -eq 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$1"
name=$3
[ -f "commands/$name" ] || die "no $name in $PWD"
case $2 in
  kill) end KILL "$name" ;;
  stop) end TERM "$name" ;;
  pause | resume)
    [ "$2" = pause ] && signal=STOP || signal=CONT
    while read -r pid _; do kill -s "$signal" "$pid"; done < <(servers "$name")
    ;;
  start)
    [ -z "$(servers "$name")" ] || die "$name runs already"
    sed -i "/ $name\$/d" pids
    mapfile -d '' -t command <"commands/$name"
    serve "$name" "${command[@]}"
    if [ "$name" = kube-apiserver ]; then
      # shellcheck disable=SC1091
      . ./env
      wait_for 120 "API server" curl -sf --cacert "$MIZZEN_CLUSTER_CA" \
        -H "Authorization: Bearer $MIZZEN_CLUSTER_ADMIN_TOKEN" "$MIZZEN_CLUSTER_API/readyz"
    fi
    ;;
  *) die "no such action: $2" ;;
esac
