#!/usr/bin/env bash
# Runs a command in a fresh clone on a bare Debian 12: a minimal debootstrap in a chroot that has none
# of this machine's packages and none of its caches. The committed state (HEAD) is what is cloned.
#   tests/bare_debian.sh [--keep] COMMAND [ARG ...]
#   tests/bare_debian.sh ./examples/quickstart/run.sh
#   tests/bare_debian.sh ./tests/run.sh
# Needs root and debootstrap. The mirror, proxy and certificates are those this machine is set up with.
# --keep leaves the file system in place (its path is printed). Exit status: the command's own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
keep=false
if [ "${1:-}" = --keep ]; then keep=true; shift; fi
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "tests/bare_debian.sh: needs root (chroot)" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "tests/bare_debian.sh: needs debootstrap" >&2; exit 1; }

cache=${MIZZEN_CACHE:-${HOME:-/root}/.cache/mizzen}/bare-debian
mkdir -p "$cache"

# The bare system is made once, and copied for each run.
base="$cache/bookworm"
if [ ! -e "$base.complete" ]; then
  rm -rf "$base"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Release: bookworm' | head -n 1)
  proxy=$(apt-config shell proxy Acquire::http::Proxy | sed "s/^proxy='\(.*\)'$/\1/")
  http_proxy=${proxy:-${http_proxy:-}} \
    debootstrap --variant=minbase bookworm "$base" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
    { tail -n 20 "$cache/debootstrap.log" >&2; exit 1; }
  touch "$base.complete"
fi

root=$(mktemp -d "$cache/run.XXXXXX")
cleanup() {
  if $keep; then echo "kept: $root"; else rm -rf --one-file-system "$root"; fi
}
trap cleanup EXIT
cp -a "$base/." "$root/"

# How this machine reaches its registries: copied, so that no address stands in the repository.
rm -f "$root/etc/apt/sources.list"
for item in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/auth.conf.d \
            /etc/apt/keyrings /usr/share/keyrings /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/uv; do
  [ -e "$item" ] || continue
  mkdir -p "$root$(dirname "$item")"
  cp -aLT "$item" "$root$item"
done
passed=()
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/opt/host-certificates.pem"
  [ ! -f "$root/etc/pip.conf" ] || sed -i 's#/etc/ssl/certs/ca-certificates.crt#/opt/host-certificates.pem#' "$root/etc/pip.conf"
  for variable in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE; do
    passed+=("$variable=/opt/host-certificates.pem")
  done
fi
for variable in ${!PIP_INDEX@} ${!PIP_EXTRA@} ${!PIP_TRUSTED@} ${!PIP_DEFAULT@} ${!UV_@} ${!http@} ${!https@} \
                ${!HTTP_P@} ${!HTTPS_P@} ${!no_proxy@} ${!NO_PROXY@} ${!MIZZEN_FUZZ@} \
                ${!GOPROXY@} ${!GOSUMDB@} ${!GONOSUMDB@}; do
  passed+=("$variable=${!variable}")
done

git -c safe.directory='*' clone --quiet --no-hardlinks "$here" "$root/root/mizzen"

# A mount and a process namespace of its own: nothing stays mounted or running, however this ends.
started=$(date +%s)
status=0
unshare --mount --pid --fork --kill-child --propagation private bash -c '
  root=$1; shift
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t tmpfs tmpfs "$root/run"
  cgroup=/sys/fs/cgroup
  mount --rbind -o ro "$cgroup" "$root$cgroup" 2>/dev/null || true
  exec chroot "$root" "$@"
' bash "$root" /usr/bin/env -i \
  HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  ${CI:+CI="$CI"} ${passed[@]+"${passed[@]}"} \
  /bin/bash -c 'cd /root/mizzen && exec "$@"' bash "$@" </dev/null || status=$?
ended=$(date +%s)
echo "bare Debian: '$*' ended with status $status after $((ended - started)) s"
exit "$status"
