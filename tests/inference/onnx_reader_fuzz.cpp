// Any bytes as a model file: what is wrong must be a mizzen::error, and memory stays within a small
// multiple of the bytes.
#include "inference/onnx/model.hpp"

#include <mizzen/core/error.hpp>

#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    mizzen::inference::detail::parse_model(std::as_bytes(std::span(data, size)));
  } catch (const mizzen::error&) {
  }
  return 0;
}
