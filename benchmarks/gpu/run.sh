#!/usr/bin/env bash
# Builds Mizzen with its CUDA plug-in, tests it on the GPU, and measures it against torch. For a machine with an NVIDIA GPU,
# CUDA 13, cuDNN, cmake and a python3 with torch, torchvision, onnx, onnxscript and onnxruntime; needs no network, no Boost, no root.
#   benchmarks/gpu/run.sh            everything
#   benchmarks/gpu/run.sh build      2 minutes on 16 cores
#   benchmarks/gpu/run.sh test       operators on the GPU against the processor and ONNX Runtime
#   benchmarks/gpu/run.sh sanitize   compute-sanitizer on a short set of them
#   benchmarks/gpu/run.sh measure [ARGUMENTS of measure.py]     e.g. measure --only resnet50; measure --missing; measure --table
#   benchmarks/gpu/run.sh --dry      what can be done without a GPU: builds, loads the plug-in, which says why it refuses, and
#                                    tries the tests and measurements small, on the emulated GPU of the tests
# No piece but `build` takes longer than 10 minutes: what is left then is left out, and said. Each may be run again, and ends
# with a short table. One piece that fails does not keep the others from running; the exit status tells.
# Where nlohmann/json or GoogleTest are missing, and for PP-OCRv4: run benchmarks/gpu/carry.sh on a machine that has a network,
# and bring build/gpu-carry along.
# Environment: MIZZEN_CUDA_ROOT (headers; then CUDA_HOME, /usr/local/cuda and the wheels of this python3),
# MIZZEN_GPU_OUT (tables and logs, 8 files; default build/gpu-results), MIZZEN_JOBS, MIZZEN_GPU_PYTHON (default python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${MIZZEN_GPU_OUT:-build/gpu-results}
jobs=${MIZZEN_JOBS:-$(nproc)}
python=${MIZZEN_GPU_PYTHON:-python3}
build=build/gpu
carried=$PWD/build/gpu-carry
mkdir -p "$out"
failed=()

step() { printf '\n==> %s (%s s)\n' "$1" "$SECONDS"; }

wheels() { # the folder of the CUDA wheels that torch brought, if any
  "$python" -c 'import pathlib, sysconfig; p = pathlib.Path(sysconfig.get_path("purelib"), "nvidia"); print(p if p.is_dir() else "")' 2>/dev/null || true
}

build() {
  step "build, $jobs jobs"
  local root roots=() log=$out/build.log
  for root in "${MIZZEN_CUDA_ROOT:-}" "${CUDA_HOME:-}" /usr/local/cuda "$(wheels)"; do
    [ -z "$root" ] || [ ! -d "$root" ] || roots+=("$root")
  done
  : >"$log"
  local prefix=$PWD/build/gpu-prefix
  if [ -d "$carried/googletest" ] && [ ! -d "$prefix/lib/cmake/GTest" ]; then
    cmake -S "$carried/googletest" -B build/gpu-googletest -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
      -DCMAKE_INSTALL_LIBDIR=lib -Wno-dev >>"$log" 2>&1 && cmake --build build/gpu-googletest -j "$jobs" --target install >>"$log" 2>&1 ||
      { tail -20 "$log" >&2; return 1; }
  fi
  local generator=()
  ! command -v ninja >/dev/null || [ -f "$build/Makefile" ] || generator=(-G Ninja)
  cmake -S . -B "$build" "${generator[@]}" -Wno-dev -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$carried;$prefix" \
    -DMIZZEN_CUDA=ON -DMIZZEN_CUDA_ROOT="$(IFS=';'; echo "${roots[*]}")" -DMIZZEN_TESTS=ON -DMIZZEN_BENCHMARKS=OFF \
    -DMIZZEN_GPU_BENCHMARK=ON -DMIZZEN_EXAMPLES=OFF -DMIZZEN_INSTALL=OFF -DMIZZEN_INFERENCE_BUNDLE=OFF -DMIZZEN_HTTP=OFF \
    -DMIZZEN_KUBERNETES=OFF -DMIZZEN_TRACKING=OFF -DMIZZEN_PIPELINES=OFF -DMIZZEN_SERVING=OFF >>"$log" 2>&1 &&
    cmake --build "$build" -j "$jobs" --target mizzen_cuda mizzen_cuda_emulated mizzen_cuda_tests mizzen_cuda_cases \
      mizzen_gpu_run mizzen_gpu_rounds >>"$log" 2>&1 || { grep -A5 -E 'error|Error' "$log" | head -60 >&2; tail -5 "$log" >&2; return 1; }
  "$build/benchmarks/gpu/mizzen_gpu_run" devices >/dev/null
  echo "built in $SECONDS s"
}

use_plugin() { # real | emulated
  local nvidia
  if [ "$1" = emulated ]; then
    export MIZZEN_CUDA_PLUGIN=$PWD/$build/tests/cuda/libmizzen_cuda_emulated.so
    return
  fi
  export MIZZEN_CUDA_PLUGIN=$PWD/$build/src/inference/libmizzen_cuda.so
  nvidia=$(wheels)
  if [ -n "$nvidia" ]; then
    export MIZZEN_CUDA_LIBRARY_PATH="$nvidia/cu13/lib:$nvidia/cudnn/lib${MIZZEN_CUDA_LIBRARY_PATH:+:$MIZZEN_CUDA_LIBRARY_PATH}"
  fi
}

operators() { # arguments of operators.py
  "$python" tests/cuda/operators.py "$build/tests/cuda/mizzen_cuda_cases" "$out" "$@"
}

run_tests() {
  step "the plug-in's own tests on the GPU"
  use_plugin real
  local shard shards=8 status=0 pids=()
  # Several processes: it is kernels' compiling that takes the time, and one that dies leaves the others alone.
  for ((shard = 0; shard < shards; ++shard)); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard timeout 240 "$build/tests/cuda/mizzen_cuda_tests" --gtest_brief=1 \
      >"$build/tests-$shard.log" 2>&1 &
    pids+=($!)
  done
  for shard in "${!pids[@]}"; do
    wait "${pids[$shard]}" || { status=1; echo "process $shard ended with status $?"; }
  done >"$build/tests-ends.log"
  for ((shard = 0; shard < shards; ++shard)); do tail -c 200000 "$build/tests-$shard.log"; done >"$out/tests.log"
  cat "$build/tests-ends.log" >>"$out/tests.log"
  # Without a GPU they end at once, with nothing tested.
  ! grep -q '^SKIPPED' "$out/tests.log" || status=1
  step "operators against the processor and ONNX Runtime"
  operators --workers 8 --seconds 270 || status=1
  step "the plug-in's own tests"
  grep -hE '^\[  (PASSED|FAILED)|^SKIPPED|^process' "$out/tests.log" | sort | uniq -c | head -40 || true
  return $status
}

sanitize() {
  step "compute-sanitizer on a short set"
  use_plugin real
  local tool status=0 result
  : >"$out/sanitizer.log"
  for tool in memcheck racecheck; do
    echo "== $tool" >>"$out/sanitizer.log"
    result=0
    timeout 270 compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 "$build/tests/cuda/mizzen_cuda_tests" --gtest_brief=1 \
      --gtest_filter="${MIZZEN_GPU_SANITIZE:-cuda_elementwise.chains*:cuda_data.*:cuda_rows.instance*:cuda_products.gemm*:cuda_windows.pooling*}" \
      >"$build/sanitizer.log" 2>&1 || result=$?
    head -c 400000 "$build/sanitizer.log" >>"$out/sanitizer.log"
    case $result in
      0) echo "$tool: clean: $(grep -E '^\[  PASSED' "$build/sanitizer.log" | tail -1)" ;;
      124) echo "$tool: not done after 270 s"; status=1 ;;
      *) echo "$tool: exit status $result: $(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY|FAILED' "$build/sanitizer.log" | tail -1)"; status=1 ;;
    esac
  done
  return $status
}

measure() {
  step "measurements"
  use_plugin real
  "$python" benchmarks/gpu/measure.py "$build/benchmarks/gpu/mizzen_gpu_rounds" "$out" "$@"
}

dry() {
  use_plugin real
  "$build/benchmarks/gpu/mizzen_gpu_run" devices
  use_plugin emulated
  "$python" -c 'import onnx, onnxruntime' || { echo "no onnx and onnxruntime for $python: nothing more to try"; return; }
  step "a few operators, on the emulated GPU"
  local status=0
  operators --every 60 --seconds 200 --workers "$jobs" || status=1
  "$python" -c 'import torch, torchvision, onnxscript' || { echo "no torch for $python: nothing more to try"; return $status; }
  step "one small row, on the emulated GPU: figures mean nothing"
  "$python" benchmarks/gpu/measure.py "$build/benchmarks/gpu/mizzen_gpu_rounds" "$out" --small --no-compile --only "bert-base s128 b1" --only "past 1 " || status=1
  return $status
}

piece() {
  "$@" || failed+=("$1")
}

what=${1:-all}
[ $# -eq 0 ] || shift
case $what in
  all)
    build
    piece run_tests
    piece sanitize
    piece measure "$@"
    ;;
  build) build ;;
  test) piece run_tests ;;
  sanitize) piece sanitize ;;
  measure) piece measure "$@" ;;
  --dry)
    build
    piece dry
    ;;
  *) sed -n '2,19s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
step "${failed[*]:+failed: ${failed[*]}; }done"
[ ${#failed[@]} -eq 0 ]
