#pragma once

#include "inference/passes/passes.hpp"

namespace mizzen::inference::detail {

// QLinearConv, QLinearMatMul and those of com.microsoft, with constant weights and scales, become
// the operator over floats between DequantizeLinear and QuantizeLinear: what fuse_quantised_graph()
// knows how to make fast, whichever way a model was written.
bool expand_quantised(graph& g, pass_context& context);

}  // namespace mizzen::inference::detail
