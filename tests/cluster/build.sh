#!/usr/bin/env bash
# Prints the folder with the control plane's programs (etcd, kube-apiserver, …, kubectl, fault-proxy),
# building them first where needed. Cold, that takes 9 minutes of two cores, 0.7 GB of modules and
# 3.2 GB of Go's build cache; after that nothing.
#   tests/cluster/build.sh            build if needed
#   tests/cluster/build.sh --where    build nothing; exit status 1 if that has not been done
# They live under ~/.cache/mizzen/cluster, named by the hash of their sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cache="${MIZZEN_CACHE:-$HOME/.cache/mizzen}/cluster"
hash=$(cat go.mod go.sum main.go | sha256sum | cut -c1-16)
proxy_hash=$(cat faultproxy/*.go faultproxy/go.mod | sha256sum | cut -c1-16)
programs="$cache/$hash"

if [ "${1:-}" = --where ]; then
  echo "$programs"
  [ -x "$programs/mizzen-cluster" ] && [ -x "$programs/fault-proxy-$proxy_hash" ]
  exit
fi
[ $# -eq 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -x "$programs/mizzen-cluster" ]; then
  PATH=$(./toolchain.sh):$PATH
  rm -rf "$programs.new"
  mkdir "$programs.new"
  # What /version and kubectl say; unset, it is v0.0.0-master, and clients that compare versions go wrong.
  version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' go.mod)
  IFS=. read -r major minor _ <<<"${version#v}"
  variables=k8s.io/component-base/version
  flags="-s -w -X $variables.gitVersion=$version -X $variables.gitMajor=$major -X $variables.gitMinor=$minor"
  flags+=" -X $variables.gitTreeState=clean"
  CGO_ENABLED=0 nice go build -mod=readonly -buildvcs=false -trimpath -ldflags "$flags" \
    -o "$programs.new/mizzen-cluster" . >&2
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl kwok; do
    ln -s mizzen-cluster "$programs.new/$name"
  done
  # Under its final name it is whole.
  mv -T "$programs.new" "$programs"
fi
if [ ! -x "$programs/fault-proxy-$proxy_hash" ]; then
  PATH=$(./toolchain.sh):$PATH
  (cd faultproxy && CGO_ENABLED=0 go build -buildvcs=false -trimpath -o "$programs/fault-proxy-$proxy_hash.new" . >&2)
  mv "$programs/fault-proxy-$proxy_hash.new" "$programs/fault-proxy-$proxy_hash"
fi
echo "$programs"
