#include "inference/passes/passes.hpp"

#include "inference/graph/shape_inference.hpp"
#include "inference/passes/expand_quantised.hpp"

#include <algorithm>
#include <string_view>

namespace mizzen::inference::detail {

void replace_uses(graph& g, value_id from, value_id to) {
  for (node& n : g.nodes) std::replace(n.inputs.begin(), n.inputs.end(), from, to);
  std::replace(g.outputs.begin(), g.outputs.end(), from, to);
}

void erase_nodes(graph& g, const std::vector<bool>& dead) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (dead[i]) continue;
    if (kept != i) g.nodes[kept] = std::move(g.nodes[i]);
    ++kept;
  }
  g.nodes.resize(kept);
}

std::optional<float> constant_scalar(const graph& g, value_id v) {
  if (v == no_value || !g.values[v].constant) return std::nullopt;
  const tensor& t = *g.values[v].constant;
  if (t.size() != 1 || t.type() != element_type::float32) return std::nullopt;
  return t.data<float>()[0];
}

value_id add_constant(graph& g, std::string name, tensor t) {
  value v;
  v.name = std::move(name);
  v.type = t.type();
  v.shape = t.shape();
  v.constant = std::make_shared<const tensor>(std::move(t));
  return g.add_value(std::move(v));
}

void run_passes(graph& g, pass_context& context) {
  struct pass {
    std::string_view name;
    bool (*run)(graph&, pass_context&);
  };
  constexpr pass clean_up[] = {{"fold_constants", fold_constants},
                               {"inline_branches", inline_branches},
                               {"remove_identities", remove_identities},
                               {"remove_dead_code", remove_dead_code}};
  constexpr pass rewrite[] = {{"widen_halves", widen_halves},
                              {"recognise_patterns", recognise_patterns},
                              {"recognise_lookups", recognise_lookups},
                              {"fuse_quantised", fuse_quantised},
                              // What was recognised leaves nodes behind that still use values.
                              {"remove_dead_code", remove_dead_code},
                              {"fuse_attention", fuse_attention},
                              {"remove_dead_code", remove_dead_code},
                              {"sink_squeeze", sink_squeeze},
                              {"fold_into_conv", fold_into_conv},
                              {"fuse_post_ops", fuse_post_ops}};
  const auto run = [&](const pass& p) {
    context.limits.check();
    const bool changed = p.run(g, context);
    if (changed) {
      infer_graph(g);
      context.show(p.name, g);
      context.log.log(log_level::debug, "inference", "pass changed the graph",
                      {{"pass", p.name}, {"nodes", g.nodes.size()}});
    }
    return changed;
  };
  // A device of parts gets the operators as they are, once the patterns are found in them: it fuses
  // and lays out its parts itself. The passes below are for what is left to the host.
  if (context.host.parts() != nullptr) {
    constexpr pass prepare[] = {{"expand_quantised", expand_quantised},
                                {"recognise_patterns", recognise_patterns},
                                {"recognise_lookups", recognise_lookups},
                                {"fold_into_conv", fold_into_conv}};
    context.leave_dequantised = true;
    for (int round = 0; round < 4; ++round) {
      bool changed = false;
      for (const pass& p : clean_up) changed = run(p) || changed;
      for (const pass& p : prepare) changed = run(p) || changed;
      if (!changed) break;
    }
    run({"assign_parts", assign_parts});
    context.leave_dequantised = false;
  }
  // Quantised weights are looked at as such before they become floats.
  context.fold_dequantised = false;
  for (const pass& p : clean_up) run(p);
  run({"widen_halves", widen_halves});
  run({"expand_quantised", expand_quantised});
  run({"fuse_quantised_graph", fuse_quantised_graph});
  context.fold_dequantised = true;
  // Each round makes the graph smaller; the bound only guards against two passes that undo each
  // other.
  for (int round = 0; round < 4; ++round) {
    bool changed = false;
    for (const pass& p : clean_up) changed = run(p) || changed;
    for (const pass& p : rewrite) changed = run(p) || changed;
    if (!changed) break;
  }
  run({"lower_precision", lower_precision});
  // What it moves of the constants is folded.
  if (run({"assign_layout", assign_layout})) {
    run(clean_up[0]);
    run({"merge_transposes", merge_transposes});
    run({"fuse_strips", fuse_strips});
  }
  run(clean_up[3]);
}

}  // namespace mizzen::inference::detail
