#!/usr/bin/env bash
# Ends the node of node/start.sh: the kubelet, all containers, containerd; undoes its mounts and
# cgroups, and removes DIR/node. Also after a crash of any of them.
#   tests/cluster/node/stop.sh DIR
set -euo pipefail
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
PATH=$PATH:/usr/sbin:/sbin
cd "$1"
rm -f node/ready
sockets=$(readlink node/sockets || true)
group=$(node_cgroup)
below_node() { # whether a path lies in the node's folders
  [[ $1/ = "$PWD"/node/* || (-n $sockets && $1/ = "$sockets"/*) ]]
}

# The kubelet first, or it starts the containers again.
end TERM kubelet
if [ -n "$(servers containerd)" ]; then
  containers() { ctr --address="$sockets/containerd.sock" --namespace=k8s.io "$@"; }
  for id in $(containers tasks list --quiet || true); do
    containers tasks kill --all --signal=KILL "$id" >/dev/null 2>&1 || true
  done
  for id in $(containers containers list --quiet || true); do
    # Its last process may take a moment to go.
    for ((i = 0; i < 50; ++i)); do
      containers tasks delete "$id" >/dev/null 2>&1 || true
      if containers containers delete "$id" >/dev/null 2>&1; then break; fi
      sleep 0.1
    done
  done
fi
end TERM containerd

# Shims outlive containerd; ours have our socket among their arguments.
for process in /proc/[0-9]*; do
  if [ -n "$sockets" ] && { tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null | grep -q "containerd-shim.* $sockets/"; then
    kill -s KILL "${process#/proc/}" 2>/dev/null || true
  fi
done
# Containers without a shim are still in our cgroup, and a process that was killed takes a moment.
for ((i = 0; i < 100; ++i)); do
  mapfile -t groups < <(find /sys/fs/cgroup -depth -type d \( -path "*/$group" -o -path "*/$group/*" \) 2>/dev/null)
  [ ${#groups[@]} -gt 0 ] || break
  for each in "${groups[@]}"; do
    while read -r pid; do kill -s KILL "$pid" 2>/dev/null || true; done 2>/dev/null <"$each/cgroup.procs" || true
    rmdir "$each" 2>/dev/null || true
  done
  sleep 0.05
done
while read -r mount; do umount --lazy "$mount"; done < <(
  while read -r _ path _; do
    if below_node "$path"; then echo "$path"; fi
  done </proc/mounts | sort -r
)

others=$(grep -lsz -- '--hostname-override=localhost' /proc/[0-9]*/cmdline || true)
if [ -z "$others" ] && [ -f /tmp/mizzen-node.made ]; then
  while read -r made; do rm -rf --one-file-system "$made"; done </tmp/mizzen-node.made
  rm -f /tmp/mizzen-node.made
fi
[ -z "$sockets" ] || rm -rf --one-file-system "$sockets"
rm -rf --one-file-system node
if [ -f pids ]; then sed -i -E '/ (kubelet|containerd)$/d' pids; fi
if [ -n "$(servers kube-apiserver)" ]; then
  "$("$tests_cluster/build.sh" --where)/kubectl" --kubeconfig=admin.kubeconfig \
    delete node localhost --ignore-not-found --timeout=30s >/dev/null || true
fi
