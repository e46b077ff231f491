// What the operators on numbers of 8 bits share.
#pragma once

#include "cuda/lower.hpp"

#include <algorithm>

namespace mizzen::cuda {

bool is_byte(element_type t) noexcept;    // int8, uint8
bool is_float8(element_type t) noexcept;  // those that products are computed in

// Whether it is a constant of zeros.
bool is_zero(const part& p, value_id v);

// The one element of a constant of float32 or bytes.
std::optional<float> number_of(const part& p, value_id v);

// Scales or zero points, one or one for each index of the axis, broadcast to the shape.
view steps_of(lowering& l, value_id v, const dims& shape, std::int64_t axis);
expression_ptr read_steps(lowering& l, value_id v, const dims& shape, std::int64_t axis);

// MatMul, Gemm and Conv over what comes from DequantizeLinear; false where they are better
// computed, or have to be, over floats: then nothing has been done.
bool lower_byte_product(lowering& l, const node& n);
bool lower_byte_convolution(lowering& l, const node& n);
void add_byte_product_rules(rule_table& table);

}  // namespace mizzen::cuda
