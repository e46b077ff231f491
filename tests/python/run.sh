#!/usr/bin/env bash
# The Python package's tests, in the environment tests/requirements/python.txt.
#   tests/python/run.sh install SITE [pip option ...]   pip installs the package into the folder SITE
#   tests/python/run.sh test SITE FILE                  runs a test file with that package
# Exit status 77: the environment cannot be made, or every test was skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mode=$1 site=$2
shift 2
python=$("$here/../venv.sh" python) || {
  echo "SKIPPED: the Python environment 'python' could not be made (see above)"
  exit 77
}
case $mode in
  install)
    rm -rf "$site"
    exec "$python" -m pip install --disable-pip-version-check --no-deps --target "$site" "$@" "$here/../.."
    ;;
  test)
    [ -d "$site/mizzen" ] || { echo "SKIPPED: the Python package was not installed"; exit 77; }
    PYTHONPATH=$site PYTHONDONTWRITEBYTECODE=1 exec "$python" -m pytest -c "$here/../../pyproject.toml" "$@"
    ;;
esac
