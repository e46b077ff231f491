#include "inference/graph/extents.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>

namespace mizzen::inference::detail {
namespace {

bool same_known_shape(const value& a, const value& b) {
  if (!a.shape || !b.shape || a.shape->size() != b.shape->size()) return false;
  for (std::size_t i = 0; i < a.shape->size(); ++i) {
    // Equal names are equal numbers at run time; two unknown dimensions need not be.
    if ((*a.shape)[i] != (*b.shape)[i] || (*a.shape)[i] == unknown_dim) return false;
  }
  return true;
}

// A constant whose elements are all this float and that does not enlarge the other operand.
bool is_neutral(const graph& g, value_id v, float neutral, value_id other, value_id result) {
  const auto scalar = constant_scalar(g, v);
  return scalar && *scalar == neutral && same_known_shape(g.values[other], g.values[result]);
}

bool steps_are_one(const graph& g, const node& n) {
  if (n.inputs.size() < 5 || n.inputs[4] == no_value) return true;
  const auto& steps = g.values[n.inputs[4]].constant;
  const auto known = steps ? extents_of(*steps) : std::nullopt;
  return known && std::all_of(known->begin(), known->end(),
                              [](const extent& step) { return step.value == 1; });
}

// The input that the node hands on unchanged, or no_value.
value_id passed_on(const graph& g, const node& n) {
  if (!n.domain.empty() || !n.post_ops.empty()) return no_value;
  const value_id in = n.inputs.empty() ? no_value : n.inputs[0];
  const value_id out = n.outputs[0];
  if (in == no_value || out == no_value) return no_value;
  const bool only_output = n.outputs.size() == 1;
  if (n.op_type == "Identity") return in;
  if (n.op_type == "Dropout" && only_output) {
    // Inference mode: training_mode is absent or a constant false.
    if (n.inputs.size() < 3 || n.inputs[2] == no_value) return in;
    const auto& mode = g.values[n.inputs[2]].constant;
    return mode && mode->size() == 1 && !mode->data<bool>()[0] ? in : no_value;
  }
  if (n.op_type == "Cast" && g.values[in].type == g.values[out].type) return in;
  if (n.op_type == "Reshape" || n.op_type == "Expand" || n.op_type == "Flatten" ||
      n.op_type == "Squeeze" || n.op_type == "Unsqueeze") {
    return same_known_shape(g.values[in], g.values[out]) ? in : no_value;
  }
  if (n.op_type == "Slice") {
    // Forwards and as many as there are: all of them.
    return steps_are_one(g, n) && same_known_shape(g.values[in], g.values[out]) ? in : no_value;
  }
  if (n.op_type == "Transpose") {
    const auto perm = n.attributes.get_ints("perm");
    return !perm.empty() && std::is_sorted(perm.begin(), perm.end()) ? in : no_value;
  }
  if (n.inputs.size() != 2 || n.inputs[1] == no_value) return no_value;
  const value_id other = n.inputs[1];
  if (n.op_type == "Mul") {
    if (is_neutral(g, other, 1.0F, in, out)) return in;
    if (is_neutral(g, in, 1.0F, other, out)) return other;
  }
  if (n.op_type == "Div" && is_neutral(g, other, 1.0F, in, out)) return in;
  // x + 0 turns -0 into 0, which no comparison can tell apart.
  if (n.op_type == "Add") {
    if (is_neutral(g, other, 0.0F, in, out)) return in;
    if (is_neutral(g, in, 0.0F, other, out)) return other;
  }
  return n.op_type == "Sub" && is_neutral(g, other, 0.0F, in, out) ? in : no_value;
}

}  // namespace

bool remove_identities(graph& g, pass_context& /*context*/) {
  std::vector<value_id> same(g.values.size());
  for (std::size_t i = 0; i < same.size(); ++i) same[i] = static_cast<value_id>(i);
  std::vector<bool> dead(g.nodes.size(), false);
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    node& n = g.nodes[i];
    for (value_id& v : n.inputs) {
      if (v != no_value) v = same[v];
    }
    const value_id from = passed_on(g, n);
    if (from == no_value) continue;
    same[n.outputs[0]] = from;
    dead[i] = true;
    changed = true;
  }
  for (value_id& v : g.outputs) v = same[v];
  erase_nodes(g, dead);
  return changed;
}

}  // namespace mizzen::inference::detail
