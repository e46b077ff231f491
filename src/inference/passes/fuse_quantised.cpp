// What dynamic quantisation makes of a MatMul with constant weights,
//
//   q, s, z = DynamicQuantizeLinear(x)
//   y = Cast(MatMulInteger(q, W, z, W's zero)) * (s * W's scale)
//
// becomes one node: mizzen.DynamicQuantizedMatMul(x, W, W's scale, W's zero?).
#include "inference/passes/matcher.hpp"
#include "inference/passes/passes.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

const tensor* constant_of(const graph& g, value_id v) {
  return v == no_value ? nullptr : g.values[v].constant.get();
}

// One number, or one for each column.
bool is_per_column(const tensor* t, std::int64_t columns) {
  return t != nullptr && t->rank() <= 1 &&
         (t->size() == 1 || t->size() == static_cast<std::size_t>(columns));
}

// The inputs of the new node.
std::optional<std::vector<value_id>> match_product(const matcher& m, value_id numbers,
                                                   value_id scales) {
  const graph& g = m.g();
  const node* cast = m.made_by(numbers, "Cast");
  const node* product = cast == nullptr ? nullptr : m.made_by(cast->inputs[0], "MatMulInteger");
  if (product == nullptr || product->inputs.size() < 3 || !m.single_use(numbers) ||
      !m.single_use(cast->inputs[0]) || g.values[numbers].type != element_type::float32) {
    return std::nullopt;
  }
  const std::size_t at = m.index().producer[product->inputs[0]];
  if (at == graph_index::none) return std::nullopt;
  const node& quantise = g.nodes[at];
  if (quantise.op_type != "DynamicQuantizeLinear" || !quantise.domain.empty() ||
      quantise.outputs.size() != 3 || quantise.outputs[0] != product->inputs[0] ||
      quantise.outputs[2] != product->inputs[2]) {
    return std::nullopt;
  }
  const value_id weights = product->inputs[1];
  const value_id zero = product->inputs.size() > 3 ? product->inputs[3] : no_value;
  const value_id scale = matcher::beside(m.made_by(scales, "Mul"), quantise.outputs[1]);
  const tensor* w = constant_of(g, weights);
  const tensor* s = constant_of(g, scale);
  const tensor* z = constant_of(g, zero);
  const auto& x = g.values[quantise.inputs[0]].shape;
  if (w == nullptr || w->rank() != 2 || !x || x->size() < 2 ||
      (w->type() != element_type::int8 && w->type() != element_type::uint8) ||
      !is_per_column(s, w->shape()[1]) || s->type() != element_type::float32 ||
      (zero != no_value && (!is_per_column(z, w->shape()[1]) || z->type() != w->type()))) {
    return std::nullopt;
  }
  return std::vector<value_id>{quantise.inputs[0], weights, scale, zero};
}

}  // namespace

bool fuse_quantised(graph& g, pass_context& /*context*/) {
  const matcher m(g);
  std::vector<std::pair<std::size_t, node>> found;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    if (!n.domain.empty() || !n.post_ops.empty() || n.op_type != "Mul") continue;
    for (const auto& [numbers, scales] : matcher::operands(n)) {
      auto inputs = match_product(m, numbers, scales);
      if (!inputs) continue;
      node replacement;
      replacement.name = n.name;
      replacement.op_type = "DynamicQuantizedMatMul";
      replacement.domain = "mizzen";
      replacement.opset = 1;
      replacement.inputs = std::move(*inputs);
      replacement.outputs = n.outputs;
      found.emplace_back(i, std::move(replacement));
      break;
    }
  }
  for (auto& [i, replacement] : found) g.nodes[i] = std::move(replacement);
  return !found.empty();
}

}  // namespace mizzen::inference::detail
