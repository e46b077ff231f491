#include "inference/passes/passes.hpp"

namespace mizzen::inference::detail {

bool remove_dead_code(graph& g, pass_context& /*context*/) {
  std::vector<bool> used(g.values.size(), false);
  std::vector<bool> dead(g.nodes.size(), false);
  bool changed = false;
  for (const value_id v : g.outputs) used[v] = true;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    node& n = g.nodes[i];
    dead[i] = true;
    for (const value_id v : n.outputs) {
      if (v != no_value && used[v]) dead[i] = false;
    }
    if (dead[i]) {
      changed = true;
      continue;
    }
    // The first output stays even when unused: kernels always write it. Split writes all of them.
    if (n.op_type != "Split") {
      for (std::size_t k = 1; k < n.outputs.size(); ++k) {
        if (n.outputs[k] != no_value && !used[n.outputs[k]]) n.outputs[k] = no_value;
      }
      while (n.outputs.size() > 1 && n.outputs.back() == no_value) n.outputs.pop_back();
    }
    for (const value_id v : n.inputs) {
      if (v != no_value) used[v] = true;
    }
  }
  erase_nodes(g, dead);
  // Constants that nobody uses need no memory.
  for (std::size_t v = 0; v < g.values.size(); ++v) {
    if (!used[v]) g.values[v].constant.reset();
  }
  return changed;
}

}  // namespace mizzen::inference::detail
