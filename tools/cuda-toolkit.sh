#!/usr/bin/env bash
# Prints the folder of a CUDA toolkit for -DMIZZEN_CUDA_ROOT, made of the wheels that
# tests/requirements/cuda.txt pins (700 MB, no GPU and no driver needed); the first call installs it into
# the cache, named by the hash of that file.
#   cmake --preset dev -DMIZZEN_CUDA=ON -DMIZZEN_CUDA_ROOT="$(tools/cuda-toolkit.sh)"
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$("$here/tests/venv.sh" cuda)
root=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
[ -f "$root/cu13/include/cuda.h" ] || { echo "tools/cuda-toolkit.sh: no CUDA headers in $root" >&2; exit 1; }
echo "$root"
