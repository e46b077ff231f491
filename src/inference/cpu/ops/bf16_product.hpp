// Gemm and MatMul in bfloat16.
#pragma once

#include "inference/device/kernel.hpp"

#include <memory>

namespace mizzen::inference::detail {

// The kernel of a node that asks for it (graph/precision.hpp), with constant weights; null where
// the processor has no such products, or the node is of another form.
std::unique_ptr<kernel> compile_bf16_product(const compile_context& c);

}  // namespace mizzen::inference::detail
