#!/usr/bin/env bash
# ctest's fixtures: the cluster that the tests of one ctest run share, and the real node in it.
#   tests/cluster/fixture.sh cluster|node start|stop DIR
# Exit status 77, with the reason, where this machine does not allow it; the tests then find the reason
# in DIR/unavailable (DIR/node-unavailable) and are skipped with it. A cluster that runs in DIR because
# somebody called start.sh without an owner is used as it is, and left running.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -eq 3 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$3
mkdir -p "$folder"

unavailable() { # FILE REASON
  echo "$2" >"$folder/$1"
  echo "SKIPPED: $2"
  exit 77
}

start_cluster() {
  local pid since
  rm -f "$folder/unavailable"
  "$tests_cluster/build.sh" --where >/dev/null || unavailable unavailable \
    "the Kubernetes control plane is not built: tests/cluster/build.sh has not run, or failed and said why"
  if [ -f "$folder/env" ] && (cd "$folder" && [ -n "$(servers kube-apiserver)" ]); then
    if [ ! -f "$folder/owner" ]; then
      echo "using the cluster that runs in $folder"
      return
    fi
    read -r pid since <"$folder/owner"
    if alive "$pid" "$since" && [ "$pid" != "$PPID" ]; then
      die "another test run (process $pid) uses $folder"
    fi
  fi
  "$tests_cluster/start.sh" --owner "$PPID" "$folder"
}

stop_cluster() {
  if [ -f "$folder/owner" ]; then "$tests_cluster/stop.sh" "$folder"; fi
}

start_node() {
  local reason
  rm -f "$folder/node-unavailable"
  if [ -f "$folder/unavailable" ]; then unavailable node-unavailable "$(<"$folder/unavailable")"; fi
  if ! reason=$("$tests_cluster/node/check.sh"); then unavailable node-unavailable "$reason"; fi
  "$tests_cluster/node/start.sh" "$folder"
}

stop_node() {
  if [ -d "$folder/node" ]; then "$tests_cluster/node/stop.sh" "$folder"; fi
}

case $1-$2 in
  cluster-start) start_cluster ;;
  cluster-stop) stop_cluster ;;
  node-start) start_node ;;
  node-stop) stop_node ;;
  *) die "no such fixture: $1 $2" ;;
esac
