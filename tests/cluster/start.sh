#!/usr/bin/env bash
# Starts a cluster on free ports of 127.0.0.1, with everything it has in DIR, and returns when it runs
# Jobs. `. DIR/env` makes kubectl talk to it.
#   tests/cluster/start.sh [--bare] [--owner PID] DIR
#     --bare         etcd and the API server only: no controllers, no scheduler, no nodes
#     --owner PID    the cluster ends when that process has ended, however that happened
# A cluster that another run has left in DIR is ended first. Environment: MIZZEN_APISERVER_FLAGS.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bare=false
owner=
while [ $# -gt 1 ]; do
  case $1 in
    --bare) bare=true ;;
    --owner) owner=$2; shift ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
[ $# -eq 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
programs=$("$tests_cluster/build.sh" --where) || die "not built yet: tests/cluster/build.sh"

umask 077
mkdir -p "$1"
cd "$1"
exec 9>.lock
flock 9
if [ -f pids ] || [ -d node ]; then "$tests_cluster/stop.sh" "$PWD"; fi
rm -rf pids log pki etcd commands fake ./*.kubeconfig env unavailable owner ready
mkdir log pki commands fake

prepare() {
  printf '[req]\ndistinguished_name = none\n[none]\n' >pki/openssl.cnf
  openssl req -config pki/openssl.cnf -x509 -days 30 -subj /CN=mizzen-test \
    -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout pki/ca.key -out pki/ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>>log/openssl
  certificate apiserver /CN=kube-apiserver serverAuth \
    IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
  # Subjects that Kubernetes' own roles speak of, and those of objects/rbac.yaml.
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate controllers /CN=system:kube-controller-manager clientAuth
  certificate scheduler /CN=system:kube-scheduler clientAuth
  certificate to-kubelet /CN=mizzen:apiserver-to-kubelet clientAuth
  certificate kwok /CN=mizzen:kwok serverAuth,clientAuth IP:127.0.0.1,DNS:localhost
  certificate front-proxy /CN=front-proxy clientAuth
  openssl ecparam -name prime256v1 -genkey -noout -out pki/service-accounts.key
  for user in 'token-admin,1,"system:masters"' 'token-viewer,2,"mizzen:viewers"' token-nobody,3; do
    echo "$(openssl rand -hex 16),$user"
  done >pki/tokens.csv
}
token() { sed -n "s/,token-$1,.*//p" pki/tokens.csv; }

get() { curl -sf --cacert pki/ca.crt --cert pki/admin.crt --key pki/admin.key "$api$1"; }

# One try: ports are looked for before they are bound, and somebody may have been faster.
run() {
  local etcd etcd_port peer_port api_port controllers_port scheduler_port kwok_port
  rm -rf pids etcd
  read -r etcd_port peer_port api_port controllers_port scheduler_port kwok_port < <(free_ports 6)
  etcd=http://127.0.0.1:$etcd_port
  api=https://127.0.0.1:$api_port

  local user
  for user in admin controllers scheduler kwok; do kubeconfig $user "$(by_certificate $user)"; done
  for user in admin viewer nobody; do kubeconfig token-$user "{token: $(token $user)}"; done
  token admin >admin.token
  kubeconfig token-file "{tokenFile: \"$PWD/admin.token\"}"
  cat >env.new <<-END
	export KUBECONFIG='$PWD/admin.kubeconfig'
	export PATH='$programs':"\$PATH"
	export MIZZEN_CLUSTER_DIR='$PWD'
	export MIZZEN_CLUSTER_API='$api'
	export MIZZEN_CLUSTER_CA='$PWD/pki/ca.crt'
	export MIZZEN_CLUSTER_PROGRAMS='$programs'
	export MIZZEN_CLUSTER_FAULT_PROXY='$programs/fault-proxy-$proxy_hash'
	export MIZZEN_CLUSTER_ADMIN_TOKEN='$(token admin)'
	export MIZZEN_CLUSTER_VIEWER_TOKEN='$(token viewer)'
	export MIZZEN_CLUSTER_NOBODY_TOKEN='$(token nobody)'
	END

  serve etcd "$programs/etcd" --name=mizzen --data-dir=etcd --log-level=warn --unsafe-no-fsync \
    --listen-client-urls="$etcd" --advertise-client-urls="$etcd" \
    --listen-peer-urls="http://127.0.0.1:$peer_port" \
    --initial-advertise-peer-urls="http://127.0.0.1:$peer_port" \
    --initial-cluster="mizzen=http://127.0.0.1:$peer_port"

  # shellcheck disable=SC2054
  local flags=(
    --etcd-servers="$etcd" --bind-address=127.0.0.1 --secure-port="$api_port"
    # The endpoints of the Service "kubernetes" can't be loopback addresses: it has none.
    --advertise-address=127.0.0.1 --endpoint-reconciler-type=none
    # Nothing here routes Services; who tries one in this range is refused at once.
    --service-cluster-ip-range=127.200.0.0/16
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key
    --client-ca-file=pki/ca.crt --token-auth-file=pki/tokens.csv
    --authorization-mode=Node,RBAC --allow-privileged=true
    --service-account-issuer=https://kubernetes.default.svc
    --service-account-signing-key-file=pki/service-accounts.key
    --service-account-key-file=pki/service-accounts.key
    # Kubelets are found by the node's Hostname, which is "localhost" for all of them: a node can't
    # have a loopback address as its InternalIP.
    --kubelet-preferred-address-types=Hostname
    --kubelet-certificate-authority=pki/ca.crt
    --kubelet-client-certificate=pki/to-kubelet.crt --kubelet-client-key=pki/to-kubelet.key
    --requestheader-client-ca-file=pki/ca.crt --requestheader-allowed-names=front-proxy
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    --proxy-client-cert-file=pki/front-proxy.crt --proxy-client-key-file=pki/front-proxy.key
  )
  read -r -a more <<<"${MIZZEN_APISERVER_FLAGS-}"
  serve kube-apiserver "$programs/kube-apiserver" "${flags[@]}" "${more[@]}"
  wait_for 120 "API server" get /readyz
  # The controller manager and the scheduler read this when they start, and end without it.
  wait_for 60 "authentication settings" \
    get /api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication
  local objects=(-f "$tests_cluster/objects/rbac.yaml" -f "$tests_cluster/objects/crds.yaml")
  $bare || objects+=(-f "$tests_cluster/objects/nodes.yaml")
  KUBECONFIG=admin.kubeconfig "$programs/kubectl" create "${objects[@]}" >log/objects
  # Two tests that start at once must both find the new kinds.
  KUBECONFIG=admin.kubeconfig "$programs/kubectl" wait --for=condition=Established --timeout=60s \
    crd/widgets.mizzen.test crd/fleets.mizzen.test >>log/objects
  if $bare; then return; fi

  own_access() {
    local file=$PWD/$1.kubeconfig
    access=("--kubeconfig=$file" "--authentication-kubeconfig=$file" "--authorization-kubeconfig=$file")
  }
  local access
  own_access controllers
  # Each controller as its own service account, as the role of the whole is small; at the standard rate
  # those accounts alone would take seconds to make.
  serve kube-controller-manager "$programs/kube-controller-manager" "${access[@]}" \
    --bind-address=127.0.0.1 --secure-port="$controllers_port" --leader-elect=false \
    --use-service-account-credentials --kube-api-qps=500 --kube-api-burst=500 \
    --service-account-private-key-file=pki/service-accounts.key --root-ca-file=pki/ca.crt \
    --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key
  own_access scheduler
  serve kube-scheduler "$programs/kube-scheduler" "${access[@]}" \
    --bind-address=127.0.0.1 --secure-port="$scheduler_port" --leader-elect=false

  echo "$(date -u +%FT%T.%NZ) stdout F a line from a fake pod" >fake/log
  {
    "$programs/mizzen-cluster" kwok-stages
    echo ---
    cat "$tests_cluster/stages.yaml"
    sed -e "s#FAKE_FOLDER#$PWD/fake#" -e "s#KWOK_PORT#$kwok_port#" "$tests_cluster/fake.yaml"
  } >kwok.yaml
  # Pods get addresses from the range for benchmarks (RFC 2544), which nothing routes. Without leases a
  # node would be found dead every 50 seconds, and all its pods be marked as not ready.
  serve kwok "$programs/kwok" --config=kwok.yaml --kubeconfig=kwok.kubeconfig \
    --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-lease-duration-seconds=40 \
    --server-address="127.0.0.1:$kwok_port" \
    --tls-cert-file=pki/kwok.crt --tls-private-key-file=pki/kwok.key \
    --node-name=localhost --node-ip=127.0.0.1 --node-port="$kwok_port" --cidr=198.18.0.0/15
  wait_for 60 kwok curl -sf "http://127.0.0.1:$kwok_port/healthz"
  wait_for 60 controllers get /api/v1/namespaces/default/serviceaccounts/default
  wait_for 60 scheduler curl -sfk "https://127.0.0.1:$scheduler_port/readyz"
  KUBECONFIG=admin.kubeconfig "$programs/kubectl" wait --for=condition=Ready nodes --all \
    --timeout=60s >>log/objects
}

trap 'end TERM; rm -f owner' EXIT
if [ -n "$owner" ]; then
  echo "$owner $(started "$owner" || echo 0)" >owner
  setsid "$tests_cluster/guard.sh" "$PWD" </dev/null >>log/guard 2>&1 9>&- &
fi
prepare
proxy_hash=$(cat "$tests_cluster"/faultproxy/*.go "$tests_cluster/faultproxy/go.mod" | sha256sum | cut -c1-16)
for try in 1 2 3; do
  status=0
  # Not in a condition, which would switch -e off inside.
  set +e
  (set -e; run)
  status=$?
  set -e
  [ $status -ne 0 ] || break
  # shellcheck disable=SC2015
  [ $try -lt 3 ] && grep -qs 'address already in use' log/* || exit $status
  end TERM
done
mv env.new env
trap - EXIT
