#!/usr/bin/env bash
# Installs what is missing, builds and installs Mizzen, builds the quickstart against the installed
# package, and runs it: examples/quickstart/run.sh [--keep] [--epochs=N] [--root=DIR] …
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
prefix="$source/build/quickstart/prefix"

"$source/tools/install-deps.sh" build
log="$source/build/quickstart/build.log"
mkdir -p "$(dirname "$log")"
jobs=$("$source/tools/build-jobs.sh")

trap 'tail -n 40 "$log"' ERR
echo "building Mizzen (details: build/quickstart/build.log) …"
{
  cmake -S "$source" -B "$source/build/quickstart/mizzen" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DMIZZEN_TESTS=OFF -DMIZZEN_EXAMPLES=OFF -DCMAKE_INSTALL_PREFIX="$prefix"
  cmake --build "$source/build/quickstart/mizzen" -j "$jobs"
  cmake --install "$source/build/quickstart/mizzen"
} >"$log" 2>&1
echo "building the quickstart against it …"
{
  cmake -S "$here" -B "$source/build/quickstart/digits" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_PREFIX_PATH="$prefix"
  cmake --build "$source/build/quickstart/digits" -j "$jobs"
} >>"$log" 2>&1

exec "$source/build/quickstart/digits/digits" "$@"
