// What goes into a model and comes out of it where that is more than tensors.
#pragma once

#include <mizzen/inference/tensor.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mizzen::inference {

// What an input or output may hold. Source: onnx TypeProto.
enum class value_kind : std::uint8_t { tensor, sequence, optional_tensor, optional_sequence };

// "tensor", "sequence", "optional_tensor", "optional_sequence".
std::string_view to_string(value_kind kind) noexcept;

// Tensors of one element type, each with a shape of its own.
using tensor_sequence = std::vector<tensor>;

// Nothing (an optional without its element), a tensor, or a sequence. An optional that has its
// element is that element.
using any_value = std::variant<std::monostate, tensor, tensor_sequence>;
using value_map = std::map<std::string, any_value, std::less<>>;

}  // namespace mizzen::inference
