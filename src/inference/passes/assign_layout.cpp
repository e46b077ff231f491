// Convolutions are fastest over pictures whose channels lie last. Each becomes its twin in the
// domain mizzen.channels_last, and what stands between convolutions follows, so that the picture is
// rearranged once where a part of convolutions begins and once where it ends.
#include "inference/graph/channels_last.hpp"
#include "inference/passes/passes.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace mizzen::inference::detail {
namespace {

bool is_elementwise(const node& n) {
  static const std::set<std::string_view> types = {"Abs",
                                                   "Add",
                                                   "Ceil",
                                                   "Celu",
                                                   "Clip",
                                                   "Div",
                                                   "Elu",
                                                   "Erf",
                                                   "Exp",
                                                   "Floor",
                                                   "Gelu",
                                                   "HardSigmoid",
                                                   "HardSwish",
                                                   "LeakyRelu",
                                                   "Log",
                                                   "Max",
                                                   "Mean",
                                                   "Min",
                                                   "Mish",
                                                   "Mul",
                                                   "Neg",
                                                   "PRelu",
                                                   "Pow",
                                                   "Reciprocal",
                                                   "Relu",
                                                   "Round",
                                                   "Selu",
                                                   "Sigmoid",
                                                   "Sign",
                                                   "Softplus",
                                                   "Softsign",
                                                   "Sqrt",
                                                   "Sub",
                                                   "Sum",
                                                   "Swish",
                                                   "Tanh",
                                                   "ThresholdedRelu"};
  return n.domain.empty() && types.count(n.op_type) != 0;
}

bool is_float_constant(const graph& g, value_id v) {
  return g.values[v].constant && g.values[v].type == element_type::float32;
}

class layout_pass {
 public:
  explicit layout_pass(graph& g) : g_(g) {}

  bool run() {
    if (std::none_of(g_.nodes.begin(), g_.nodes.end(), [&](const node& n) { return begins(n); })) {
      return false;
    }
    last_.assign(g_.values.size(), no_value);
    made_.assign(g_.values.size(), true);
    std::vector<node> nodes = std::move(g_.nodes);
    g_.nodes.clear();
    for (node& n : nodes) {
      if (!rewritten(n)) keep(std::move(n));
    }
    for (const value_id v : g_.outputs) plain(v);
    return true;
  }

 private:
  std::size_t rank(value_id v) const {
    const auto& shape = g_.values[v].shape;
    return shape ? shape->size() : 0;
  }
  bool is_picture(value_id v, element_type of = element_type::float32) const {
    return rank(v) >= 3 && rank(v) <= 5 && g_.values[v].type == of;
  }
  bool is_last(value_id v) const { return v < last_.size() && last_[v] != no_value; }

  // A convolution, whose weights can be rearranged while the model is loaded.
  bool begins(const node& n) const {
    if (n.op_type == "QLinearConv") return begins_bytes(n);
    if (!n.domain.empty() || (n.op_type != "Conv" && n.op_type != "ConvTranspose")) return false;
    if (!is_picture(n.inputs[0]) || !is_float_constant(g_, n.inputs[1])) return false;
    const shape_type& weights = g_.values[n.inputs[1]].constant->shape();
    if (weights.size() != rank(n.inputs[0])) return false;
    if (std::any_of(weights.begin(), weights.end(), [](std::int64_t d) { return d < 1; }))
      return false;
    if (n.op_type == "Conv") return true;
    return n.attributes.get_int("group", 1) == 1 && pads_are_given(n);
  }

  // A convolution of bytes.
  bool begins_bytes(const node& n) const {
    if (!n.domain.empty() && n.domain != "mizzen") return false;
    if (!is_picture(n.inputs[0], element_type::uint8)) return false;
    for (std::size_t i = 1; i < n.inputs.size(); ++i) {
      if (n.inputs[i] != no_value && !g_.values[n.inputs[i]].constant) return false;
    }
    const auto at = [&](std::size_t i) -> const tensor& {
      return *g_.values[n.inputs[i]].constant;
    };
    return at(2).type() == element_type::uint8 && at(7).type() == element_type::uint8 &&
           at(1).type() == element_type::float32 && at(6).type() == element_type::float32 &&
           at(4).type() == element_type::float32 && at(3).rank() == rank(n.inputs[0]) &&
           has_int8_weights(at(3), at(5)) && takes_byte_conv(n, at(3).shape());
  }

  // What is done to bytes one by one, or makes bytes of floats and back.
  bool follows_bytes(const node& n) const {
    if (n.op_type == "QuantizeLinear" || n.op_type == "DequantizeLinear") {
      for (std::size_t i = 1; i < n.inputs.size(); ++i) {
        if (n.inputs[i] != no_value && !is_one_element(n.inputs[i])) return false;
      }
      return n.attributes.get_int("block_size", 0) == 0;
    }
    return n.domain == "mizzen" && (n.op_type == "ByteTable" || is_byte_pair(n));
  }
  static bool is_byte_pair(const node& n) {
    return n.domain == "mizzen" && (n.op_type == "QLinearAdd" || n.op_type == "QLinearMul");
  }

  bool follows(const node& n) const {
    if (n.outputs.size() == 1 && follows_bytes(n) && rank(n.outputs[0]) >= 3) {
      return is_last(n.inputs[0]) || (is_byte_pair(n) && is_last(n.inputs[3]));
    }
    if (n.domain.empty() && n.outputs.size() == 1 &&
        is_last(n.inputs.empty() ? no_value : n.inputs[0]) &&
        is_picture(n.outputs[0], element_type::uint8)) {
      return n.op_type == "MaxPool" || n.op_type == "Concat";
    }
    if (!n.domain.empty() || n.outputs.size() != 1 || !is_picture(n.outputs[0])) return false;
    if (is_elementwise(n) || n.op_type == "Concat") {
      return std::any_of(n.inputs.begin(), n.inputs.end(), [&](value_id v) {
        return v != no_value && is_last(v) && rank(v) == rank(n.outputs[0]);
      });
    }
    static const std::set<std::string_view> types = {
        "MaxPool",       "AveragePool",           "GlobalAveragePool",
        "GlobalMaxPool", "InstanceNormalization", "Resize"};
    return types.count(n.op_type) != 0 && is_last(n.inputs[0]);
  }

  bool can_be_operand(value_id v, std::size_t of_rank) const {
    if (v == no_value || is_last(v)) return v == no_value || rank(v) == of_rank;
    if (!g_.values[v].shape) return false;
    return rank(v) == of_rank || is_one_element(v) || (g_.values[v].constant && rank(v) < of_rank);
  }
  bool is_one_element(value_id v) const {
    const auto& shape = g_.values[v].shape;
    return shape &&
           std::all_of(shape->begin(), shape->end(), [](std::int64_t d) { return d == 1; });
  }

  // The node over channels that lie last, if there is one.
  bool rewritten(node& n) {
    const bool starts = begins(n);
    if (!starts && n.domain.empty() && n.op_type == "Transpose") return moved_through(n);
    if (!starts && !follows(n)) return false;
    if (n.op_type == "Resize") return resized(n);
    const std::size_t of_rank = rank(n.outputs[0]);
    const bool bytes = follows_bytes(n);
    const bool elementwise = !bytes && (is_elementwise(n) || n.op_type == "Concat");
    // Other operators take a picture, and then what has no layout.
    const std::size_t own = n.operator_inputs();
    const auto is_operand = [&](std::size_t i) {
      return i == 0 || i >= own || elementwise || (i == 3 && is_byte_pair(n));
    };
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      if (is_operand(i) && !can_be_operand(n.inputs[i], of_rank)) return false;
    }
    if (starts && reads_planes(n)) n.attributes.set("planes", std::int64_t{1});
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      value_id& v = n.inputs[i];
      if (v == no_value) continue;
      v = is_operand(i) && !(i == 0 && has_planes(n)) ? operand(v, of_rank) : plain(v);
    }
    if (!elementwise && !bytes) n.domain = channels_last_domain;
    if (n.op_type == "Concat") {
      n.attributes.set("axis", axis_of(n.attributes.require_int("axis"), of_rank));
    }
    n.outputs[0] = twin(n.outputs[0]);
    emit(std::move(n));
    return true;
  }

  // A convolution over a few planes, as the first one of most networks is.
  bool reads_planes(const node& n) const {
    constexpr std::int64_t most_planes = 4;
    if (n.op_type != "Conv" || !made_[n.inputs[0]]) return false;
    const auto dilations = n.attributes.get_ints("dilations");
    const shape_type& w = g_.values[n.inputs[1]].constant->shape();
    return n.attributes.get_int("group", 1) == 1 && w[1] <= most_planes && w.back() > 1 &&
           (dilations.empty() || dilations.back() == 1);
  }

  // Where a dimension goes.
  static std::int64_t axis_of(std::int64_t axis, std::size_t rank) {
    const auto r = static_cast<std::int64_t>(rank);
    if (axis < 0) axis += r;
    return axis == 0 ? 0 : axis == 1 ? r - 1 : axis - 1;
  }

  // A Resize to the nearest pixel by constant scales or sizes: it takes them in the new order.
  bool resized(node& n) {
    const bool nearest = n.attributes.get_string("mode", "nearest") == "nearest";
    if (!nearest || n.opset < 11 || n.attributes.has("axes") || !n.post_ops.empty()) return false;
    for (std::size_t i = 2; i < n.inputs.size(); ++i) {
      if (n.inputs[i] != no_value && !g_.values[n.inputs[i]].constant) return false;
    }
    const std::size_t of_rank = rank(n.outputs[0]);
    n.inputs[0] = last_[n.inputs[0]];
    if (n.inputs.size() > 1) n.inputs[1] = no_value;  // the region is for another mode
    for (std::size_t i = 2; i < n.inputs.size(); ++i) {
      if (n.inputs[i] == no_value) continue;
      const tensor& given = *g_.values[n.inputs[i]].constant;
      if (given.size() != of_rank) continue;  // none
      const std::size_t element = given.bytes().size() / of_rank;
      tensor moved(given.type(), given.shape());
      const auto perm = channels_to_last(of_rank);
      for (std::size_t d = 0; d < of_rank; ++d) {
        std::memcpy(moved.mutable_bytes().data() + d * element,
                    given.bytes().data() + static_cast<std::size_t>(perm[d]) * element, element);
      }
      n.inputs[i] = constant(g_.values[n.inputs[i]].name, std::move(moved));
    }
    n.outputs[0] = twin(n.outputs[0]);
    emit(std::move(n));
    return true;
  }

  // A Transpose of a picture reads its twin instead.
  bool moved_through(node& n) {
    const value_id from = n.inputs[0];
    if (!is_last(from) || made_[from]) return false;
    auto perm = n.attributes.get_ints("perm");
    if (perm.size() != rank(from)) return false;
    for (std::int64_t& p : perm) p = axis_of(p, rank(from));
    n.inputs[0] = last_[from];
    n.attributes.set("perm", perm);
    emit(std::move(n));
    return true;
  }

  void keep(node&& n) {
    for (const value_id v : n.inputs) {
      if (v != no_value) plain(v);
    }
    emit(std::move(n));
  }

  void emit(node&& n) { g_.nodes.push_back(std::move(n)); }

  value_id add(value v) { return made_here(g_.add_value(std::move(v))); }
  value_id constant(std::string name, tensor t) {
    return made_here(add_constant(g_, std::move(name), std::move(t)));
  }
  value_id made_here(value_id v) {
    last_.push_back(no_value);
    made_.push_back(true);
    return v;
  }

  // A value with the channels of v last, which the caller makes.
  value_id twin(value_id v) {
    value t;
    t.name = g_.values[v].name;
    t.type = g_.values[v].type;
    t.shape = permuted(*g_.values[v].shape, channels_to_last(rank(v)));
    const value_id id = add(std::move(t));
    last_[v] = id;
    made_[v] = false;
    return id;
  }

  void transpose(value_id from, value_id to, std::vector<std::int64_t> perm) {
    node n;
    n.name = g_.values[from].name;
    n.op_type = "Transpose";
    n.opset = 13;
    n.attributes.set("perm", std::move(perm));
    n.inputs = {from};
    n.outputs = {to};
    emit(std::move(n));
  }

  value_id plain(value_id v) {
    if (!made_[v]) {
      transpose(last_[v], v, channels_to_second(rank(v)));
      made_[v] = true;
    }
    return v;
  }

  value_id operand(value_id v, std::size_t of_rank) {
    if (is_last(v)) return last_[v];
    if (is_one_element(v) && rank(v) < of_rank) return v;
    value_id from = v;
    if (rank(v) < of_rank) {
      const tensor& given = *g_.values[v].constant;
      shape_type shape(of_rank - given.rank(), 1);
      shape.insert(shape.end(), given.shape().begin(), given.shape().end());
      tensor lifted(given.type(), std::move(shape));
      std::memcpy(lifted.mutable_bytes().data(), given.bytes().data(), given.bytes().size());
      from = constant(g_.values[v].name, std::move(lifted));
    }
    const value_id to = twin(from);
    made_[from] = true;
    transpose(from, to, channels_to_last(of_rank));
    return to;
  }

  graph& g_;
  std::vector<value_id> last_;  // by value: its twin
  std::vector<bool> made_;      // by value: whether it exists itself
};

}  // namespace

bool assign_layout(graph& g, pass_context& /*context*/) { return layout_pass(g).run(); }

}  // namespace mizzen::inference::detail
