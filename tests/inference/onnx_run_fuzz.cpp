// Any bytes as a model, run once on small inputs that the same bytes fill, within tight limits.
// What is wrong must be a mizzen::error.
#include <mizzen/inference.hpp>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace mizzen::inference;
using bytes_view = std::span<const std::byte>;

tensor filled(element_type type, shape_type shape, bytes_view with) {
  tensor t(type, std::move(shape));
  if (type == element_type::string) {
    for (std::string& text : t.data<std::string>()) text.assign(3, static_cast<char>(with[0]));
    return t;
  }
  const auto bytes = t.mutable_bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = with[with.size() - 1 - i % with.size()];
  if (type == element_type::boolean) {
    for (std::byte& b : bytes) b &= std::byte{1};
  }
  return t;
}

// Inputs whose unknown dimensions are 2; nothing if they would be large.
bool make_inputs(const session& s, bytes_view with, value_map& inputs) {
  for (const value_info& info : s.inputs()) {
    shape_type shape;
    double count = 1;
    for (const dimension& d : info.shape.value_or(std::vector<dimension>(1))) {
      shape.push_back(d.fixed() ? d.value : 2);
      count *= static_cast<double>(shape.back());
    }
    if (count > 4096) return false;
    if (info.kind == value_kind::sequence || info.kind == value_kind::optional_sequence) {
      tensor_sequence sequence;
      sequence.push_back(filled(info.type, shape, with));
      sequence.push_back(filled(info.type, shape, with));
      inputs.emplace(info.name, std::move(sequence));
    } else {
      inputs.emplace(info.name, filled(info.type, shape, with));
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto s = session::load(bytes, {.threads = 1, .memory_limit = std::size_t{1} << 20});
    value_map inputs;
    if (make_inputs(s, bytes, inputs)) {
      s.run_values(inputs,
                   {.cancel = {{}, mizzen::deadline::after(std::chrono::milliseconds(500))}});
    }
  } catch (const mizzen::error&) {
  }
  return 0;
}
