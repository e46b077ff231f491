#include "inference/graph/constant_memory.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace mizzen::inference::detail {
namespace {

// y = scale[c] * x + shift[c] for each output channel c.
struct channel_affine {
  std::vector<double> scale, shift;
};

const tensor* float_constant(const graph& g, value_id v) {
  if (v == no_value || !g.values[v].constant) return nullptr;
  const tensor& t = *g.values[v].constant;
  return t.type() == element_type::float32 ? &t : nullptr;
}

// A constant that has one element, or one for each channel of [N, C, spatial...], widened to all
// channels.
std::optional<std::vector<double>> per_channel(const tensor& t, std::size_t channels,
                                               std::size_t rank) {
  if (t.size() != 1 && t.size() != channels) return std::nullopt;
  if (t.rank() > rank) return std::nullopt;
  for (std::size_t i = 0; i < t.rank(); ++i) {
    const bool is_channel = i + rank - t.rank() == 1;
    if (t.shape()[i] != 1 && !is_channel) return std::nullopt;
  }
  const auto data = t.data<float>();
  std::vector<double> values(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    values[c] = static_cast<double>(data[data.size() == 1 ? 0 : c]);
  }
  return values;
}

std::optional<channel_affine> of_batch_norm(const graph& g, const node& n, std::size_t channels) {
  if (n.outputs.size() != 1 || n.attributes.get_int("training_mode", 0) != 0) return std::nullopt;
  const double epsilon = static_cast<double>(n.attributes.get_float("epsilon", 1e-5F));
  const tensor* parameters[4];
  for (std::size_t i = 0; i < 4; ++i) {
    parameters[i] = float_constant(g, n.inputs[i + 1]);
    if (parameters[i] == nullptr || parameters[i]->size() != channels) return std::nullopt;
  }
  channel_affine result{std::vector<double>(channels), std::vector<double>(channels)};
  for (std::size_t c = 0; c < channels; ++c) {
    const auto at = [&](std::size_t i) {
      return static_cast<double>(parameters[i]->data<float>()[c]);
    };
    result.scale[c] = at(0) / std::sqrt(at(3) + epsilon);
    result.shift[c] = at(1) - at(2) * result.scale[c];
    if (!std::isfinite(result.scale[c]) || !std::isfinite(result.shift[c])) return std::nullopt;
  }
  return result;
}

// What the node does to the convolution's output, if it is the same for a whole channel.
std::optional<channel_affine> affine_of(const graph& g, const node& n, value_id conv_output,
                                        std::size_t channels, std::size_t rank) {
  if (!n.domain.empty() || !n.post_ops.empty()) return std::nullopt;
  if (n.op_type == "BatchNormalization") return of_batch_norm(g, n, channels);
  if (n.op_type != "Add" && n.op_type != "Mul") return std::nullopt;
  const tensor* t = float_constant(g, n.inputs[n.inputs[0] == conv_output ? 1 : 0]);
  if (t == nullptr) return std::nullopt;
  auto values = per_channel(*t, channels, rank);
  if (!values) return std::nullopt;
  channel_affine result{std::vector<double>(channels, 1.0), std::vector<double>(channels, 0.0)};
  (n.op_type == "Mul" ? result.scale : result.shift) = std::move(*values);
  return result;
}

// Where the output channels stand among the dimensions of a convolution's weights, if a factor can
// go into them.
std::optional<std::size_t> channel_axis(const node& n) {
  if (n.op_type == "Conv") return 0;
  if (n.op_type == "ConvTranspose" && n.attributes.get_int("group", 1) == 1) return 1;
  return std::nullopt;
}

void apply(graph& g, node& conv, const channel_affine& affine) {
  const tensor& weights = *g.values[conv.inputs[1]].constant;
  const std::size_t channels = affine.scale.size();
  const std::size_t outer =
      *channel_axis(conv) == 0 ? 1 : static_cast<std::size_t>(weights.shape()[0]);
  const std::size_t each =
      channels == 0 ? 0 : weights.size() / channels / std::max<std::size_t>(outer, 1);
  tensor new_weights = make_constant(weights.type(), weights.shape());
  tensor new_bias(element_type::float32, {static_cast<std::int64_t>(channels)});
  const auto from = weights.data<float>();
  const auto w = new_weights.data<float>();
  const auto b = new_bias.data<float>();
  const bool had_bias = conv.inputs.size() > 2;
  for (std::size_t at = 0; at < w.size(); at += each) {
    const double scale = affine.scale[at / each % channels];
    for (std::size_t i = at; i < at + each; ++i) {
      w[i] = static_cast<float>(static_cast<double>(from[i]) * scale);
    }
  }
  for (std::size_t c = 0; c < channels; ++c) {
    const double bias =
        had_bias ? static_cast<double>(g.values[conv.inputs[2]].constant->data<float>()[c]) : 0.0;
    b[c] = static_cast<float>(bias * affine.scale[c] + affine.shift[c]);
  }
  const std::string name = g.values[conv.outputs[0]].name;
  conv.inputs[1] = add_constant(g, name + ".weights", std::move(new_weights));
  if (!had_bias) conv.inputs.push_back(no_value);
  conv.inputs[2] = add_constant(g, name + ".bias", std::move(new_bias));
}

}  // namespace

bool fold_into_conv(graph& g, pass_context& /*context*/) {
  const graph_index index(g);
  std::vector<bool> dead(g.nodes.size(), false);
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    node& conv = g.nodes[i];
    if (!conv.domain.empty() || !conv.post_ops.empty()) continue;
    const auto axis = channel_axis(conv);
    if (!axis) continue;
    const tensor* weights = float_constant(g, conv.inputs[1]);
    if (weights == nullptr) continue;
    if (conv.inputs.size() > 2 && float_constant(g, conv.inputs[2]) == nullptr) continue;
    const auto channels = static_cast<std::size_t>(weights->shape()[*axis]);
    // Follows the chain behind the convolution as long as it folds.
    for (;;) {
      const value_id out = conv.outputs[0];
      if (out >= index.is_output.size() || !index.single_use(out)) break;
      const std::size_t next = index.consumers[out][0];
      const auto affine = affine_of(g, g.nodes[next], out, channels, weights->rank());
      if (!affine) break;
      apply(g, conv, *affine);
      weights = g.values[conv.inputs[1]].constant.get();
      conv.outputs[0] = g.nodes[next].outputs[0];
      dead[next] = true;
      changed = true;
    }
  }
  erase_nodes(g, dead);
  return changed;
}

}  // namespace mizzen::inference::detail
