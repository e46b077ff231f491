// A convolution over lines is often written as one over pictures with a Squeeze behind it. What
// follows element by element changes places with the Squeeze, and so reaches the convolution.
#include "inference/graph/extents.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

bool equal_shapes(const value& a, const value& b) {
  return a.shape && b.shape && *a.shape == *b.shape &&
         std::find(a.shape->begin(), a.shape->end(), unknown_dim) == a.shape->end();
}

// Which dimensions of its input a Squeeze drops.
std::optional<std::vector<bool>> dropped(const graph& g, const node& n) {
  const auto& shape = g.values[n.inputs[0]].shape;
  if (!shape) return std::nullopt;
  extents axes;
  if (n.inputs.size() > 1 && n.inputs[1] != no_value) {
    const auto& constant = g.values[n.inputs[1]].constant;
    const auto known = constant ? extents_of(*constant) : std::nullopt;
    if (!known) return std::nullopt;
    axes = *known;
  } else if (n.attributes.has("axes")) {
    for (const std::int64_t a : n.attributes.get_ints("axes")) axes.push_back({a, true, a});
  } else {
    return std::nullopt;
  }
  std::vector<bool> drop(shape->size(), false);
  const auto rank = static_cast<std::int64_t>(shape->size());
  for (const extent& e : axes) {
    const std::int64_t axis = e.value < 0 ? e.value + rank : e.value;
    if (axis < 0 || axis >= rank) return std::nullopt;
    drop[static_cast<std::size_t>(axis)] = true;
  }
  return drop;
}

class squeeze_sinker {
 public:
  explicit squeeze_sinker(graph& g) : g_(g), index_(g), producer_(index_.producer) {}

  bool run() {
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
      for (const value_id v : std::vector<value_id>(g_.nodes[i].inputs)) {
        if (v != no_value && v < producer_.size() && producer_[v] != graph_index::none &&
            index_.single_use(v) && sink(producer_[v], v, i)) {
          break;
        }
      }
    }
    return changed_;
  }

 private:
  bool follows_convolution(value_id v) const {
    if (v >= producer_.size()) return std::find(sunk_.begin(), sunk_.end(), v) != sunk_.end();
    if (producer_[v] == graph_index::none || !index_.single_use(v)) return false;
    const node& n = g_.nodes[producer_[v]];
    return n.domain.empty() && (n.op_type == "Conv" || n.op_type == "ConvTranspose");
  }

  // The node changes places with the Squeeze at `from`, which makes v.
  bool sink(std::size_t from, value_id v, std::size_t at) {
    node& squeeze = g_.nodes[from];
    node& n = g_.nodes[at];
    if (!squeeze.domain.empty() || squeeze.op_type != "Squeeze" || !n.domain.empty() ||
        !n.post_ops.empty() || n.outputs.size() != 1 || !follows_convolution(squeeze.inputs[0])) {
      return false;
    }
    const auto drop = dropped(g_, squeeze);
    const value_id y = n.outputs[0];
    if (!drop || g_.values[y].type != element_type::float32) return false;
    if (!takes_squeezed(n, v, *drop)) return false;
    value whole;
    whole.name = g_.values[y].name + ".whole";
    whole.type = element_type::float32;
    const value_id made = g_.add_value(std::move(whole));
    for (value_id& in : n.inputs) {
      if (in == v) in = squeeze.inputs[0];
    }
    squeeze.inputs[0] = made;
    squeeze.outputs[0] = y;
    n.outputs[0] = made;
    std::swap(squeeze, n);
    producer_[y] = at;
    sunk_.push_back(made);
    changed_ = true;
    return true;
  }

  // Whether the node does the same before the Squeeze; a constant operand then has its rank.
  bool takes_squeezed(node& n, value_id v, const std::vector<bool>& drop) {
    static const std::set<std::string_view> unary = {
        "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Swish", "Tanh"};
    static const std::set<std::string_view> binary = {"Add", "Div", "Mul", "Sub"};
    if (n.op_type == "GlobalMaxPool" || n.op_type == "GlobalAveragePool") {
      // It leaves 1 of each dimension that it folds, dropped or not.
      const auto kept = std::count(drop.begin(), drop.end(), false);
      return drop.size() > 2 && !drop[0] && !drop[1] && kept >= 3;
    }
    if (!equal_shapes(g_.values[n.outputs[0]], g_.values[v])) return false;
    if (unary.count(n.op_type) != 0) return true;
    if (binary.count(n.op_type) == 0 || n.inputs[0] == n.inputs[1]) return false;
    value_id& other = n.inputs[n.inputs[0] == v ? 1 : 0];
    const auto& constant = g_.values[other].constant;
    if (!constant) return false;
    other = with_dimensions(other, drop);
    return true;
  }

  value_id with_dimensions(value_id v, const std::vector<bool>& drop) {
    const tensor& given = *g_.values[v].constant;
    if (given.size() == 1 && given.rank() <= 1) return v;
    const auto kept = static_cast<std::size_t>(std::count(drop.begin(), drop.end(), false));
    shape_type shape(kept - given.rank(), 1);
    shape.insert(shape.end(), given.shape().begin(), given.shape().end());
    for (std::size_t i = 0; i < drop.size(); ++i) {
      if (drop[i]) shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(i), 1);
    }
    tensor t(given.type(), shape);
    std::memcpy(t.mutable_bytes().data(), given.bytes().data(), given.bytes().size());
    return add_constant(g_, g_.values[v].name, std::move(t));
  }

  graph& g_;
  graph_index index_;
  std::vector<std::size_t> producer_;
  std::vector<value_id> sunk_;  // what stands between the convolution and its Squeeze now
  bool changed_ = false;
};

}  // namespace

bool sink_squeeze(graph& g, pass_context& /*context*/) { return squeeze_sinker(g).run(); }

}  // namespace mizzen::inference::detail
