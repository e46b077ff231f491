#!/usr/bin/env bash
# Prints the folder of a `go` that can build go.mod, getting one first where needed:
#   PATH=$(tests/cluster/toolchain.sh):$PATH
# Debian 12 has Go 1.19, which knows nothing of toolchains. But each Go release is a module too
# (golang.org/toolchain), which any Go can download. It lives under ~/.cache/mizzen.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
want=$(awk '$1 == "go" { print $2 }' "$here/go.mod")
command -v go >/dev/null || { echo "no Go here: tools/install-deps.sh test" >&2; exit 1; }
have=$(cd / && GOTOOLCHAIN=local go env GOVERSION)
if printf '%s\n' "$want" "${have#go}" | sort -C -V; then
  dirname "$(command -v go)"
  exit
fi

case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "no Go toolchain is known for $(uname -m)" >&2; exit 1 ;;
esac
root="${MIZZEN_CACHE:-$HOME/.cache/mizzen}/go-$want"
if [ ! -x "$root/bin/go" ]; then
  mkdir -p "$(dirname "$root")"
  scratch=$(mktemp -d "$root.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  printf 'module scratch\n' >"$scratch/go.mod"
  folder=$(cd "$scratch" && go mod download -json "golang.org/toolchain@v0.0.1-go$want.linux-$architecture" |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  [ -d "$folder" ] || { echo "the Go toolchain $want could not be downloaded" >&2; exit 1; }
  # In the module cache it is read-only, and nothing in it is executable.
  cp -r --no-preserve=mode "$folder" "$scratch/go"
  chmod a+x "$scratch"/go/bin/* "$scratch"/go/pkg/tool/*/*
  # Another process may have been faster; then its copy is as good.
  mv -T "$scratch/go" "$root" 2>/dev/null || [ -x "$root/bin/go" ]
fi
echo "$root/bin"
