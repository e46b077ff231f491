// A pointwise convolution and the depthwise one behind it become one node where what lies between
// them is large:
//
//   mizzen.PointwiseDepthwiseConv(x, weights, bias?, depthwise weights, depthwise bias?)
//
// over channels that lie last. The attributes are those of the depthwise one; "bounds", where it is
// there, clamps what lies between.
#include "inference/graph/channels_last.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// Below this many floats the value stays in a cache anyway, and short lines make small tiles.
constexpr std::int64_t least_floats = std::int64_t{64} << 10;
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
  return w[2] == 1 && w[3] == 1 && n.attributes.get_int("group", 1) == 1 &&
         all_are(n, "strides", 1) && all_are(n, "pads", 0);
}

bool is_depthwise(const graph& g, const node& n) {
  const shape_type& w = g.values[n.inputs[1]].constant->shape();
  const bool unary = std::all_of(n.post_ops.begin(), n.post_ops.end(),
                                 [](const post_op& op) { return op.input < 0; });
  return unary && w[1] == 1 && n.attributes.get_int("group", 1) == w[0];
}

bool is_large(const value& v) {
  if (!v.shape) return false;
  std::int64_t floats = 1;
  for (std::size_t i = 1; i < v.shape->size(); ++i) {
    const std::int64_t d = (*v.shape)[i];
    if (d <= 0 || d > max_dimension / floats) return false;
    floats *= d;
  }
  return floats >= least_floats && (*v.shape)[2] >= least_width;
}

// The bounds of a convolution's output: empty for none; nothing where it is another function.
std::optional<std::vector<float>> bounds_of(const node& n) {
  if (n.post_ops.empty()) return std::vector<float>{};
  if (n.post_ops.size() > 1) return std::nullopt;
  const post_op& op = n.post_ops.front();
  if (op.kind == post_op_kind::relu) {
    return std::vector<float>{0.0F, std::numeric_limits<float>::infinity()};
  }
  if (op.kind == post_op_kind::clip) return std::vector<float>{op.alpha, op.beta};
  return std::nullopt;
}

value_id input_or_none(const node& n, std::size_t i) {
  return n.inputs.size() > i ? n.inputs[i] : no_value;
}

}  // namespace

bool fuse_strips(graph& g, pass_context& /*context*/) {
  const graph_index index(g);
  std::vector<bool> dead(g.nodes.size(), false);
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    node& second = g.nodes[i];
    if (!is_picture_conv(g, second) || !is_depthwise(g, second)) continue;
    const value_id between = second.inputs[0];
    const std::size_t from = index.producer[between];
    if (from == graph_index::none || !index.single_use(between)) continue;
    const node& first = g.nodes[from];
    if (!is_picture_conv(g, first) || !is_pointwise(g, first)) continue;
    const auto bounds = bounds_of(first);
    if (!bounds || !is_large(g.values[between])) continue;
    second.domain = "mizzen";
    second.op_type = "PointwiseDepthwiseConv";
    second.inputs = {first.inputs[0], first.inputs[1], input_or_none(first, 2), second.inputs[1],
                     input_or_none(second, 2)};
    if (!bounds->empty()) second.attributes.set("bounds", *bounds);
    dead[from] = true;
    changed = true;
  }
  erase_nodes(g, dead);
  return changed;
}

}  // namespace mizzen::inference::detail
