#!/usr/bin/env bash
# Builds Mizzen with its CUDA plug-in, tests it on the GPU, and measures it against torch. For a machine with
# an NVIDIA GPU, CUDA 13, cuDNN, cmake and a python3 with torch; needs no network, no Boost and no root.
#   benchmarks/gpu/run.sh                everything
#   benchmarks/gpu/run.sh build|test|sanitize|measure [ARGUMENTS of measure.py]
#   benchmarks/gpu/run.sh --dry          what can be done without a GPU: builds, loads the plug-in, prints why it refuses
# Where nlohmann/json or GoogleTest are missing: run benchmarks/gpu/carry.sh on a machine that has them, and
# bring build/gpu-carry along.
# Environment: MIZZEN_CUDA_ROOT (headers; then CUDA_HOME, /usr/local/cuda and the wheels of this python3),
# MIZZEN_GPU_OUT (results; default build/gpu-results), MIZZEN_JOBS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${MIZZEN_GPU_OUT:-build/gpu-results}
jobs=${MIZZEN_JOBS:-$(nproc)}
build=build/gpu
carried=$PWD/build/gpu-carry
mkdir -p "$out"

step() { printf '\n==> %s (%s s)\n' "$1" "$SECONDS"; }

wheels() { # the folder of the CUDA wheels that torch brought, if any
  python3 -c 'import pathlib, sysconfig; p = pathlib.Path(sysconfig.get_path("purelib"), "nvidia"); print(p if p.is_dir() else "")' 2>/dev/null || true
}

build() {
  step "build, $jobs jobs"
  local root roots=()
  for root in "${MIZZEN_CUDA_ROOT:-}" "${CUDA_HOME:-}" /usr/local/cuda "$(wheels)"; do
    [ -z "$root" ] || [ ! -d "$root" ] || roots+=("$root")
  done
  local prefix=$PWD/build/gpu-prefix
  if [ -d "$carried/googletest" ] && [ ! -d "$prefix" ]; then
    cmake -S "$carried/googletest" -B build/gpu-googletest -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" >"$out/googletest.log"
    cmake --build build/gpu-googletest -j "$jobs" --target install >>"$out/googletest.log"
  fi
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$carried;$prefix" \
    -DMIZZEN_CUDA=ON -DMIZZEN_CUDA_ROOT="$(IFS=';'; echo "${roots[*]}")" -DMIZZEN_TESTS=ON -DMIZZEN_BENCHMARKS=OFF -DMIZZEN_GPU_BENCHMARK=ON -DMIZZEN_EXAMPLES=OFF -DMIZZEN_INSTALL=OFF \
    -DMIZZEN_INFERENCE_BUNDLE=OFF -DMIZZEN_HTTP=OFF -DMIZZEN_KUBERNETES=OFF -DMIZZEN_TRACKING=OFF -DMIZZEN_PIPELINES=OFF -DMIZZEN_SERVING=OFF \
    >"$out/configure.log" || { tail -20 "$out/configure.log" >&2; exit 1; }
  cmake --build "$build" -j "$jobs" --target mizzen_cuda mizzen_cuda_emulated mizzen_cuda_tests mizzen_gpu_run
}

use_plugin() {
  export MIZZEN_CUDA_PLUGIN=$PWD/$build/src/inference/libmizzen_cuda.so
  local nvidia
  nvidia=$(wheels)
  if [ -n "$nvidia" ]; then
    export MIZZEN_CUDA_LIBRARY_PATH="$nvidia/cu13/lib:$nvidia/cudnn/lib${MIZZEN_CUDA_LIBRARY_PATH:+:$MIZZEN_CUDA_LIBRARY_PATH}"
  fi
}

run_tests() {
  step "operators: the GPU against the processor"
  use_plugin
  "$build/tests/cuda/mizzen_cuda_tests" 2>&1 | tee "$out/operators.log"
}

sanitize() {
  step "compute-sanitizer on a short set"
  use_plugin
  local tool
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/cuda/mizzen_cuda_tests" \
      --gtest_filter='cuda_elementwise.chains*:cuda_data.*:cuda_rows.instance*:cuda_products.gemm*:cuda_windows.pooling' \
      2>&1 | tee "$out/sanitizer-$tool.log"
  done
}

measure() {
  step "measurements"
  use_plugin
  python3 benchmarks/gpu/measure.py "$build/benchmarks/gpu/mizzen_gpu_run" "$out" "$@"
}

case ${1:-all} in
  all) build; run_tests; sanitize; measure ;;
  build) build ;;
  test) run_tests ;;
  sanitize) sanitize ;;
  measure) shift; measure "$@" ;;
  --dry)
    build
    use_plugin
    "$build/benchmarks/gpu/mizzen_gpu_run" devices
    python3 benchmarks/gpu/measure.py --dry "$build/benchmarks/gpu/mizzen_gpu_run" "$out"
    ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
step "done"
