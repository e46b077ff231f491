#!/usr/bin/env bash
# Collects what a machine with a GPU may lack and this one has, into build/gpu-carry: nlohmann/json and the
# sources of GoogleTest (together 2 MB, from Debian's packages nlohmann-json3-dev and googletest).
# benchmarks/gpu/run.sh takes them from there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
to=build/gpu-carry
rm -rf "$to"
mkdir -p "$to/include" "$to/lib/cmake/nlohmann_json"
cp -r /usr/include/nlohmann "$to/include/"
cp -r /usr/src/googletest "$to/googletest"
cat >"$to/lib/cmake/nlohmann_json/nlohmann_jsonConfig.cmake" <<'CMAKE'
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
set_target_properties(nlohmann_json::nlohmann_json PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}/../../../include")
CMAKE
cat >"$to/lib/cmake/nlohmann_json/nlohmann_jsonConfigVersion.cmake" <<'CMAKE'
set(PACKAGE_VERSION 3.11)
set(PACKAGE_VERSION_COMPATIBLE TRUE)
CMAKE
echo "$to"
