#!/usr/bin/env bash
# Prints the Python interpreter of a test environment, making the environment first where needed:
#   python=$(tests/venv.sh onnx)      from tests/requirements/onnx.txt
# It lives under ~/.cache/mizzen/venv, named by the hash of its requirements, so that a change of a
# pin makes a new one. Safe to call from several processes at once.
set -euo pipefail
name=${1:?usage: tests/venv.sh NAME}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements="$here/requirements/$name.txt"
[ -f "$requirements" ] || { echo "tests/venv.sh: no $requirements" >&2; exit 2; }
cache=${MIZZEN_CACHE:-$HOME/.cache/mizzen}
base=${MIZZEN_PYTHON:-/usr/bin/python3}
mkdir -p "$cache/venv"
hash=$({ cat "$requirements"; "$base" --version; } | sha256sum | cut -c1-12)
venv="$cache/venv/$name-$hash"
exec 9>"$cache/venv/.lock"
flock 9
if [ ! -e "$venv/.complete" ]; then
  uv="$cache/venv/uv"
  [ -x "$uv/bin/uv" ] || {
    "$base" -m venv "$uv" >&2
    "$uv/bin/pip" install --quiet --disable-pip-version-check uv >&2
  }
  rm -rf "$venv"
  "$uv/bin/uv" venv --quiet --python "$base" "$venv" >&2
  "$uv/bin/uv" pip install --quiet --python "$venv/bin/python" -r "$requirements" >&2
  touch "$venv/.complete"
fi
echo "$venv/bin/python"
