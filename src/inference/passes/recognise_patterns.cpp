#include "inference/passes/matcher.hpp"
#include "inference/passes/passes.hpp"

#include <cmath>
#include <numbers>
#include <optional>
#include <utility>

namespace mizzen::inference::detail {
namespace {

bool is_float(const graph& g, value_id v) { return g.values[v].type == element_type::float32; }

// 1 + erf(x / sqrt 2) -> x
value_id match_erf_term(const matcher& m, value_id v) {
  const value_id erf_out = m.beside_scalar(m.made_by(v, "Add"), 1.0);
  const node* erf = m.made_by(erf_out, "Erf");
  if (erf == nullptr) return no_value;
  const value_id divided =
      m.beside_scalar(m.made_by(erf->inputs[0], "Div"), std::numbers::sqrt2, false);
  if (divided != no_value) return divided;
  return m.beside_scalar(m.made_by(erf->inputs[0], "Mul"), 1.0 / std::numbers::sqrt2);
}

// x * 0.5 * (1 + erf(x / sqrt 2)) in any order of the products -> x
value_id match_gelu(const matcher& m, const node& n) {
  if (n.op_type != "Mul") return no_value;
  // 0.5 * (x * term)
  if (const node* inner = m.made_by(m.beside_scalar(&n, 0.5), "Mul")) {
    for (const auto& [x, term] : matcher::operands(*inner)) {
      if (match_erf_term(m, term) == x) return x;
    }
  }
  for (const auto& [a, b] : matcher::operands(n)) {
    // (0.5 * x) * term
    if (const value_id x = m.beside_scalar(m.made_by(a, "Mul"), 0.5);
        x != no_value && match_erf_term(m, b) == x) {
      return x;
    }
    // x * (0.5 * term)
    if (const value_id term = m.beside_scalar(m.made_by(b, "Mul"), 0.5);
        term != no_value && match_erf_term(m, term) == a) {
      return a;
    }
  }
  return no_value;
}

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

// True if the node is the mean over the last dimension of its first input, which is kept.
bool is_mean_over_last(const graph& g, const node* n) {
  if (n == nullptr || n->attributes.get_int("keepdims", 1) == 0) return false;
  std::vector<std::int64_t> axes = n->attributes.get_ints("axes");
  if (n->inputs.size() > 1) {
    const auto& constant = g.values[n->inputs[1]].constant;
    if (!constant || constant->type() != element_type::int64) return false;
    axes.assign(constant->data<std::int64_t>().begin(), constant->data<std::int64_t>().end());
  }
  if (axes.size() != 1) return false;
  const auto& shape = g.values[n->inputs[0]].shape;
  return axes[0] == -1 || (shape && axes[0] == static_cast<std::int64_t>(shape->size()) - 1);
}

struct layer_norm {
  value_id x, scale, bias;
  float epsilon;
};

// (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias, over the last dimension.
std::optional<layer_norm> match_layer_norm(const matcher& m, const node& n) {
  if (n.op_type != "Add") return std::nullopt;
  const graph& g = m.g();
  const auto is_vector = [&](value_id v) {
    return v != no_value && g.values[v].constant && g.values[v].constant->rank() == 1 &&
           g.values[v].type == element_type::float32;
  };
  for (const auto& [product, bias] : matcher::operands(n)) {
    const node* mul = m.made_by(product, "Mul");
    if (mul == nullptr || !is_vector(bias)) continue;
    for (const auto& [quotient, scale] : matcher::operands(*mul)) {
      const node* div = m.made_by(quotient, "Div");
      if (div == nullptr || !is_vector(scale)) continue;
      const node* centred = m.made_by(div->inputs[0], "Sub");
      const node* root = m.made_by(div->inputs[1], "Sqrt");
      if (centred == nullptr || root == nullptr) continue;
      const value_id x = centred->inputs[0];
      const node* mean = m.made_by(centred->inputs[1], "ReduceMean");
      if (!is_mean_over_last(g, mean) || mean->inputs[0] != x) continue;
      const node* sum = m.made_by(root->inputs[0], "Add");
      if (sum == nullptr) continue;
      for (const auto& [variance, eps] : matcher::operands(*sum)) {
        const auto epsilon = constant_scalar(g, eps);
        const node* second = m.made_by(variance, "ReduceMean");
        if (!epsilon || !is_mean_over_last(g, second)) continue;
        const value_id square = second->inputs[0];
        const node* pow = m.made_by(square, "Pow");
        const node* self = m.made_by(square, "Mul");
        const value_id c = div->inputs[0];
        const bool squared =
            (pow != nullptr && pow->inputs[0] == c && m.is_scalar(pow->inputs[1], 2.0)) ||
            (self != nullptr && self->inputs[0] == c && self->inputs[1] == c);
        const auto& shape = g.values[x].shape;
        if (!squared || !shape || shape->empty()) continue;
        const std::int64_t size = shape->back();
        if (size < 0 || g.values[scale].constant->shape()[0] != size ||
            g.values[bias].constant->shape()[0] != size) {
          continue;
        }
        return layer_norm{x, scale, bias, *epsilon};
      }
    }
  }
  return std::nullopt;
}

}  // namespace

bool recognise_patterns(graph& g, pass_context& /*context*/) {
  bool changed = false;
  // Found first, applied after: the matcher's index stays valid meanwhile.
  std::vector<std::pair<std::size_t, node>> found;
  const matcher m(g);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const node& n = g.nodes[i];
    if (!n.domain.empty() || !n.post_ops.empty() || n.outputs.size() != 1) continue;
    if (n.op_type != "Mul" && n.op_type != "Div" && n.op_type != "Add") continue;
    if (n.inputs.size() != 2 || !is_float(g, n.outputs[0])) continue;
    node replacement;
    replacement.name = n.name;
    replacement.outputs = n.outputs;
    if (const value_id gelu = match_gelu(m, n); gelu != no_value) {
      replacement.op_type = "Gelu";
      replacement.opset = 20;
      replacement.inputs = {gelu};
    } else if (const value_id swish = match_hard_swish(m, n); swish != no_value) {
      replacement.op_type = "HardSwish";
      replacement.opset = 14;
      replacement.inputs = {swish};
    } else if (const auto norm = match_layer_norm(m, n)) {
      replacement.op_type = "LayerNormalization";
      replacement.opset = 17;
      replacement.inputs = {norm->x, norm->scale, norm->bias};
      replacement.attributes.set("axis", std::int64_t{-1});
      replacement.attributes.set("epsilon", norm->epsilon);
    } else {
      continue;
    }
    found.emplace_back(i, std::move(replacement));
  }
  for (auto& [i, replacement] : found) {
    g.nodes[i] = std::move(replacement);
    changed = true;
  }
  return changed;
}

}  // namespace mizzen::inference::detail
