#include "inference/graph/precision.hpp"
#include "inference/passes/passes.hpp"

namespace mizzen::inference::detail {

bool lower_precision(graph& g, pass_context& context) {
  if (context.precision != element_type::bfloat16 || !context.host.has_bf16_products())
    return false;
  bool changed = false;
  for (node& n : g.nodes) {
    if (!is_product(n) || asks_bf16(n)) continue;
    const value& weights = g.values[n.inputs[1]];
    if (!weights.constant || weights.type != element_type::float32) continue;
    ask_bf16(n);
    changed = true;
  }
  return changed;
}

}  // namespace mizzen::inference::detail
