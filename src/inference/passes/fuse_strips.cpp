// A depthwise convolution, the one before it and the one behind it become one node,
// mizzen.ConvStrip (graph/strip.hpp), where what lies between them is large.
#include "inference/graph/channels_last.hpp"
#include "inference/graph/strip.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Below so many floats a value stays in a cache anyway, and short lines make small tiles. A tail
// keeps threads from sharing out channels: it must save more. Weights are read anew for each line.
constexpr std::int64_t least_floats = std::int64_t{64} << 10;
constexpr std::int64_t least_floats_before_tail = std::int64_t{96} << 10;
constexpr std::size_t most_weights = std::size_t{64} << 10;
constexpr std::int64_t least_width = 14;

bool all_are(const node& n, const char* attribute, std::int64_t value) {
  const auto list = n.attributes.get_ints(attribute);
  return std::all_of(list.begin(), list.end(), [&](std::int64_t i) { return i == value; });
}

bool is_picture_conv(const graph& g, const node& n) {
  return n.domain == channels_last_domain && n.op_type == "Conv" &&
         g.values[n.inputs[1]].constant->rank() == 4;
}

bool is_pointwise(const graph& g, const node& n) {
  const shape_type& w = g.values[n.inputs[1]].constant->shape();
  return !has_planes(n) && w[2] == 1 && w[3] == 1 && n.attributes.get_int("group", 1) == 1 &&
         all_are(n, "strides", 1) && all_are(n, "pads", 0);
}

bool is_depthwise(const graph& g, const node& n) {
  const shape_type& w = g.values[n.inputs[1]].constant->shape();
  return !has_planes(n) && w[1] == 1 && n.attributes.get_int("group", 1) == w[0];
}

bool has_operand(const node& n) {
  return std::any_of(n.post_ops.begin(), n.post_ops.end(),
                     [](const post_op& op) { return op.input >= 0; });
}

bool is_large(const value& v, std::int64_t least) {
  if (!v.shape) return false;
  std::int64_t floats = 1;
  for (std::size_t i = 1; i < v.shape->size(); ++i) {
    const std::int64_t d = (*v.shape)[i];
    if (d <= 0 || d > max_dimension / floats) return false;
    floats *= d;
  }
  return floats >= least && (*v.shape)[2] >= least_width;
}

bool has_small_weights(const graph& g, const node& n) {
  return g.values[n.inputs[1]].constant->size() <= most_weights;
}

value_id input_or_none(const node& n, std::size_t i) {
  return n.operator_inputs() > i ? n.inputs[i] : no_value;
}

class strip_pass {
 public:
  explicit strip_pass(graph& g) : g_(g), index_(g), dead_(g.nodes.size(), false) {}

  bool run() {
    bool changed = false;
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
      if (dead_[i] || !is_picture_conv(g_, g_.nodes[i]) || !is_depthwise(g_, g_.nodes[i])) continue;
      const std::size_t head = head_of(g_.nodes[i]);
      const std::size_t tail = tail_of(g_.nodes[i]);
      if (head == graph_index::none && tail == graph_index::none) continue;
      fuse(i, head, tail);
      changed = true;
    }
    erase_nodes(g_, dead_);
    return changed;
  }

 private:
  std::size_t head_of(const node& depthwise) const {
    const value_id between = depthwise.inputs[0];
    const std::size_t from = index_.producer[between];
    if (from == graph_index::none || dead_[from] || !index_.single_use(between)) {
      return graph_index::none;
    }
    const node& n = g_.nodes[from];
    const bool fits = is_picture_conv(g_, n) && !has_operand(n) &&
                      (is_pointwise(g_, n) || has_planes(n)) && has_small_weights(g_, n) &&
                      is_large(g_.values[between], least_floats);
    return fits ? from : graph_index::none;
  }

  std::size_t tail_of(const node& depthwise) const {
    const value_id made = depthwise.outputs[0];
    if (has_operand(depthwise) || !index_.single_use(made)) return graph_index::none;
    const std::size_t next = index_.consumers[made][0];
    const node& n = g_.nodes[next];
    const bool fits = is_picture_conv(g_, n) && n.inputs[0] == made && is_pointwise(g_, n) &&
                      has_small_weights(g_, n) &&
                      is_large(g_.values[made], least_floats_before_tail);
    return fits ? next : graph_index::none;
  }

  // The node stands where the last of the three stood: all that it reads is there by then.
  void fuse(std::size_t at, std::size_t head, std::size_t tail) {
    const node depthwise = g_.nodes[at];
    node strip = depthwise;
    strip.domain = "mizzen";
    strip.op_type = "ConvStrip";
    strip.inputs = {depthwise.inputs[0],         no_value, no_value, depthwise.inputs[1],
                    input_or_none(depthwise, 2), no_value, no_value};
    if (head != graph_index::none) {
      const node& n = g_.nodes[head];
      strip.inputs[0] = n.inputs[0];
      strip.inputs[1] = n.inputs[1];
      strip.inputs[2] = input_or_none(n, 2);
      for (const auto& [name, value] : n.attributes) strip.attributes.set("head." + name, value);
      if (!n.post_ops.empty()) strip.attributes.set("head.steps", to_numbers(n.post_ops));
      dead_[head] = true;
    }
    const node& last = tail == graph_index::none ? depthwise : g_.nodes[tail];
    if (tail != graph_index::none) {
      strip.inputs[5] = last.inputs[1];
      strip.inputs[6] = input_or_none(last, 2);
      if (!depthwise.post_ops.empty())
        strip.attributes.set("steps", to_numbers(depthwise.post_ops));
      strip.name = last.name;
      strip.outputs = last.outputs;
      strip.post_ops = last.post_ops;
      dead_[at] = true;
    }
    for (post_op& op : strip.post_ops) {
      if (op.input < 0) continue;
      strip.inputs.push_back(last.inputs[static_cast<std::size_t>(op.input)]);
      op.input = static_cast<int>(strip.inputs.size()) - 1;
    }
    g_.nodes[tail == graph_index::none ? at : tail] = std::move(strip);
  }

  graph& g_;
  graph_index index_;
  std::vector<bool> dead_;
};

}  // namespace

bool fuse_strips(graph& g, pass_context& /*context*/) { return strip_pass(g).run(); }

}  // namespace mizzen::inference::detail
