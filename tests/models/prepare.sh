#!/usr/bin/env bash
# Prints the folder of the real models, making it first where needed (see models.py). It lives under
# ~/.cache/mizzen/models, named by what it is made from. Safe to call from several processes at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MIZZEN_CACHE:-$HOME/.cache/mizzen}
mkdir -p "$cache/models"
hash=$(cat "$here/models.py" "$here/../requirements/onnx.txt" | sha256sum | cut -c1-12)
folder="$cache/models/$hash"
exec 9>"$cache/models/.lock"
flock 9
if [ ! -e "$folder/.complete" ]; then
  python=$("$here/../venv.sh" onnx)
  rm -rf "$folder"
  MIZZEN_PIP="$cache/venv/uv/bin/pip" "$python" "$here/models.py" "$folder" >&2
fi
echo "$folder"
