// In which precision a product of floats may be computed: an attribute that passes give MatMul and
// Gemm, and that devices may heed.
#pragma once

#include "inference/graph/ir.hpp"

#include <cstdint>
#include <string_view>

namespace mizzen::inference::detail {

inline constexpr std::string_view precision_attribute = "mizzen.precision";

inline bool asks_bf16(const node& n) {
  return n.attributes.get_int(precision_attribute, 0) ==
         static_cast<std::int64_t>(element_type::bfloat16);
}

inline void ask_bf16(node& n) {
  n.attributes.set(std::string(precision_attribute),
                   static_cast<std::int64_t>(element_type::bfloat16));
}

// Whether it is a product whose operands may be rounded.
inline bool is_product(const node& n) {
  return n.domain.empty() && (n.op_type == "MatMul" || n.op_type == "Gemm");
}

}  // namespace mizzen::inference::detail
