#!/usr/bin/env bash
# Adds a real node, "localhost", to the cluster that runs in DIR: containerd, runc and a kubelet, all
# they have under DIR/node. It needs root; node/check.sh says whether the machine allows it.
#   tests/cluster/node/start.sh DIR
# A taint keeps other pods away: use nodeName, or tolerate mizzen.test/real. There is no pod network:
# a pod with hostNetwork shares the machine's, any other has a loopback interface of its own.
set -euo pipefail
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
PATH=$PATH:/usr/sbin:/sbin
umask 077
cd "$1"
[ -n "$(servers kube-apiserver)" ] || die "no cluster runs in $PWD"
if [ -d node ]; then "$tests_cluster/node/stop.sh" "$PWD"; fi
# shellcheck disable=SC1091
. ./env
# shellcheck disable=SC2034
api=$MIZZEN_CLUSTER_API
mkdir -p node/cni/bin node/cni/conf node/manifests
trap '"$tests_cluster/node/stop.sh" "$PWD"' EXIT
read -r kubelet_port streaming_port < <(free_ports 2)

# --- containerd ---
# Folders that it and the kubelet make whatever their settings; stop.sh removes those that were not
# there before. Other clusters' nodes on this machine use them as well, hence the list for all.
for made in /run/containerd /var/lib/cni /var/lib/kubelet; do
  [ -e $made ] || echo $made >>/tmp/mizzen-node.made
done
# A socket's path may have 107 bytes; ours could be longer.
sockets=$(mktemp -d /tmp/mizzen-node.XXXXXX)
ln -s "$sockets" node/sockets
install -m 755 "$tests_cluster/node/cni.sh" node/cni/bin/mizzen
ln -s mizzen node/cni/bin/loopback # which containerd calls for every pod
echo '{"cniVersion": "0.4.0", "name": "mizzen", "plugins": [{"type": "mizzen"}]}' >node/cni/conf/10-mizzen.conflist

# overlayfs does not work everywhere, on top of another overlayfs for one.
mkdir -p node/probe/{lower,upper,work,merged}
snapshotter=native
if unshare --mount --propagation private mount -t overlay overlay \
    -o "lowerdir=$PWD/node/probe/lower,upperdir=$PWD/node/probe/upper,workdir=$PWD/node/probe/work" \
    "$PWD/node/probe/merged" 2>/dev/null; then
  snapshotter=overlayfs
fi
rm -rf node/probe

cat >node/containerd.toml <<END
version = 2
root = "$PWD/node/containerd"
state = "$sockets/run"
[grpc]
  address = "$sockets/containerd.sock"
[ttrpc]
  address = "$sockets/containerd.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "$PWD/node/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "mizzen.test/pause:1"
  stream_server_address = "127.0.0.1"
  stream_server_port = "$streaming_port"
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  # Lowering an oom_score_adj needs CAP_SYS_RESOURCE, which root in a container may lack.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$PWD/node/cni/bin"
    conf_dir = "$PWD/node/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
END
serve containerd "$(command -v containerd)" --config="$PWD/node/containerd.toml"
containers() { ctr --address="$sockets/containerd.sock" --namespace=k8s.io "$@"; }
wait_for 60 containerd containers version
"$tests_cluster/node/images.sh" node/images.tar
containers images import node/images.tar >log/images

# --- kubelet ---
# All pods are below one cgroup of ours, which stop.sh can clear as a whole.
group=$(node_cgroup)
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$group"
  for controller in $(</sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
    echo "+$controller" >"/sys/fs/cgroup/$group/cgroup.subtree_control" || true
  done 2>/dev/null
else
  for tree in /sys/fs/cgroup/*/; do
    mkdir -p "$tree$group" 2>/dev/null || continue
    # Not inherited, and no process may enter while they are empty.
    for file in cpuset.cpus cpuset.mems; do
      if [ -f "$tree$file" ]; then cat "$tree$file" >"$tree$group/$file"; fi
    done
  done
fi
certificate node /O=system:nodes/CN=system:node:localhost serverAuth,clientAuth IP:127.0.0.1,DNS:localhost
kubeconfig node "$(by_certificate node)"
: >node/resolv.conf
cat >node/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $kubelet_port
readOnlyPort: 0
healthzPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$PWD/pki/ca.crt"}}
authorization: {mode: Webhook}
tlsCertFile: "$PWD/pki/node.crt"
tlsPrivateKeyFile: "$PWD/pki/node.key"
containerRuntimeEndpoint: "unix://$sockets/containerd.sock"
podLogsDir: "$PWD/node/logs"
volumePluginDir: "$PWD/node/plugins"
staticPodPath: "$PWD/node/manifests"
resolvConf: "$PWD/node/resolv.conf"
clusterDNS: [127.0.0.1] # nobody answers there, but without one each pod gets a warning
registerWithTaints: [{key: mizzen.test/real, value: "true", effect: NoSchedule}]
cgroupDriver: cgroupfs # there may be no systemd
cgroupRoot: /$group
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
# The machine stays as it is, and the node does not depend on how full it is.
makeIPTablesUtilChains: false
oomScoreAdj: 0
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
nodeStatusUpdateFrequency: 2s
syncFrequency: 2s
fileCheckFrequency: 2s
END
serve kubelet "$MIZZEN_CLUSTER_PROGRAMS/kubelet" --config="$PWD/node/kubelet.yaml" \
  --kubeconfig="$PWD/node.kubeconfig" --hostname-override=localhost \
  --root-dir="$PWD/node/kubelet" --cert-dir="$PWD/node/pki"
kubectl() { "$MIZZEN_CLUSTER_PROGRAMS/kubectl" --kubeconfig=admin.kubeconfig "$@"; }
ready() { kubectl wait --for=condition=Ready --timeout=1s node/localhost; }
wait_for 120 node ready
touch node/ready
trap - EXIT
