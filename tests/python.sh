#!/usr/bin/env bash
# Runs a Python test in one of the test environments: tests/python.sh VENV SCRIPT [ARG ...]
# Exit status 77 (ctest: skipped) with the reason when the environment cannot be made.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${1:?usage: tests/python.sh VENV SCRIPT [ARG ...]}
shift
python=$("$here/venv.sh" "$venv") || {
  echo "SKIPPED: the Python environment '$venv' could not be made (see above)"
  exit 77
}
exec "$python" "$@"
