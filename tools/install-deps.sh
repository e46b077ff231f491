#!/usr/bin/env bash
# Installs the Debian 12 packages that Mizzen needs and this machine lacks. Needs root or sudo only
# when something is missing.
#   tools/install-deps.sh [build|test|lint]...     default: build
#     build  compile the library, the examples and the benchmarks of the core
#     test   build, and what tests/run.sh uses besides (GoogleTest, Python, clang for the fuzz targets)
#     lint   build, and clang-format and clang-tidy
#   tools/install-deps.sh --list [group]...        print the packages, install nothing
set -euo pipefail

build=(g++ cmake ninja-build ccache mold git ca-certificates
       libboost1.81-dev libboost-url1.81-dev libssl-dev zlib1g-dev libsqlite3-dev nlohmann-json3-dev libyaml-cpp-dev)
test=(libgtest-dev libgmock-dev libbenchmark-dev libspdlog-dev sqlite3
      python3 python3-dev python3-venv python3-pip
      clang-19 libclang-rt-19-dev clang-format-19
      openssl curl containerd runc busybox-static iproute2)
# Any Go will do, as it gets the one that is needed by itself (tests/cluster/toolchain.sh).
command -v go >/dev/null || test+=(golang-go)
lint=(clang-19 clang-format-19 clang-tidy-19 python3)

list=false
packages=("${build[@]}")
for argument in "$@"; do
  case $argument in
    --list) list=true ;;
    build) ;;
    test) packages+=("${test[@]}") ;;
    lint) packages+=("${lint[@]}") ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
if $list; then
  printf '%s\n' "${packages[@]}" | sort -u
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "tools/install-deps.sh: this is no Debian; install the equivalents of:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in $(printf '%s\n' "${packages[@]}" | sort -u); do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
echo "installing: ${missing[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "tools/install-deps.sh: neither root nor sudo; run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
# sudo drops the environment, so that env stands behind it.
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q
     -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)

install() {
  "${apt[@]}" update </dev/null &&
    "${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null
}
# Mirrors fail for a moment now and then; once more, then the error is real.
install || { echo "the package installation failed; once more in 10 s" >&2; sleep 10; install; }
