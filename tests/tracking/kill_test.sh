#!/usr/bin/env bash
# Kills a program that logs metrics, at random points, and checks the store after each kill: it
# opens, is whole, has every acknowledged point once, and the run is RUNNING.
#   kill_test.sh STORE_PROGRAM [ROUNDS]
# All rounds go into one store, so that each starts from what a kill left behind.
set -euo pipefail
program=${1:?usage: kill_test.sh STORE_PROGRAM [ROUNDS]}
rounds=${2:-10}
folder=$(mktemp -d)
trainer=
cleanup() {
  [ -z "$trainer" ] || kill -KILL "$trainer" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
db="$folder/mlflow.db"
points=0
for ((round = 1; round <= rounds; ++round)); do
  log="$folder/$round.log"
  "$program" train "$db" "$log" &
  trainer=$!
  # Every fifth kill may come before or while the store opens, the others once points flow.
  if ((round % 5 != 0)); then
    waited=0
    until [ -s "$log" ] && [ "$(wc -l <"$log")" -gt 2 ]; do
      sleep 0.01
      if ((++waited > 6000)); then
        echo "round $round: nothing was logged within a minute" >&2
        exit 1
      fi
    done
  fi
  sleep "0.$(printf '%03d' $((RANDOM % 300)))"
  kill -KILL "$trainer"
  # Ended by the kill (128 + 9), not by itself.
  status=0
  wait "$trainer" 2>/dev/null || status=$?
  trainer=
  if ((status != 137)); then
    echo "round $round: the trainer ended by itself with status $status" >&2
    exit 1
  fi
  touch "$log"
  if [ -s "$log" ]; then
    "$program" verify "$db" "$log" >"$folder/verdict" || { echo "round $round: failed" >&2; exit 1; }
    points=$((points + $(wc -l <"$log")))
  fi
done
# Once more over all of them: a later kill must not undo what an earlier round was promised.
cat "$folder"/*.log >"$folder/all" && grep -q metric "$folder/all"
for log in "$folder"/*.log; do
  if [ -s "$log" ]; then "$program" verify "$db" "$log" >/dev/null; fi
done
echo "$rounds kills, about $points acknowledged points, none lost, none doubled"
