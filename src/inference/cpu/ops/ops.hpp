// The operators of the CPU, a register function per file of this folder.
#pragma once

#include "inference/cpu/op_registry.hpp"

namespace mizzen::inference::detail {

// Data movement: reshape.cpp, transpose.cpp, …; listed in data_ops.cpp.
void register_data_ops(op_registry& registry);

// Arithmetic: conv, gemm, pooling, element-wise, reductions …; listed in numeric_ops.cpp.
void register_numeric_ops(op_registry& registry);

// What stands behind them, over doubles: plain_….cpp, listed in plain_ops.cpp.
void register_plain_ops(op_registry& registry);

}  // namespace mizzen::inference::detail
