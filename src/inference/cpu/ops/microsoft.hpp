// Operators of the domain com.microsoft, which ONNX Runtime's tools put into models.
#pragma once

#include "inference/cpu/op_registry.hpp"

#include <string_view>

namespace mizzen::inference::detail {

inline constexpr std::string_view microsoft_domain = "com.microsoft";

void register_microsoft_attention(op_registry& registry);
void register_microsoft_norm(op_registry& registry);
void register_microsoft_quantised(op_registry& registry);

}  // namespace mizzen::inference::detail
