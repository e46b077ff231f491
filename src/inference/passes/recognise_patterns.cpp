#include "inference/graph/channels_last.hpp"
#include "inference/passes/passes.hpp"
#include "inference/passes/patterns.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

bool is_float(const graph& g, value_id v) { return g.values[v].type == element_type::float32; }

// clip(x + 3, 0, 6) -> x
value_id match_relu6_of_shifted(const matcher& m, value_id v) {
  const node* clip = m.made_by(v, "Clip");
  if (clip == nullptr) return no_value;
  const auto bound = [&](std::size_t i, std::string_view name, float wanted) {
    if (clip->inputs.size() > i) {
      const auto c = constant_scalar(m.g(), clip->inputs[i]);
      return c && *c == wanted;
    }
    return clip->attributes.has(name) && clip->attributes.get_float(name, 0.0F) == wanted;
  };
  if (!bound(1, "min", 0.0F) || !bound(2, "max", 6.0F)) return no_value;
  return m.beside_scalar(m.made_by(clip->inputs[0], "Add"), 3.0);
}

// x * clip(x + 3, 0, 6) / 6 in both orders, or x * hard_sigmoid(x, 1/6, 0.5) -> x
value_id match_hard_swish(const matcher& m, const node& n) {
  value_id product = no_value;
  if (n.op_type == "Div") product = m.beside_scalar(&n, 6.0, false);
  if (n.op_type == "Mul") product = m.beside_scalar(&n, 1.0 / 6.0);
  if (const node* mul = m.made_by(product, "Mul")) {
    for (const auto& [x, gate] : matcher::operands(*mul)) {
      if (match_relu6_of_shifted(m, gate) == x) return x;
    }
  }
  if (n.op_type != "Mul") return no_value;
  for (const auto& [x, gate] : matcher::operands(n)) {
    if (const node* div = m.made_by(gate, "Div")) {
      const value_id clip = m.beside_scalar(div, 6.0, false);
      if (clip != no_value && match_relu6_of_shifted(m, clip) == x) return x;
    }
    const node* hs = m.made_by(gate, "HardSigmoid");
    if (hs != nullptr && hs->inputs[0] == x &&
        std::abs(hs->attributes.get_float("alpha", 0.2F) - 1.0F / 6.0F) < 1e-5F &&
        hs->attributes.get_float("beta", 0.5F) == 0.5F) {
      return x;
    }
  }
  return no_value;
}

// A constant as a vector.
value_id flat(graph& g, value_id v) {
  const tensor& given = *g.values[v].constant;
  if (given.rank() == 1) return v;
  const auto size = static_cast<std::int64_t>(given.size());
  return add_constant(g, g.values[v].name, tensor::copy(given.data<float>(), {size}));
}

value_id filled(graph& g, const std::string& name, std::int64_t size, float with) {
  tensor t(element_type::float32, {size});
  for (float& e : t.data<float>()) e = with;
  return add_constant(g, name, std::move(t));
}

value_id add_result(graph& g, const std::string& name, value_id like) {
  value v;
  v.name = name;
  v.type = g.values[like].type;
  v.shape = g.values[like].shape;
  return g.add_value(std::move(v));
}

node binary(const node& n, const char* op_type, value_id a, value_id b, value_id y) {
  node made;
  made.name = n.name;
  made.op_type = op_type;
  made.opset = 14;
  made.inputs = {a, b};
  made.outputs = {y};
  return made;
}

// The last two of three dimensions change places.
node swapped(graph& g, const node& n, value_id x, const std::string& name) {
  node made;
  made.name = n.name;
  made.op_type = "Transpose";
  made.opset = 13;
  made.inputs = {x};
  made.attributes.set("perm", std::vector<std::int64_t>{0, 2, 1});
  const value_id y = add_result(g, name, x);
  std::swap((*g.values[y].shape)[1], (*g.values[y].shape)[2]);
  made.outputs = {y};
  return made;
}

// The nodes that stand for a norm over the last dimension or, of three, over the second. A device
// of parts, which transposes for nothing, gets operators that it has for the latter.
std::vector<node> nodes_of(graph& g, const node& n, const layer_norm_match& norm, bool for_parts) {
  const dims x = *g.values[norm.x].shape;
  node made;
  made.name = n.name;
  made.attributes.set("epsilon", norm.epsilon);
  if (norm.axis + 1 == x.size()) {
    made.op_type = "LayerNormalization";
    made.opset = 17;
    made.inputs = {norm.x, flat(g, norm.scale), flat(g, norm.bias)};
    made.outputs = n.outputs;
    made.attributes.set("axis", std::int64_t{-1});
    return {made};
  }
  if (x.size() != 3 || norm.axis != 1 || x[for_parts ? 1 : 2] < 1) return {};
  // Seen as channels that lie last, each is normalised over its pixels.
  const value_id y = n.outputs[0];
  const value_id normal = add_result(g, g.values[y].name + ".normal", y);
  const value_id scaled = add_result(g, g.values[y].name + ".scaled", y);
  const auto scale_and_shift = [&] {
    return std::pair{binary(n, "Mul", normal, norm.scale, scaled),
                     binary(n, "Add", scaled, norm.bias, y)};
  };
  if (for_parts) {
    const std::string& name = g.values[y].name;
    const node in = swapped(g, n, norm.x, name + ".rows");
    made.op_type = "LayerNormalization";
    made.opset = 17;
    made.inputs = {in.outputs[0], filled(g, n.name + ".ones", x[1], 1)};
    made.attributes.set("axis", std::int64_t{-1});
    made.outputs = {add_result(g, name + ".normal_rows", in.outputs[0])};
    node back = swapped(g, n, made.outputs[0], name + ".unused");
    back.outputs = {normal};
    auto [mul, add] = scale_and_shift();
    return {in, made, back, std::move(mul), std::move(add)};
  }
  made.op_type = "InstanceNormalization";
  made.domain = channels_last_domain;
  made.opset = 6;
  made.inputs = {norm.x, filled(g, n.name + ".ones", x[2], 1),
                 filled(g, n.name + ".zeros", x[2], 0)};
  made.outputs = {normal};
  auto [mul, add] = scale_and_shift();
  return {made, std::move(mul), std::move(add)};
}

}  // namespace

bool recognise_patterns(graph& g, pass_context& context) {
  // Found first, applied after: the matcher's index stays valid meanwhile.
  std::vector<std::vector<node>> found(g.nodes.size());
  bool changed = false;
  const matcher m(g);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    if (!n.domain.empty() || !n.post_ops.empty() || n.outputs.size() != 1) continue;
    if (n.op_type != "Mul" && n.op_type != "Div" && n.op_type != "Add") continue;
    if (n.inputs.size() != 2 || !is_float(g, n.outputs[0])) continue;
    node replacement;
    replacement.name = n.name;
    replacement.outputs = n.outputs;
    if (const auto gelu = match_gelu(m, n)) {
      replacement.op_type = "Gelu";
      replacement.opset = 20;
      replacement.inputs = {gelu->x};
      replacement.attributes.set("approximate", std::string(gelu->approximate));
      found[i] = {std::move(replacement)};
    } else if (const value_id swish = match_hard_swish(m, n); swish != no_value) {
      replacement.op_type = "HardSwish";
      replacement.opset = 14;
      replacement.inputs = {swish};
      found[i] = {std::move(replacement)};
    } else if (const auto norm = match_layer_norm(m, n)) {
      found[i] = nodes_of(g, n, *norm, context.host.parts() != nullptr);
    }
    changed = changed || !found[i].empty();
  }
  if (!changed) return false;
  std::vector<node> nodes;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].empty()) found[i].push_back(std::move(g.nodes[i]));
    std::move(found[i].begin(), found[i].end(), std::back_inserter(nodes));
  }
  g.nodes = std::move(nodes);
  return true;
}

}  // namespace mizzen::inference::detail
