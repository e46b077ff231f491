// Finding known patterns of nodes in a graph.
#pragma once

#include "inference/passes/passes.hpp"

#include <array>
#include <cmath>
#include <string_view>
#include <utility>

namespace mizzen::inference::detail {

// Looks backwards from a value at the nodes that made it. A failed step gives null or no_value,
// which every further step hands on.
class matcher {
 public:
  explicit matcher(const graph& g) : g_(g), index_(g) {}

  // The node that makes the value if it is this operator, plain and with one output.
  const node* made_by(value_id v, std::string_view op_type) const {
    if (v == no_value || v >= index_.producer.size()) return nullptr;
    const std::size_t i = index_.producer[v];
    if (i == graph_index::none) return nullptr;
    const node& n = g_.nodes[i];
    const bool plain = n.domain.empty() && n.post_ops.empty() && n.outputs.size() == 1;
    return plain && n.op_type == op_type ? &n : nullptr;
  }

  bool is_scalar(value_id v, double wanted) const {
    const auto c = constant_scalar(g_, v);
    return c && std::abs(static_cast<double>(*c) - wanted) <= 1e-6 * std::abs(wanted);
  }

  // The operand of a commutative or other binary node beside the constant scalar.
  value_id beside_scalar(const node* n, double wanted, bool commutative = true) const {
    if (n == nullptr || n->inputs.size() != 2) return no_value;
    if (is_scalar(n->inputs[1], wanted)) return n->inputs[0];
    return commutative && is_scalar(n->inputs[0], wanted) ? n->inputs[1] : no_value;
  }

  static value_id beside(const node* n, value_id known) {
    if (n == nullptr || n->inputs.size() != 2 || known == no_value) return no_value;
    if (n->inputs[0] == known) return n->inputs[1];
    return n->inputs[1] == known ? n->inputs[0] : no_value;
  }

  // Both orders of the operands of a binary node.
  static std::array<std::pair<value_id, value_id>, 2> operands(const node& n) {
    return {{{n.inputs[0], n.inputs[1]}, {n.inputs[1], n.inputs[0]}}};
  }

  // True if nobody else would miss the value.
  bool single_use(value_id v) const { return index_.single_use(v); }
  const graph_index& index() const noexcept { return index_; }
  const graph& g() const noexcept { return g_; }

 private:
  const graph& g_;
  graph_index index_;
};

}  // namespace mizzen::inference::detail
