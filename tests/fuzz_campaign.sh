#!/usr/bin/env bash
# Fuzzes for long: each target runs for SECONDS_PER_TARGET (default 3600), one after the other, with as
# many processes as MIZZEN_JOBS or the memory allows.
#   tests/fuzz_campaign.sh [SECONDS_PER_TARGET] [TARGET...]
# The targets are the programs of build/fuzz (default: all that are built):
#   cmake --preset fuzz && cmake --build build/fuzz
# What they find is kept under ~/.cache/mizzen/fuzz/TARGET (MIZZEN_CACHE names another place):
#   corpus/   every input that reached something new, of all campaigns; begins with the checked-in seeds
#   crashes/  inputs that crashed, hung or took too much memory, and the shortest of them minimized: NAME.min
#   log       what the last run printed
# Ends with a table: runs, edges covered, inputs in corpus/ before and now, new crashes. Exit status 1 if a target has crashed; a crash becomes a test and a seed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
seconds=3600
if [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  seconds=$1
  shift
fi
cache=${MIZZEN_CACHE:-$HOME/.cache/mizzen}/fuzz
jobs=$(tools/build-jobs.sh)

declare -A programs=()
while read -r program; do
  programs[$(basename "$program")]=$PWD/$program
done < <(find build/fuzz/tests -maxdepth 2 -type f -name '*_fuzz' -perm -u+x 2>/dev/null)
if [ ${#programs[@]} -eq 0 ]; then
  echo "tests/fuzz_campaign.sh: no target is built: cmake --preset fuzz && cmake --build build/fuzz" >&2
  exit 2
fi
targets=("$@")
if [ $# -eq 0 ]; then
  mapfile -t targets < <(printf '%s\n' "${!programs[@]}" | sort)
fi
for target in "${targets[@]}"; do
  [ -n "${programs[$target]:-}" ] && continue
  printf 'tests/fuzz_campaign.sh: no target %s is built; there are: %s\n' "$target" "${!programs[*]}" >&2
  exit 2
done

count() { find "$1" -type f "${@:2}" | wc -l; }
largest() { # PATTERN LOG: the largest of the numbers after it
  { grep -o "$1 *[0-9]*" "$2" || true; } | awk '{ if ($NF > most) most = $NF } END { print most + 0 }'
}

# A crash that a shorter input shows as well is easier to read. Many crashes are one fault: the three
# shortest will do, at a minute or so each.
minimize() { # PROGRAM FOLDER
  local input
  while read -r input; do
    if [ -e "$input.min" ]; then continue; fi
    "$1" -minimize_crash=1 -max_total_time=30 -rss_limit_mb=2048 -timeout=20 \
      -exact_artifact_path="$input.min" "$input" >/dev/null 2>&1 </dev/null || true
  done < <(find "$2" -type f ! -name '*.min' -printf '%s %p\n' | sort -n | head -n 3 | cut -d' ' -f2-)
}

crashed=0
rows=()
for target in "${targets[@]}"; do
  program=${programs[$target]}
  home=$cache/$target
  log=$home/log
  mkdir -p "$home/corpus" "$home/crashes"
  seeds=tests/$(basename "$(dirname "$program")")/corpus/$target
  if [ -d "$seeds" ]; then cp -n "$seeds"/* "$home/corpus/"; fi
  before=$(count "$home/corpus")
  had=$(count "$home/crashes" ! -name '*.min')
  echo "==> $target: $seconds s, $jobs processes, $before inputs"
  # A crash ends one process; the others, and those that replace it, go on.
  "$program" -fork="$jobs" -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 \
    -artifact_prefix="$home/crashes/" "$home/corpus" >"$log" 2>&1 || true
  minimize "$program" "$home/crashes"
  crashes=$(($(count "$home/crashes" ! -name '*.min') - had))
  [ "$crashes" -eq 0 ] || crashed=1
  runs=$(awk '/^#[0-9]+:/ { split(substr($1, 2), n, ":"); most = n[1] > most ? n[1] : most } END { print most + 0 }' "$log")
  rows+=("$target $runs $(largest 'cov:' "$log") $before $(count "$home/corpus") $crashes")
done

echo
for row in "target runs coverage before now crashes" "${rows[@]}"; do
  read -r -a cells <<<"$row"
  printf '%-34s %12s %9s %8s %8s %8s\n' "${cells[@]}"
done
[ $crashed -eq 0 ] || printf '\nnew crashes: %s/*/crashes\n' "$cache"
exit $crashed
