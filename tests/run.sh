#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test that this machine can run.
#   tests/run.sh                  everything: unit and integration tests, real counterparts, package, Python, fuzz targets
#   tests/run.sh quick            the inner loop: unit tests only
#   tests/run.sh --preset NAME    under another preset: dev (default), asan-ubsan, tsan, coverage
#   tests/run.sh --with-cuda      the CUDA plug-in too, built from pinned wheels (1.3 GB in the cache; needs no GPU)
#   tests/run.sh --no-install     do not install packages
# Ends with what was skipped and why, then with ctest's own closing lines; the exit status is ctest's.
# Environment: MIZZEN_CACHE (default ~/.cache/mizzen), MIZZEN_JOBS, MIZZEN_FUZZ_SECONDS (per target, default 15).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=false
install=true
preset=dev
cuda=()
while [ $# -gt 0 ]; do
  case $1 in
    quick) quick=true ;;
    --preset) preset=${2:?"--preset needs a name"}; shift ;;
    --preset=*) preset=${1#--preset=} ;;
    --no-install) install=false ;;
    --with-cuda) cuda=(-DMIZZEN_CUDA=ON) ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done
case $preset in
  dev | asan-ubsan | tsan | coverage) ;;
  *) echo "tests/run.sh: no test preset '$preset'; there are dev, asan-ubsan, tsan, coverage" >&2; exit 2 ;;
esac

# CI may start this without a home.
if [ -z "${HOME:-}" ] || [ ! -w "$HOME" ]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  [ -w "${HOME:-/nonexistent}" ] || HOME="$PWD/.cache/home"
  mkdir -p "$HOME"
  export HOME
fi
export MIZZEN_CACHE=${MIZZEN_CACHE:-$HOME/.cache/mizzen}
mkdir -p "$MIZZEN_CACHE"
# Paths relative to the clone: another clone on the same machine finds the objects too.
export CCACHE_DIR=${CCACHE_DIR:-$MIZZEN_CACHE/ccache} CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
export CCACHE_COMPILERCHECK=content CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}
export CTEST_OUTPUT_ON_FAILURE=1
# Tests bring their own configuration; the caller's must not leak into them.
unset MLFLOW_TRACKING_URI MLFLOW_REGISTRY_URI MLFLOW_EXPERIMENT_NAME MLFLOW_EXPERIMENT_ID MLFLOW_RUN_ID
unset KUBECONFIG KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT

step() { printf '\n==> %s (%s s)\n' "$1" "$SECONDS"; }

if $install; then
  step "packages"
  tools/install-deps.sh test
fi

jobs=$(tools/build-jobs.sh)

# ThreadSanitizer needs the classic address layout, which newer kernels no longer give under ASLR.
# The build runs the test programs too (to list their tests), so all of it goes through this.
layout=()
if [ "$preset" = tsan ]; then
  if setarch -R true 2>/dev/null; then
    layout=(setarch -R)
  else
    echo "note: address randomisation cannot be switched off here (setarch -R): ThreadSanitizer may refuse to start"
  fi
  export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/tsan_suppressions.txt}
fi
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

build() {
  local name=$1
  shift
  step "build: preset $name, $jobs jobs"
  # Afresh: an option that somebody has set in this build folder would leave tests out unseen.
  cmake --fresh --preset "$name" "$@" -Wno-dev
  "${layout[@]}" cmake --build "build/$name" -j "$jobs"
}

# One directory above the build trees that make up this run, so that a single ctest closes it.
suite="build/$preset-suite"
mkdir -p "$suite"
if [ ${#cuda[@]} -ne 0 ]; then
  step "CUDA headers and NVRTC, from wheels"
  cuda+=("-DMIZZEN_CUDA_ROOT=$(tools/cuda-toolkit.sh)")
fi
build "$preset" "${cuda[@]}"
echo "subdirs(\"$PWD/build/$preset\")" >"$suite/CTestTestfile.cmake"
select=()
if $quick; then
  select=(-L '^(unit|cuda|gpu)$')
elif [ "$preset" = dev ]; then
  build fuzz -DMIZZEN_FUZZ_SECONDS="${MIZZEN_FUZZ_SECONDS:-15}"
  echo "subdirs(\"$PWD/build/fuzz\")" >>"$suite/CTestTestfile.cmake"
fi

if ! $quick; then
  # Alone, as it takes all there is of the machine when nothing is cached.
  step "Kubernetes control plane for the cluster tests (9 minutes unless it is cached)"
  tests/cluster/build.sh ||
    printf '\n*** The Kubernetes control plane could not be built (see above): the cluster tests are skipped. ***\n'
fi

step "tests"
# The closing lines are held back until the summary of what was skipped is out.
status=0
"${layout[@]}" ctest --test-dir "$suite" "${select[@]}" -j "$jobs" --no-tests=error --timeout 900 \
    --output-junit "$PWD/$suite/results.xml" </dev/null |
  python3 -u tests/skipped.py "$suite/results.xml" || status=$?
exit "$status"
