#include "inference/passes/passes.hpp"

#include <algorithm>
#include <iterator>

namespace mizzen::inference::detail {
namespace {

// The branch that will always be taken, or null.
std::shared_ptr<const graph> certain_branch(const graph& g, const node& n) {
  if (n.op_type != "If" || !n.domain.empty()) return nullptr;
  const auto& condition = g.values[n.inputs[0]].constant;
  if (!condition || condition->size() != 1 || condition->type() != element_type::boolean) {
    return nullptr;
  }
  return n.attributes.require_graph(condition->data<bool>()[0] ? "then_branch" : "else_branch");
}

}  // namespace

bool inline_branches(graph& g, pass_context& /*context*/) {
  std::vector<node> nodes;
  bool changed = false;
  // What took the place of each value, where something did.
  std::vector<value_id> now(g.values.size(), no_value);
  const auto current = [&](value_id v) {
    return v != no_value && v < now.size() && now[v] != no_value ? now[v] : v;
  };
  for (node& n : g.nodes) {
    for (value_id& v : n.inputs) v = current(v);
    const auto branch = certain_branch(g, n);
    if (!branch) {
      nodes.push_back(std::move(n));
      continue;
    }
    changed = true;
    std::vector<value_id> here(branch->values.size(), no_value);
    for (std::size_t i = 0; i < branch->captures.size(); ++i) {
      here[branch->inputs[i]] = n.inputs[branch->captures[i]];
    }
    for (std::size_t v = 0; v < here.size(); ++v) {
      if (here[v] != no_value) continue;
      value copy = branch->values[v];
      copy.shape.reset();
      here[v] = g.add_value(std::move(copy));
    }
    for (node inner : branch->nodes) {
      for (auto* list : {&inner.inputs, &inner.outputs}) {
        for (value_id& v : *list) {
          if (v != no_value) v = here[v];
        }
      }
      nodes.push_back(std::move(inner));
    }
    for (std::size_t i = 0; i < n.outputs.size(); ++i) {
      if (n.outputs[i] != no_value) now[n.outputs[i]] = here[branch->outputs[i]];
    }
  }
  g.nodes = std::move(nodes);
  for (value_id& v : g.outputs) v = current(v);
  return changed;
}

}  // namespace mizzen::inference::detail
