#!/usr/bin/env bash
# Measures Mizzen against its peers and refills the tables of benchmarks/README.md.
#   benchmarks/run.sh [AREA]...      default: every area that has a script
# An area is an executable benchmarks/*/AREA.compare.py. It is called with the release build folder
# and the file to write, a JSON list of records as benchmarks/record.py makes them; it runs the peer and
# Mizzen interleaved, on the same work and thread count. `# venv: NAME` in its first lines names the
# environment tests/requirements/NAME.txt that it runs in. Results: benchmarks/results/AREA.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export MIZZEN_CACHE=${MIZZEN_CACHE:-$HOME/.cache/mizzen}

scripts=()
for script in benchmarks/*/*.compare.py; do
  [ -e "$script" ] || continue
  area=$(basename "$script" .compare.py)
  if [ $# -eq 0 ] || [[ " $* " == *" $area "* ]]; then scripts+=("$script"); fi
done
[ ${#scripts[@]} -gt 0 ] || { echo "benchmarks/run.sh: no such area: $*" >&2; exit 2; }

tools/install-deps.sh test
cmake --preset release
cmake --build build/release -j "${MIZZEN_JOBS:-$(nproc)}"
# The Python package, for the peers that live in Python: both sides then pay for Python alike.
site=$PWD/build/release-site
rm -rf "$site"
"$(tests/venv.sh python)" -m pip install --quiet --disable-pip-version-check --no-deps --target "$site" .

mkdir -p benchmarks/results
status=0
for script in "${scripts[@]}"; do
  area=$(basename "$script" .compare.py)
  printf '\n==> %s\n' "$area"
  venv=$(sed -n '1,15s/^# venv: *//p' "$script")
  python=python3
  [ -z "$venv" ] || python=$(tests/venv.sh "$venv")
  written=$(mktemp)
  # A failed measurement leaves the old results; it never makes new ones.
  if PYTHONPATH=$site:$PWD/benchmarks "$python" "$script" build/release "$written"; then
    python3 benchmarks/tables.py check "$written"
    mv "$written" "benchmarks/results/$area.json"
    chmod 644 "benchmarks/results/$area.json"
  else
    echo "benchmarks/run.sh: $area failed, its results are unchanged" >&2
    rm -f "$written"
    status=1
  fi
done
python3 benchmarks/tables.py write benchmarks/README.md benchmarks/results
exit $status
