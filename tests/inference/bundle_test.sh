#!/usr/bin/env bash
# libmizzen-inference.so: small, showing nothing but the API, and enough for a program.
#   bundle_test.sh LIBRARY PROGRAM
set -euo pipefail
library=$1 program=$2
most=10000000

"$program"

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$library"
size=$(stat -c %s "$stripped")
echo "$size bytes stripped, at most $most"
((size < most))

shown=$(nm -DC --defined-only "$library" | cut -c20- | grep -v ' MIZZEN\|^A ' || true)
if grep -q 'detail::' <<<"$(sed 's/(.*//' <<<"$shown")"; then
  echo "it shows what is its own:"
  sed 's/(.*//' <<<"$shown" | grep 'detail::' | head
  exit 1
fi
if grep -v 'mizzen::' <<<"$shown"; then
  echo "it shows what is not Mizzen's (above)"
  exit 1
fi
