#include "inference/passes/expand_quantised.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

constexpr std::int64_t opset = 13;  // of what is made

class expander {
 public:
  explicit expander(graph& g) : g_(g) {}

  bool run() {
    bool changed = false;
    std::vector<node> before = std::exchange(g_.nodes, {});
    g_.nodes.reserve(before.size());
    for (node& n : before) {
      if (is_wanted(n)) {
        expand(n);
        changed = true;
      } else {
        g_.nodes.push_back(std::move(n));
      }
    }
    return changed;
  }

 private:
  // Where an operator has its bytes, each with a scale and a zero point behind it, and what it is
  // over floats.
  struct form {
    std::string_view op_type;
    std::size_t operands;  // 1 or 2; where they are weights the second must be constant
    bool weights;
    std::size_t output;  // its scale
    std::size_t bias;    // 0: none
  };
  static const form* form_of(const node& n) {
    static constexpr std::pair<std::string_view, form> standard[] = {
        {"QLinearConv", {"Conv", 2, true, 6, 8}}, {"QLinearMatMul", {"MatMul", 2, true, 6, 0}}};
    static constexpr std::pair<std::string_view, form> microsoft[] = {
        {"QGemm", {"Gemm", 2, true, 7, 6}},
        {"QLinearAdd", {"Add", 2, false, 6, 0}},
        {"QLinearGlobalAveragePool", {"GlobalAveragePool", 1, false, 3, 0}},
        {"QLinearLeakyRelu", {"LeakyRelu", 1, false, 3, 0}},
        {"QLinearMul", {"Mul", 2, false, 6, 0}},
        {"QLinearSigmoid", {"Sigmoid", 1, false, 3, 0}}};
    const auto find = [&](const auto& list) -> const form* {
      for (const auto& [name, f] : list) {
        if (name == n.op_type) return &f;
      }
      return nullptr;
    };
    if (n.domain.empty()) return find(standard);
    return n.domain == "com.microsoft" ? find(microsoft) : nullptr;
  }

  const tensor* constant(const node& n, std::size_t i) const {
    return i < n.inputs.size() && n.inputs[i] != no_value ? g_.values[n.inputs[i]].constant.get()
                                                          : nullptr;
  }
  bool is_byte(value_id v) const {
    const element_type t = v == no_value ? element_type::undefined : g_.values[v].type;
    return t == element_type::int8 || t == element_type::uint8;
  }

  // Whether a scale and a zero point are constant and one number each.
  bool is_step(const node& n, std::size_t at) const {
    const tensor* scale = constant(n, at);
    if (scale == nullptr || scale->type() != element_type::float32 || scale->size() != 1) {
      return false;
    }
    if (at + 1 >= n.inputs.size() || n.inputs[at + 1] == no_value) return true;
    const tensor* zero = constant(n, at + 1);
    return zero != nullptr && zero->size() == 1;
  }

  // Of weights, whose channels lie along the axis: one of each, or one for each channel; a zero
  // point that is alone is 0.
  bool are_weight_steps(const node& n, std::size_t at, std::size_t channels) const {
    const tensor* scale = constant(n, at);
    const tensor* zero = constant(n, at + 1);
    if (scale == nullptr || zero == nullptr || scale->type() != element_type::float32) return false;
    if (scale->size() == 1) return zero->size() == 1;
    return scale->rank() == 1 && scale->size() == channels &&
           (zero->size() == channels || (zero->size() == 1 && is_zero(*zero)));
  }
  static bool is_zero(const tensor& t) {
    const auto bytes = t.bytes();
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  }

  static std::size_t channel_axis(const form& f, const node& n) {
    return f.op_type == "Conv" || n.attributes.get_int("transB", 0) != 0 ? 0 : 1;
  }

  bool is_wanted(const node& n) const {
    const form* f = form_of(n);
    if (f == nullptr || n.custom || n.captured != 0 || !n.post_ops.empty()) return false;
    if (n.attributes.get_int("channels_last", 0) != 0) return false;
    if (f->op_type == "Gemm" && !is_plain_gemm(n)) return false;
    const std::size_t last = f->output;
    if (n.inputs.size() <= last || !is_step(n, 1) || !is_byte(n.inputs[0]) ||
        constant(n, 0) != nullptr || !is_byte(n.outputs[0])) {
      return false;
    }
    if (f->weights) {
      const tensor* w = constant(n, 3);
      const std::size_t axis = channel_axis(*f, n);
      if (w == nullptr || !is_byte(n.inputs[3]) || (f->op_type != "Conv" && w->rank() != 2) ||
          w->rank() <= axis || w->empty() ||
          !are_weight_steps(n, 4, static_cast<std::size_t>(w->shape()[axis]))) {
        return false;
      }
    } else if (f->operands == 2 && (!is_step(n, 4) || !is_byte(n.inputs[3]))) {
      return false;
    }
    if (!is_step(n, last)) return false;
    // Unless it says otherwise by a zero point, an output is uint8.
    const bool has_zero = last + 1 < n.inputs.size() && n.inputs[last + 1] != no_value;
    return has_zero || g_.values[n.outputs[0]].type == element_type::uint8;
  }

  // Whose bias, if any, is one for each column.
  bool is_plain_gemm(const node& n) const {
    if (n.attributes.get_float("alpha", 1.0F) != 1.0F) return false;
    if (n.inputs.size() <= 6 || n.inputs[6] == no_value) return true;
    const tensor* w = constant(n, 3);
    const tensor* b = constant(n, 6);
    return w != nullptr && w->rank() == 2 && b != nullptr && b->rank() == 1 &&
           b->shape()[0] == w->shape()[channel_axis({"Gemm", 2, true, 7, 6}, n)];
  }

  value_id add_value(const node& n, std::string_view what, element_type type) {
    value v;
    v.name = g_.values[n.outputs[0]].name + "." + std::string(what);
    v.type = type;
    return g_.add_value(std::move(v));
  }

  value_id number(const node& n, std::size_t i) {
    if (i >= n.inputs.size() || n.inputs[i] == no_value) return no_value;
    const tensor& given = *g_.values[n.inputs[i]].constant;
    if (given.size() != 1 || given.rank() == 0) return n.inputs[i];
    tensor one = given.clone();
    one.reshape({});
    return add_constant(g_, g_.values[n.inputs[i]].name + ".number", std::move(one));
  }

  // The floats behind operand i.
  value_id dequantised(const node& n, std::size_t i, std::int64_t axis) {
    node made;
    made.op_type = "DequantizeLinear";
    made.opset = opset;
    const value_id scale = number(n, 3 * i + 1);
    made.inputs = {n.inputs[3 * i], scale};
    const value_id zero = number(n, 3 * i + 2);
    const bool per_channel = g_.values[scale].constant->size() != 1;
    // One zero point for several scales is 0.
    const bool leave_out = zero != no_value && per_channel &&
                           g_.values[zero].constant->size() == 1 &&
                           g_.values[n.inputs[3 * i]].type == element_type::int8;
    if (leave_out) {
      // As if it were not there.
    } else if (zero != no_value && per_channel && g_.values[zero].constant->size() == 1) {
      tensor zeros(g_.values[zero].type, g_.values[scale].constant->shape());
      made.inputs.push_back(add_constant(g_, g_.values[zero].name + ".each", std::move(zeros)));
    } else if (zero != no_value) {
      made.inputs.push_back(zero);
    }
    made.attributes.set("axis", axis);
    made.outputs = {add_value(n, "operand" + std::to_string(i), element_type::float32)};
    g_.nodes.push_back(std::move(made));
    return g_.nodes.back().outputs[0];
  }

  // A bias of int32, in units of the product of the scales.
  value_id bias(const node& n, std::size_t at) {
    if (at == 0 || n.inputs.size() <= at || n.inputs[at] == no_value) return no_value;
    const tensor& x = *constant(n, 1);
    const tensor& w = *constant(n, 4);
    tensor scales(element_type::float32, w.size() == 1 ? shape_type{} : w.shape());
    for (std::size_t i = 0; i < w.size(); ++i) {
      scales.data<float>()[i] = x.data<float>()[0] * w.data<float>()[i];
    }
    node made;
    made.op_type = "DequantizeLinear";
    made.opset = opset;
    made.inputs = {n.inputs[at],
                   add_constant(g_, g_.values[n.inputs[at]].name + ".scale", std::move(scales))};
    made.attributes.set("axis", std::int64_t{0});
    made.outputs = {add_value(n, "bias", element_type::float32)};
    g_.nodes.push_back(std::move(made));
    return g_.nodes.back().outputs[0];
  }

  void expand(node& n) {
    const form& f = *form_of(n);
    node inner;
    inner.name = n.name;
    inner.op_type = f.op_type;
    inner.opset = opset;
    inner.attributes = n.attributes;
    for (std::size_t i = 0; i < f.operands; ++i) {
      const std::size_t axis = f.weights && i == 1 ? channel_axis(f, n) : 0;
      inner.inputs.push_back(dequantised(n, i, static_cast<std::int64_t>(axis)));
    }
    if (const value_id b = bias(n, f.bias); b != no_value) inner.inputs.push_back(b);
    inner.outputs = {add_value(n, "floats", element_type::float32)};
    node quantise;
    quantise.name = n.name;
    quantise.op_type = "QuantizeLinear";
    quantise.opset = opset;
    const std::size_t last = f.output;
    quantise.inputs = {inner.outputs[0], number(n, last)};
    if (const value_id zero = number(n, last + 1); zero != no_value)
      quantise.inputs.push_back(zero);
    quantise.outputs = n.outputs;
    g_.nodes.push_back(std::move(inner));
    g_.nodes.push_back(std::move(quantise));
  }

  graph& g_;
};

}  // namespace

bool expand_quantised(graph& g, pass_context& /*context*/) { return expander(g).run(); }

}  // namespace mizzen::inference::detail
