#!/usr/bin/env bash
# Succeeds where this machine can run a real node; else prints the reason, one line, and fails.
set -euo pipefail
no() {
  echo "no real Kubernetes node here: $*"
  exit 1
}
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || no "it needs root"
missing=
for program in containerd ctr runc ip; do command -v $program >/dev/null || missing+=" $program"; done
[ -x "${BUSYBOX:-/bin/busybox}" ] || missing+=" busybox"
[ -z "$missing" ] || no "not installed:$missing (tools/install-deps.sh test)"

# Cgroups: those that a kubelet cannot do without.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  for controller in cpu memory pids; do
    grep -qw $controller /sys/fs/cgroup/cgroup.controllers || no "no cgroup controller '$controller'"
  done
  trees=(/sys/fs/cgroup)
else
  trees=()
  for controller in cpu cpuset memory pids; do
    [ -d /sys/fs/cgroup/$controller ] || no "no cgroup controller '$controller'"
    trees+=("/sys/fs/cgroup/$controller")
  done
fi
for tree in "${trees[@]}"; do
  probe="$tree/mizzen-probe-$$"
  if ! { mkdir "$probe" && rmdir "$probe"; } 2>/dev/null; then no "$tree cannot be written"; fi
done

unshare --mount --net --pid --uts --ipc --fork true 2>/dev/null || no "namespaces cannot be made"
unshare --mount --propagation private sh -c 'mount -t tmpfs none /mnt' 2>/dev/null || no "nothing can be mounted"
