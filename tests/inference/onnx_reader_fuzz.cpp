// Any bytes as a model: parsed, loaded, optimised and run once on small inputs, within tight
// limits. What is wrong must be a mizzen::error.
#include <mizzen/inference.hpp>

#include <cstdint>
#include <vector>

namespace {

using namespace mizzen::inference;

// Inputs whose unknown dimensions are 2; nothing if they would be large.
bool make_inputs(const session& s, tensor_map& inputs) {
  for (const value_info& info : s.inputs()) {
    shape_type shape;
    double count = 1;
    for (const dimension& d : info.shape.value_or(std::vector<dimension>(1))) {
      shape.push_back(d.fixed() ? d.value : 2);
      count *= static_cast<double>(shape.back());
    }
    if (count > 4096 || bit_width(info.type) == 0) return false;
    inputs.emplace(info.name, tensor(info.type, shape));
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const bool optimize : {true, false}) {
    try {
      const auto s = session::load(
          bytes, {.threads = 1, .memory_limit = std::size_t{1} << 20, .optimize = optimize});
      tensor_map inputs;
      if (make_inputs(s, inputs)) {
        s.run(inputs, {.cancel = {{}, mizzen::deadline::after(std::chrono::milliseconds(500))}});
      }
    } catch (const mizzen::error&) {
    }
  }
  return 0;
}
