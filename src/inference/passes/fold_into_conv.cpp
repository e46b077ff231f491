#include "inference/passes/passes.hpp"

namespace mizzen::inference::detail {

bool fold_into_conv(graph& /*g*/, pass_context& /*context*/) { return false; }

}  // namespace mizzen::inference::detail
