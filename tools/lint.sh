#!/usr/bin/env bash
# The checks that need no build, or a configured one (tidy).
#   tools/lint.sh            format and size
#   tools/lint.sh format     tracked C++ files are as clang-format-19 makes them (--fix: make them so)
#   tools/lint.sh size       warns of tracked sources above 600 lines
#   tools/lint.sh tidy [build folder] [path regex]   clang-tidy-19 over src/; slow (default: build/dev src/)
# Exit status: 1 for a finding, 77 where the tool is not installed (tools/install-deps.sh lint).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tracked() { git -c safe.directory='*' ls-files -z -- "$@"; }

need() {
  command -v "$1" >/dev/null || {
    echo "SKIPPED: $1 is not installed (tools/install-deps.sh lint)"
    exit 77
  }
}

format() {
  need clang-format-19
  if [ "${1:-}" = --fix ]; then
    tracked '*.cpp' '*.hpp' '*.h' '*.cu' | xargs -0 -r clang-format-19 -i
  else
    tracked '*.cpp' '*.hpp' '*.h' '*.cu' | xargs -0 -r clang-format-19 --dry-run -Werror ||
      { echo "tools/lint.sh format --fix puts it right" >&2; exit 1; }
  fi
}

size() {
  local file lines
  while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    lines=$(wc -l <"$file")
    [ "$lines" -le 600 ] || echo "warning: $file has $lines lines: split it along an idea"
  done < <(tracked '*.cpp' '*.hpp' '*.py' '*.sh' '*.cmake' '*CMakeLists.txt')
}

tidy() {
  need run-clang-tidy-19
  local build=${1:-build/dev} path=${2:-/src/}
  [ -f "$build/compile_commands.json" ] || { echo "tools/lint.sh tidy: configure first: cmake --preset dev" >&2; exit 2; }
  # The compile commands are GCC's.
  run-clang-tidy-19 -quiet -extra-arg=-Wno-unknown-warning-option -p "$build" -j "$(nproc)" "$PWD.*$path"
}

command=${1:-all}
shift || true
case $command in
  all) size; format ;;
  format | size | tidy) "$command" "$@" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
