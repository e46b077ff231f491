#include "inference/passes/passes.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace mizzen::inference::detail {
namespace {

// Post-ops with an operand that one node may carry: kernels keep them in fixed arrays.
constexpr std::size_t most_binary = 4;

// True if an element-wise node keeps the shape of one operand whatever the other one's unknown
// dimensions turn out to be.
bool keeps_shape(const value& whole, const value& operand) {
  if (!whole.shape || !operand.shape || operand.shape->size() > whole.shape->size()) return false;
  const std::size_t shift = whole.shape->size() - operand.shape->size();
  for (std::size_t i = 0; i < operand.shape->size(); ++i) {
    const std::int64_t d = (*operand.shape)[i];
    // Equal names are equal numbers at run time; two unknown dimensions need not be.
    if (d != 1 && (d == unknown_dim || d != (*whole.shape)[i + shift])) return false;
  }
  return true;
}

// Walks back through nodes that keep all dimensions of an input but the last.
class row_history {
 public:
  row_history(const graph& g, const std::vector<std::size_t>& producer)
      : g_(g), producer_(producer) {}

  // True if two values have the same rows whatever their dimensions turn out to be: they come from
  // the same value.
  bool same_rows(value_id a, value_id b) const {
    const std::vector<value_id> of_a = of(a);
    const std::vector<value_id> of_b = of(b);
    return std::any_of(of_a.begin(), of_a.end(), [&](value_id v) {
      return std::find(of_b.begin(), of_b.end(), v) != of_b.end();
    });
  }

 private:
  static constexpr std::size_t longest = 32;

  std::vector<value_id> of(value_id v) const {
    std::vector<value_id> all{v};
    while (all.size() < longest && producer_[v] != graph_index::none) {
      const node& n = g_.nodes[producer_[v]];
      if (n.outputs.empty() || n.outputs[0] != v || !keeps_rows(n)) break;
      v = n.inputs[0];
      all.push_back(v);
    }
    return all;
  }

  // Fused operands are never larger than the output.
  bool keeps_rows(const node& n) const {
    if (n.domain == "mizzen") {
      return n.op_type == "Attention" || n.op_type == "DynamicQuantizedMatMul";
    }
    if (!n.domain.empty()) return false;
    if (n.op_type == "LayerNormalization") return true;
    if (n.op_type != "MatMul" || n.inputs[1] == no_value) return false;
    const auto& weights = g_.values[n.inputs[1]].shape;
    const auto& rows = g_.values[n.inputs[0]].shape;
    return weights && weights->size() == 2 && rows && rows->size() >= 2;
  }

  const graph& g_;
  const std::vector<std::size_t>& producer_;
};

// The post-op that a node is to its input `from`, and the value of its other operand.
struct candidate {
  post_op op;
  value_id operand = no_value;
};

std::optional<candidate> unary_candidate(const graph& g, const node& n) {
  const attribute_map& a = n.attributes;
  using k = post_op_kind;
  if (n.op_type == "Relu") return candidate{{k::relu}};
  if (n.op_type == "LeakyRelu") return candidate{{k::leaky_relu, a.get_float("alpha", 0.01F)}};
  if (n.op_type == "Sigmoid") return candidate{{k::sigmoid}};
  if (n.op_type == "Tanh") return candidate{{k::tanh}};
  if (n.op_type == "HardSwish") return candidate{{k::hard_swish, 1.0F / 6.0F, 0.5F}};
  if (n.op_type == "HardSigmoid") {
    return candidate{{k::hard_sigmoid, a.get_float("alpha", 0.2F), a.get_float("beta", 0.5F)}};
  }
  if (n.op_type == "Gelu") {
    const bool exact = a.get_string("approximate", "none") == "none";
    return candidate{{exact ? k::gelu_erf : k::gelu_tanh}};
  }
  if (n.op_type == "Clip") {
    const auto bound = [&](std::size_t input, std::string_view name, float fallback) {
      if (n.inputs.size() > input && n.inputs[input] != no_value) {
        return constant_scalar(g, n.inputs[input]);
      }
      return std::optional(a.get_float(name, fallback));
    };
    const auto low = bound(1, "min", std::numeric_limits<float>::lowest());
    const auto high = bound(2, "max", std::numeric_limits<float>::max());
    if (low && high) return candidate{{k::clip, *low, *high}};
  }
  return std::nullopt;
}

// True if rows of the same number of columns are added to each other.
bool same_shape(const graph& g, const row_history& history, value_id a, value_id b) {
  const auto& left = g.values[a].shape;
  const auto& right = g.values[b].shape;
  return left && right && left->size() == right->size() && !left->empty() && left->back() >= 0 &&
         left->back() == right->back() && history.same_rows(a, b);
}

std::optional<candidate> as_post_op(const graph& g, const row_history& history, const node& n,
                                    value_id from) {
  if (!n.domain.empty() || !n.post_ops.empty() || n.outputs.size() != 1) return std::nullopt;
  if (g.values[n.outputs[0]].type != element_type::float32) return std::nullopt;
  if (auto unary = unary_candidate(g, n)) return n.inputs[0] == from ? unary : std::nullopt;
  if (n.inputs.size() != 2 || n.inputs[0] == n.inputs[1]) return std::nullopt;
  using k = post_op_kind;
  const bool left = n.inputs[0] == from;
  const value_id other = n.inputs[left ? 1 : 0];
  // A fused operand may be smaller than the output, never larger.
  if (!keeps_shape(g.values[from], g.values[other]) && !same_shape(g, history, from, other)) {
    return std::nullopt;
  }
  const auto scalar = constant_scalar(g, other);
  if (n.op_type == "Add") {
    return scalar ? candidate{{k::scale, 1.0F, *scalar}} : candidate{{k::add}, other};
  }
  if (n.op_type == "Mul") {
    return scalar ? candidate{{k::scale, *scalar, 0.0F}} : candidate{{k::mul}, other};
  }
  if (n.op_type == "Sub" && scalar) {
    return left ? candidate{{k::scale, 1.0F, -*scalar}} : candidate{{k::scale, -1.0F, *scalar}};
  }
  if (n.op_type == "Div" && scalar && left && *scalar != 0.0F) {
    return candidate{{k::scale, 1.0F / *scalar, 0.0F}};
  }
  return std::nullopt;
}

// Two scales after each other are one.
void append(std::vector<post_op>& ops, const post_op& op) {
  if (op.kind == post_op_kind::scale && !ops.empty() && ops.back().kind == post_op_kind::scale) {
    post_op& last = ops.back();
    last.beta = op.alpha * last.beta + op.beta;
    last.alpha *= op.alpha;
    return;
  }
  ops.push_back(op);
}

bool computes_much(const node& n) {
  return n.op_type == "Conv" || n.op_type == "Gemm" || n.op_type == "MatMul" ||
         n.op_type == "ConvTranspose" || n.op_type == "DynamicQuantizedMatMul";
}

}  // namespace

bool fuse_post_ops(graph& g, pass_context& context) {
  const graph_index index(g);
  std::vector<std::size_t> producer = index.producer;
  const row_history history(g, producer);
  std::vector<bool> dead(g.nodes.size(), false);
  bool changed = false;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    node& n = g.nodes[i];
    // Of two nodes that could take it, the one with more to compute hides it better.
    std::optional<candidate> best;
    value_id best_from = no_value;
    bool best_heavy = false;
    for (const value_id v : n.inputs) {
      if (v == no_value || producer[v] == graph_index::none || !index.single_use(v)) continue;
      const node& p = g.nodes[producer[v]];
      if (p.outputs.size() != 1) continue;
      const auto found = as_post_op(g, history, n, v);
      if (!found || (best && (best_heavy || !computes_much(p)))) continue;
      const auto binary = static_cast<std::size_t>(std::count_if(
          p.post_ops.begin(), p.post_ops.end(), [](const post_op& op) { return op.input >= 0; }));
      if (found->operand != no_value && binary >= most_binary) continue;
      if (!context.host.accepts_post_op({p, g, context.host.threads()}, found->op)) continue;
      best = found;
      best_from = v;
      best_heavy = computes_much(p);
    }
    if (!best) continue;
    // The node that computes moves down to where its post-op stood: there all operands exist.
    const std::size_t from = producer[best_from];
    node fused = std::move(g.nodes[from]);
    dead[from] = true;
    if (best->operand != no_value) {
      best->op.input = static_cast<int>(fused.inputs.size());
      fused.inputs.push_back(best->operand);
    }
    append(fused.post_ops, best->op);
    fused.outputs = n.outputs;
    producer[fused.outputs[0]] = i;
    n = std::move(fused);
    changed = true;
  }
  erase_nodes(g, dead);
  return changed;
}

}  // namespace mizzen::inference::detail
