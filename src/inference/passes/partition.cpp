#include "inference/passes/partition.hpp"

#include "inference/device/device.hpp"
#include "inference/dynamic/operation.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace mizzen::inference::detail {
namespace {

bool has_subgraph(const node& n) {
  return std::any_of(n.attributes.begin(), n.attributes.end(), [](const auto& a) {
    return std::holds_alternative<std::shared_ptr<const graph>>(a.second);
  });
}

bool is_shape_query(const node& n) {
  return n.domain.empty() && (n.op_type == "Shape" || n.op_type == "Size");
}

bool is_dequantised_constant(const graph& g, const node& n, const part_compiler& device) {
  return n.op_type == "DequantizeLinear" && n.domain.empty() && !n.custom &&
         std::all_of(n.inputs.begin(), n.inputs.end(),
                     [&](value_id v) { return v == no_value || g.values[v].constant; }) &&
         device.supports(g, n);
}

// What moves no data to speak of is not worth the way to the device.
bool is_worth_it(const node& n) {
  static constexpr std::array<std::string_view, 11> heavy = {
      "Attention", "Conv", "ConvInteger", "ConvTranspose", "Einsum", "GRU",
      "Gemm",      "LSTM", "MatMul",      "MatMulInteger", "RNN"};
  return std::find(heavy.begin(), heavy.end(), n.op_type) != heavy.end();
}

// Levels: even on the host, odd on the device.
class leveller {
 public:
  leveller(const graph& g, const std::vector<bool>& shape_nodes, const std::vector<bool>& on_device)
      : g_(g), index_(g), shape_(shape_nodes), on_(on_device), levels_(g.nodes.size()) {
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      // A shape node may go either way; for each it has the level that its sources ask for.
      levels_[i] = {level_as(i, false), level_as(i, true)};
    }
  }

  std::size_t level(std::size_t i) const { return levels_[i][on_[i] ? 1 : 0]; }

 private:
  std::size_t level_as(std::size_t i, bool device) const {
    std::size_t level = device ? 1 : 0;
    for (const value_id v : g_.nodes[i].inputs) {
      if (v == no_value) continue;
      const std::size_t p = index_.producer[v];
      if (p == graph_index::none) continue;
      const bool same = shape_[p] || on_[p] == device;
      const std::size_t source = levels_[p][(shape_[p] ? device : on_[p]) ? 1 : 0];
      level = std::max(level, source + (same ? 0 : 1));
    }
    return level;
  }

  const graph& g_;
  graph_index index_;
  const std::vector<bool>& shape_;
  const std::vector<bool>& on_;
  std::vector<std::array<std::size_t, 2>> levels_;
};

// One part as a graph of its own.
class part_builder {
 public:
  part_builder(const graph& g, const graph_index& index, const std::vector<bool>& shape_nodes)
      : g_(g), index_(index), shape_(shape_nodes) {
    body_.symbols = g.symbols;
    body_.nameless = g.nameless;
  }

  void add(std::size_t i) {
    const node& n = g_.nodes[i];
    for (const value_id v : n.inputs) {
      if (v == no_value) continue;
      const std::size_t p = index_.producer[v];
      if (p != graph_index::none && shape_[p] && added_.insert(p).second) add(p);
    }
    node copy = n;
    for (std::size_t k = 0; k < copy.inputs.size(); ++k) {
      if (copy.inputs[k] == no_value) continue;
      copy.inputs[k] = use(n.inputs[k]);
      if (is_shape_operand(n, k)) operands_.insert(copy.inputs[k]);
    }
    for (value_id& v : copy.outputs) {
      if (v != no_value) v = own(v);
    }
    body_.nodes.push_back(std::move(copy));
  }

  // What it takes from the graph around.
  const std::vector<value_id>& inputs() const noexcept { return inputs_; }

  // The node in the graph around; wanted(v) says whether anybody outside uses a value.
  template <class Wanted>
  node finish(std::size_t number, const std::vector<std::size_t>& nodes, Wanted wanted) {
    node n;
    n.name = "part " + std::to_string(number);
    n.op_type = "DevicePart";
    n.domain = "mizzen";
    n.opset = 1;
    for (const std::size_t i : nodes) {
      for (const value_id v : g_.nodes[i].outputs) {
        if (v == no_value || !wanted(v)) continue;
        n.outputs.push_back(v);
        body_.outputs.push_back(ids_.at(v));
      }
    }
    n.inputs = inputs_;
    const std::set<value_id> behind = behind_operands();
    std::vector<std::int64_t> operands;
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      body_.captures.push_back(k);
      if (behind.contains(body_.inputs[k])) operands.push_back(static_cast<std::int64_t>(k));
    }
    n.attributes.set("shape_inputs", std::move(operands));
    n.attributes.set("body", std::make_shared<const graph>(std::move(body_)));
    return n;
  }

 private:
  // Operands of shapes, and all values that they are computed from.
  std::set<value_id> behind_operands() const {
    std::set<value_id> behind = operands_;
    for (auto n = body_.nodes.rbegin(); n != body_.nodes.rend(); ++n) {
      if (is_shape_query(*n)) continue;
      const bool any = std::any_of(n->outputs.begin(), n->outputs.end(),
                                   [&](value_id v) { return behind.contains(v); });
      if (any) behind.insert(n->inputs.begin(), n->inputs.end());
    }
    return behind;
  }

  value_id own(value_id v) {
    const auto [it, is_new] = ids_.try_emplace(v, no_value);
    if (is_new) it->second = body_.add_value(g_.values[v]);
    return it->second;
  }
  value_id use(value_id v) {
    if (const auto known = ids_.find(v); known != ids_.end()) return known->second;
    const value_id id = own(v);
    if (!g_.values[v].constant) {
      inputs_.push_back(v);
      body_.inputs.push_back(id);
    }
    return id;
  }

  const graph& g_;
  const graph_index& index_;
  const std::vector<bool>& shape_;
  graph body_;
  std::map<value_id, value_id> ids_;  // from the graph around
  std::vector<value_id> inputs_;
  std::set<value_id> operands_;  // in the body
  std::set<std::size_t> added_;  // shape nodes
};

// Stable: nodes that could stand in either order keep theirs.
void sort_nodes(graph& g) {
  const graph_index index(g);
  std::vector<std::size_t> waits(g.nodes.size(), 0);
  std::set<std::size_t> ready;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    for (const value_id v : g.nodes[i].inputs) {
      if (v != no_value && index.producer[v] != graph_index::none) ++waits[i];
    }
    if (waits[i] == 0) ready.insert(i);
  }
  std::vector<node> sorted;
  sorted.reserve(g.nodes.size());
  while (!ready.empty()) {
    const std::size_t i = *ready.begin();
    ready.erase(ready.begin());
    for (const value_id v : g.nodes[i].outputs) {
      if (v == no_value) continue;
      for (const std::size_t user : index.consumers[v]) {
        if (--waits[user] == 0) ready.insert(user);
      }
    }
    sorted.push_back(std::move(g.nodes[i]));
  }
  g.nodes = std::move(sorted);
}

}  // namespace

bool is_shape_operand(const node& n, std::size_t input) {
  static const std::map<std::string_view, std::size_t> first_operand = {{"ConstantOfShape", 0},
                                                                        {"CumSum", 1},
                                                                        {"Expand", 1},
                                                                        {"OneHot", 1},
                                                                        {"Pad", 1},
                                                                        {"Range", 0},
                                                                        {"ReduceL1", 1},
                                                                        {"ReduceL2", 1},
                                                                        {"ReduceLogSum", 1},
                                                                        {"ReduceLogSumExp", 1},
                                                                        {"ReduceMax", 1},
                                                                        {"ReduceMean", 1},
                                                                        {"ReduceMin", 1},
                                                                        {"ReduceProd", 1},
                                                                        {"ReduceSum", 1},
                                                                        {"Reshape", 1},
                                                                        {"Resize", 1},
                                                                        {"Slice", 1},
                                                                        {"Split", 1},
                                                                        {"Squeeze", 1},
                                                                        {"Tile", 1},
                                                                        {"TopK", 1},
                                                                        {"Trilu", 1},
                                                                        {"Unsqueeze", 1},
                                                                        {"Upsample", 1},
                                                                        {"ReduceSumSquare", 1}};
  const auto found = first_operand.find(n.op_type);
  return found != first_operand.end() && input >= found->second;
}

std::vector<bool> find_shape_nodes(const graph& g) {
  std::vector<bool> shape(g.nodes.size(), false);
  std::vector<bool> made(g.values.size(), false);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    if (n.custom || !n.domain.empty() || has_subgraph(n) || runs_as_operation(n, g)) continue;
    const bool small = std::all_of(n.outputs.begin(), n.outputs.end(), [&](value_id v) {
      return v == no_value || (g.values[v].shape && g.values[v].shape->size() <= 1);
    });
    const bool from_shapes =
        !n.inputs.empty() && std::all_of(n.inputs.begin(), n.inputs.end(), [&](value_id v) {
          return v == no_value || made[v] || g.values[v].constant;
        });
    shape[i] = is_shape_query(n) || (small && from_shapes);
    for (const value_id v : n.outputs) {
      if (v != no_value) made[v] = shape[i];
    }
  }
  return shape;
}

std::vector<bool> find_operand_nodes(const graph& g, const std::vector<bool>& shape_nodes,
                                     const std::function<bool(const node&)>& supported) {
  std::vector<bool> host(g.nodes.size(), false);
  std::vector<bool> needed(g.values.size(), false);
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const node& n = g.nodes[i];
    host[i] = !shape_nodes[i] && std::any_of(n.outputs.begin(), n.outputs.end(), [&](value_id v) {
      return v != no_value && needed[v];
    });
    const bool takes_operands = !host[i] && supported(n);
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      const value_id v = n.inputs[k];
      if (v == no_value) continue;
      const element_type t = g.values[v].type;
      const bool counts = t == element_type::int64 || t == element_type::int32;
      if ((host[i] && counts) || (takes_operands && is_shape_operand(n, k))) needed[v] = true;
    }
  }
  return host;
}

std::vector<bool> find_planned_values(const graph& g, bool is_body) {
  const auto is_integer = [](element_type t) {
    return t == element_type::int64 || t == element_type::int32 || t == element_type::boolean;
  };
  std::vector<bool> planned(g.values.size(), false);
  for (std::size_t i = is_body ? g.formal_inputs() : 0; i < g.inputs.size(); ++i) {
    const value& in = g.values[g.inputs[i]];
    planned[g.inputs[i]] = is_integer(in.type) && in.shape && in.shape->size() <= 1;
  }
  for (std::size_t v = 0; v < planned.size(); ++v) {
    if (g.values[v].constant) planned[v] = true;
  }
  for (const node& n : g.nodes) {
    bool all = !n.inputs.empty() && !n.custom && !has_subgraph(n) && !runs_as_operation(n, g);
    for (const value_id v : n.inputs) all = all && (v == no_value || planned[v]);
    if (!all && !is_shape_query(n)) continue;
    for (const value_id v : n.outputs) {
      if (v != no_value) planned[v] = true;
    }
  }
  return planned;
}

partition find_parts(const graph& g, const std::vector<bool>& shape_nodes,
                     const std::function<bool(const node&)>& supported,
                     const std::function<bool(const node&)>& worth) {
  std::vector<bool> on(g.nodes.size(), false);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) on[i] = !shape_nodes[i] && supported(g.nodes[i]);
  for (;;) {
    const leveller levels(g, shape_nodes, on);
    std::map<std::size_t, bool> is_worth;  // by level
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      if (!on[i]) continue;
      bool& any = is_worth.try_emplace(levels.level(i), false).first->second;
      any = any || worth(g.nodes[i]);
    }
    bool dropped = false;
    for (std::size_t i = 0; i < g.nodes.size() && is_worth.size() > 1; ++i) {
      if (!on[i] || is_worth.at(levels.level(i))) continue;
      on[i] = false;
      dropped = true;
    }
    if (dropped) continue;
    partition result{std::vector<std::size_t>(g.nodes.size(), partition::none), is_worth.size()};
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
      if (!on[i]) continue;
      result.part[i] =
          static_cast<std::size_t>(std::distance(is_worth.begin(), is_worth.find(levels.level(i))));
    }
    return result;
  }
}

void replace_parts(graph& g, const std::vector<bool>& shape_nodes, const partition& parts) {
  const graph_index index(g);
  std::vector<part_builder> builders(parts.count, part_builder(g, index, shape_nodes));
  std::vector<std::vector<std::size_t>> members(parts.count);
  // What stays: nodes of the host, and the shape nodes that they and the outputs need.
  std::vector<bool> gone(g.nodes.size(), false);
  std::vector<bool> used(g.values.size(), false);
  for (const value_id v : g.outputs) used[v] = true;
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const node& n = g.nodes[i];
    const bool wanted = std::any_of(n.outputs.begin(), n.outputs.end(),
                                    [&](value_id v) { return v != no_value && used[v]; });
    gone[i] = parts.part[i] != partition::none || (shape_nodes[i] && !wanted);
    if (gone[i]) continue;
    for (const value_id v : n.inputs) {
      if (v != no_value) used[v] = true;
    }
  }
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (parts.part[i] == partition::none) continue;
    builders[parts.part[i]].add(i);
    members[parts.part[i]].push_back(i);
  }
  // Outputs of a part are what the host uses, and the inputs of other parts.
  for (const part_builder& b : builders) {
    for (const value_id v : b.inputs()) used[v] = true;
  }
  std::vector<node> made;
  for (std::size_t p = 0; p < parts.count; ++p) {
    made.push_back(builders[p].finish(p, members[p], [&](value_id v) { return used[v]; }));
  }
  erase_nodes(g, gone);
  for (node& n : made) g.nodes.push_back(std::move(n));
  sort_nodes(g);
}

bool assign_parts(graph& g, pass_context& context) {
  const part_compiler* const device = context.host.parts();
  if (device == nullptr) return false;
  std::vector<bool> shape_nodes = find_shape_nodes(g);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    // Quantised weights go with who uses them as well.
    shape_nodes[i] = shape_nodes[i] || is_dequantised_constant(g, g.nodes[i], *device);
  }
  const std::vector<bool> planned = find_planned_values(g, !context.prefix.empty());
  const auto supported = [&](const node& n) {
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      if (n.inputs[k] != no_value && is_shape_operand(n, k) && !planned[n.inputs[k]]) return false;
    }
    return !n.custom && n.post_ops.empty() && !has_subgraph(n) && !runs_as_operation(n, g) &&
           device->supports(g, n);
  };
  const std::vector<bool> host = find_operand_nodes(g, shape_nodes, supported);
  const auto on_device = [&](const node& n) {
    return !host[static_cast<std::size_t>(&n - g.nodes.data())] && supported(n);
  };
  const partition parts = find_parts(g, shape_nodes, on_device, is_worth_it);
  if (parts.count == 0) return false;
  replace_parts(g, shape_nodes, parts);
  return true;
}

}  // namespace mizzen::inference::detail
