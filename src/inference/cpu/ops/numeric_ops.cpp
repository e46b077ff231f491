#include "inference/cpu/ops/ops.hpp"

namespace mizzen::inference::detail {

void register_numeric_ops(op_registry& /*registry*/) {}

}  // namespace mizzen::inference::detail
