#!/usr/bin/env bash
# Prints a folder of test models, making it first where needed:
#   prepare.sh models      real models (models.py)
#   prepare.sh zoo         more real models, of other kinds (zoo.py)
#   prepare.sh quantised   some of them in small integers or half-width floats (quantised.py)
#   prepare.sh standard    standard networks with seeded weights, for benchmarks (standard.py)
#   prepare.sh standard_int8   some of those, statically quantised (standard_int8.py)
#   prepare.sh standard_fp16   some of those in float16 (standard_fp16.py)
#   prepare.sh nodes       the onnx package's own tests of each operator (node_cases.py)
#   prepare.sh microsoft   operators of com.microsoft, answered by ONNX Runtime (microsoft_cases.py)
# It lives under ~/.cache/mizzen/models, named by what it is made from. Safe to call from several
# processes at once.
set -euo pipefail
kind=${1:?usage: prepare.sh models|zoo|standard|standard_int8|standard_fp16|nodes|microsoft|quantised}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $kind in
  models) script=models.py ;;
  zoo) script=zoo.py ;;
  quantised) script=quantised.py ;;
  standard) script=standard.py ;;
  standard_int8) script=standard_int8.py ;;
  standard_fp16) script=standard_fp16.py ;;
  nodes) script=node_cases.py ;;
  microsoft) script=microsoft_cases.py ;;
  *) echo "prepare.sh: no such kind: $kind" >&2; exit 2 ;;
esac
cache=${MIZZEN_CACHE:-$HOME/.cache/mizzen}
mkdir -p "$cache/models"
sources=("$here/$script")
case $kind in zoo | standard* | quantised) sources+=("$here/models.py") ;; esac
case $kind in standard_fp16 | quantised) sources+=("$here/halves.py") ;; esac
case $kind in zoo | standard_int8) sources+=("$here/standard.py") ;; esac
[ "$kind" != standard_int8 ] || sources+=("$here/zoo.py")
arguments=()
[ "$kind" != quantised ] || arguments=("$("$here/prepare.sh" models)")
case $kind in standard_int8 | standard_fp16) arguments=("$("$here/prepare.sh" standard)") ;; esac
hash=$(cat "${sources[@]}" "$here/../requirements/onnx.txt" | sha256sum | cut -c1-12)
folder="$cache/models/$kind-$hash"
exec 9>"$cache/models/.$kind.lock"
flock 9
if [ ! -e "$folder/.complete" ]; then
  python=$("$here/../venv.sh" onnx)
  rm -rf "$folder"
  MIZZEN_PIP="$cache/venv/uv/bin/pip" "$python" "$here/$script" "$folder" "${arguments[@]}" >&2
fi
echo "$folder"
