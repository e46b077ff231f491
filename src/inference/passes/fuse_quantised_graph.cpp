// Graphs in which QuantizeLinear and DequantizeLinear stand around each operator, as static
// quantisation writes them, become graphs over bytes:
//
//   QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(W), b))    QLinearConv, ReLU and Clip
//                                                                        before the end included
//   … of Gemm and MatMul                                                 QLinearMatMul
//   … of Add and Mul of two                                              QLinearAdd, QLinearMul
//   … of MaxPool, Reshape, Concat and others that only choose            the same of bytes
//   … of element-wise steps from one value                               ByteTable: a table of 256
//
// of the domain mizzen (passes.hpp says what they have beside ONNX's inputs). What is not
// recognised stays as it is. Numbers of int8 between the nodes become those of uint8 that are 128
// greater.
#include "inference/graph/channels_last.hpp"
#include "inference/graph/constant_memory.hpp"
#include "inference/graph/shape_inference.hpp"
#include "inference/passes/matcher.hpp"
#include "inference/passes/passes.hpp"
#include "inference/runtime/program.hpp"
#include "inference/transpose.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

const tensor* constant_of(const graph& g, value_id v) {
  return v == no_value ? nullptr : g.values[v].constant.get();
}

bool is_plain(const node& n, std::string_view op_type) {
  return n.domain.empty() && n.post_ops.empty() && n.op_type == op_type && n.outputs.size() == 1;
}

value_id input_of(const node& n, std::size_t i) {
  return i < n.inputs.size() ? n.inputs[i] : no_value;
}

// One scale and one zero point of a QuantizeLinear or DequantizeLinear.
struct step_parameters {
  float scale = 1;
  int zero = 0;
  bool operator==(const step_parameters&) const = default;
};

std::optional<step_parameters> parameters_of(const graph& g, const node& n, element_type bytes) {
  const auto scale = constant_scalar(g, input_of(n, 1));
  if (!scale || !(*scale > 0) || !std::isfinite(*scale)) return std::nullopt;
  for (const char* name : {"block_size", "output_dtype", "precision"}) {
    if (n.attributes.get_int(name, 0) != 0) return std::nullopt;
  }
  step_parameters p{*scale, 0};
  if (input_of(n, 2) == no_value) return p;
  const tensor* zero = constant_of(g, n.inputs[2]);
  if (zero == nullptr || zero->size() != 1 || zero->type() != bytes) return std::nullopt;
  p.zero =
      bytes == element_type::int8 ? zero->data<std::int8_t>()[0] : zero->data<std::uint8_t>()[0];
  return p;
}

// What QuantizeLinear makes of a number.
int quantised(float v, const step_parameters& p) {
  const float q = std::nearbyint(v / p.scale) + static_cast<float>(p.zero);
  return static_cast<int>(std::clamp(q, 0.0F, 255.0F));
}

// Numbers of int8 that one QuantizeLinear makes and only DequantizeLinear takes.
bool make_unsigned(graph& g) {
  const graph_index index(g);
  bool changed = false;
  const auto shifted = [&](node& n) {
    const int zero = parameters_of(g, n, element_type::int8)->zero + 128;
    const auto byte = static_cast<std::uint8_t>(zero);
    if (n.inputs.size() < 3) n.inputs.resize(3, no_value);
    n.inputs[2] = add_constant(g, n.name + ".zero", tensor::scalar(byte));
  };
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    if (!is_plain(g.nodes[i], "QuantizeLinear")) continue;
    const value_id v = g.nodes[i].outputs[0];
    if (g.values[v].type != element_type::int8 || index.is_output[v]) continue;
    const auto fits = [&](const node& n) {
      return parameters_of(g, n, element_type::int8).has_value();
    };
    const auto& users = index.consumers[v];
    const bool all = std::all_of(users.begin(), users.end(), [&](std::size_t u) {
      const node& n = g.nodes[u];
      return is_plain(n, "DequantizeLinear") && n.inputs[0] == v && fits(n);
    });
    if (!all || !fits(g.nodes[i]) || users.empty()) continue;
    shifted(g.nodes[i]);
    // A node may use the value once only: as its first input.
    for (const std::size_t u : users) shifted(g.nodes[u]);
    g.values[v].type = element_type::uint8;
    changed = true;
  }
  return changed;
}

class quantised_graph {
 public:
  quantised_graph(graph& g, pass_context& context) : g_(g), context_(context), index_(g) {}

  bool run() {
    bool changed = false;
    for (std::size_t i = 0; i < g_.nodes.size(); ++i) {
      if (!is_plain(g_.nodes[i], "QuantizeLinear")) continue;
      const value_id out = g_.nodes[i].outputs[0];
      if (g_.values[out].type != element_type::uint8) continue;
      const auto to = parameters_of(g_, g_.nodes[i], element_type::uint8);
      if (!to) continue;
      auto made = as_table(g_.nodes[i]);
      if (!made) made = as_choice(g_.nodes[i], *to);
      if (!made) made = as_product(g_.nodes[i], *to);
      if (!made) continue;
      made->name = g_.nodes[i].name;
      made->outputs = {out};
      g_.nodes[i] = std::move(*made);
      changed = true;
    }
    return changed;
  }

 private:
  const node* producer(value_id v) const {
    if (v == no_value || v >= index_.producer.size()) return nullptr;
    const std::size_t i = index_.producer[v];
    return i == graph_index::none ? nullptr : &g_.nodes[i];
  }
  const node* made_by(value_id v, std::string_view op_type) const {
    const node* n = producer(v);
    return n != nullptr && is_plain(*n, op_type) ? n : nullptr;
  }
  bool single_use(value_id v) const { return v < index_.is_output.size() && index_.single_use(v); }

  static node mizzen_node(std::string op_type) {
    node n;
    n.op_type = std::move(op_type);
    n.domain = "mizzen";
    n.opset = 1;
    return n;
  }

  // The bytes behind a float, with the node that makes floats of them.
  struct source {
    value_id bytes;
    step_parameters p;
    const node* from;
  };
  std::optional<source> dequantised(value_id v) const {
    const node* n = made_by(v, "DequantizeLinear");
    if (n == nullptr || g_.values[n->inputs[0]].type != element_type::uint8 ||
        g_.values[v].type != element_type::float32 || constant_of(g_, n->inputs[0]) != nullptr) {
      return std::nullopt;
    }
    const auto p = parameters_of(g_, *n, element_type::uint8);
    if (!p) return std::nullopt;
    return source{n->inputs[0], *p, n};
  }

  // Bytes, scale and zero point, as inputs of a QLinear… operator.
  void append(node& to, value_id bytes, const node& with) {
    to.inputs.push_back(bytes);
    append_parameters(to, with);
  }
  void append_parameters(node& to, const node& with) {
    to.inputs.push_back(with.inputs[1]);
    value_id zero = input_of(with, 2);
    if (zero == no_value)
      zero = add_constant(g_, with.name + ".zero", tensor::scalar(std::uint8_t{0}));
    to.inputs.push_back(zero);
  }

  // Element-wise steps from one value of bytes.

  static bool is_step(const node& n) {
    static const std::set<std::string_view> types = {"Abs",
                                                     "Add",
                                                     "Clip",
                                                     "DequantizeLinear",
                                                     "Div",
                                                     "Elu",
                                                     "Erf",
                                                     "Exp",
                                                     "Gelu",
                                                     "HardSigmoid",
                                                     "HardSwish",
                                                     "Identity",
                                                     "LeakyRelu",
                                                     "Max",
                                                     "Min",
                                                     "Mul",
                                                     "Neg",
                                                     "Pow",
                                                     "QuantizeLinear",
                                                     "Reciprocal",
                                                     "Relu",
                                                     "Selu",
                                                     "Sigmoid",
                                                     "Softplus",
                                                     "Softsign",
                                                     "Sqrt",
                                                     "Sub",
                                                     "Swish",
                                                     "Tanh"};
    if (!n.post_ops.empty() || n.outputs.size() != 1) return false;
    if (n.domain == "mizzen") return n.op_type == "ByteTable";
    return n.domain.empty() && types.count(n.op_type) != 0;
  }

  struct chain {
    value_id from = no_value;
    std::vector<const node*> nodes;  // in order
    std::set<value_id> seen;
  };
  // Of one search: a chain is short, and what is large is not one.
  static constexpr int most_visits = 64;

  bool collect(value_id v, chain& c) {
    if (v == c.from || c.seen.count(v) != 0) return true;
    if (visits_ == most_visits) return false;
    ++visits_;
    if (const tensor* t = constant_of(g_, v)) return t->size() == 1;
    const node* n = producer(v);
    if (n != nullptr && is_step(*n) && steps_take(*n, c)) {
      c.seen.insert(v);
      c.nodes.push_back(n);
      return true;
    }
    if (g_.values[v].type != element_type::uint8 || (c.from != no_value && c.from != v)) {
      return false;
    }
    c.from = v;
    return true;
  }
  bool steps_take(const node& n, chain& c) {
    chain further = c;
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      const value_id v = n.inputs[i];
      if (v == no_value) continue;
      const bool table = n.domain == "mizzen" && i == 1;
      if (!table && !collect(v, further)) return false;
    }
    c = std::move(further);
    return true;
  }

  // All bytes at once go through the nodes.
  std::optional<tensor> over_all_bytes(const chain& c, const node& last) const {
    tensor all(element_type::uint8, {256});
    for (int i = 0; i < 256; ++i)
      all.data<std::uint8_t>()[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
    std::map<value_id, tensor> made;
    made.emplace(c.from, std::move(all));
    std::vector<const node*> nodes = c.nodes;
    nodes.push_back(&last);
    for (const node* n : nodes) {
      std::vector<inferred> facts(n->inputs.size());
      std::vector<value_view> in(n->inputs.size());
      // A graph of the node alone: its values have the shapes of this run.
      graph alone;
      node copy = *n;
      for (std::size_t i = 0; i < n->inputs.size(); ++i) {
        const value_id v = n->inputs[i];
        if (v == no_value) continue;
        const auto found = made.find(v);
        const tensor& t = found != made.end() ? found->second : *g_.values[v].constant;
        facts[i] = {t.type(), t.shape(), found != made.end() ? nullptr : &t};
        in[i] = view_of(t);
        value own;
        own.type = t.type();
        own.shape = t.shape();
        if (found == made.end()) own.constant = g_.values[v].constant;
        copy.inputs[i] = alone.add_value(std::move(own));
      }
      std::vector<inferred> out(1);
      infer_node(*n, facts, out);
      value own;
      own.type = out[0].type;
      own.shape = out[0].shape;
      copy.outputs[0] = alone.add_value(std::move(own));
      const auto k = context_.host.compile({copy, alone, context_.host.threads()});
      auto results = evaluate(*k, copy, in, out, context_.host);
      made.insert_or_assign(n->outputs[0], std::move(results[0]));
    }
    tensor& y = made.at(last.outputs[0]);
    if (y.size() != 256 || y.type() != element_type::uint8) return std::nullopt;
    return std::move(y);
  }

  std::optional<node> as_table(const node& q) {
    chain c;
    visits_ = 0;
    if (!collect(q.inputs[0], c) || c.from == no_value) return std::nullopt;
    const auto& from = g_.values[c.from].shape;
    const auto& to = g_.values[q.outputs[0]].shape;
    // A constant of more dimensions would add them.
    if (!from || !to || from->size() != to->size()) return std::nullopt;
    std::optional<tensor> y;
    try {
      y = over_all_bytes(c, q);
    } catch (const error& e) {
      // An operator without a kernel for these types: the run will say so, if it comes to it.
      if (e.code() != errc::unimplemented) throw;
    }
    if (!y) return std::nullopt;
    node n = mizzen_node("ByteTable");
    n.inputs = {c.from, add_table(q.name, y->data<std::uint8_t>().data())};
    return n;
  }

  value_id add_table(const std::string& name, const std::uint8_t* bytes) {
    tensor t(element_type::uint8, {256});
    std::memcpy(t.mutable_bytes().data(), bytes, 256);
    return add_constant(g_, name + ".table", std::move(t));
  }

  // Operators that only choose among their inputs.
  std::optional<node> as_choice(const node& q, const step_parameters& to) {
    static const std::set<std::string_view> types = {"Concat", "Flatten", "MaxPool",   "Reshape",
                                                     "Slice",  "Squeeze", "Transpose", "Unsqueeze"};
    const node* chooser = producer(q.inputs[0]);
    if (chooser == nullptr || types.count(chooser->op_type) == 0 ||
        !is_plain(*chooser, chooser->op_type) || !single_use(q.inputs[0])) {
      return std::nullopt;
    }
    node n = *chooser;
    const std::size_t data = n.op_type == "Concat" ? n.inputs.size() : 1;
    for (std::size_t i = 0; i < data; ++i) {
      const auto x = dequantised(n.inputs[i]);
      if (!x || x->p != to) return std::nullopt;
      n.inputs[i] = x->bytes;
    }
    if (n.op_type == "MaxPool" && !is_picture(n.inputs[0])) return std::nullopt;
    return n;
  }

  bool is_picture(value_id v) const {
    const auto& shape = g_.values[v].shape;
    return shape && shape->size() >= 3 && shape->size() <= 5;
  }

  // Operators that compute, with the bounds that are put on what they make.
  std::optional<node> as_product(const node& q, const step_parameters& to) {
    int low = 0;
    int high = 255;
    value_id v = q.inputs[0];
    while (bounded(v, to, low, high)) {
    }
    const node* n = producer(v);
    if (n == nullptr || !single_use(v) || !is_plain(*n, n->op_type)) return std::nullopt;
    std::optional<node> made;
    if (n->op_type == "Conv") made = as_conv(*n, q);
    if (n->op_type == "Gemm" || n->op_type == "MatMul") made = as_matmul(*n, q);
    if (n->op_type == "Add" || n->op_type == "Mul") made = as_pair(*n, q);
    if (!made) return std::nullopt;
    if (low != 0) made->attributes.set("low", std::int64_t{low});
    if (high != 255) made->attributes.set("high", std::int64_t{high});
    return made;
  }

  // Steps back over a ReLU or Clip.
  bool bounded(value_id& v, const step_parameters& to, int& low, int& high) const {
    const node* n = producer(v);
    if (n == nullptr || !single_use(v) || !is_plain(*n, n->op_type)) return false;
    int least = 0;
    int most = 255;
    if (n->op_type == "Relu") {
      least = quantised(0, to);
    } else if (n->op_type == "Clip") {
      for (const std::size_t i : {1U, 2U}) {
        const std::string name = i == 1 ? "min" : "max";
        std::optional<float> bound;
        if (input_of(*n, i) != no_value) {
          bound = constant_scalar(g_, n->inputs[i]);
          if (!bound) return false;
        } else if (n->attributes.has(name)) {
          bound = n->attributes.get_float(name, 0);
        }
        if (bound && std::isnan(*bound)) return false;
        if (bound) (i == 1 ? least : most) = quantised(*bound, to);
      }
      if (least > most) return false;
    } else {
      return false;
    }
    const int outer_low = low;
    low = std::clamp(least, outer_low, high);
    high = std::clamp(most, outer_low, high);
    v = n->inputs[0];
    return true;
  }

  // Constant weights of small integers behind a DequantizeLinear; their channels lie along `axis`.
  const node* weights(value_id v, std::size_t rank, std::int64_t axis) const {
    const node* n = made_by(v, "DequantizeLinear");
    if (n == nullptr || n->attributes.get_int("block_size", 0) != 0 ||
        g_.values[v].type != element_type::float32) {
      return nullptr;
    }
    const tensor* w = constant_of(g_, n->inputs[0]);
    const tensor* s = constant_of(g_, n->inputs[1]);
    if (w == nullptr || s == nullptr || s->type() != element_type::float32 || w->size() == 0 ||
        (rank != 0 ? w->rank() != rank : w->rank() < 3 || w->rank() > 5)) {
      return nullptr;
    }
    if (w->type() != element_type::int8 && w->type() != element_type::uint8) return nullptr;
    const value_id zero = input_of(*n, 2);
    if (zero == no_value
            ? w->type() != element_type::int8
            : constant_of(g_, zero) == nullptr || !has_int8_weights(*w, *constant_of(g_, zero))) {
      return nullptr;
    }
    if (s->size() == 1) return n;
    std::int64_t along = n->attributes.get_int("axis", 1);
    if (along < 0) along += static_cast<std::int64_t>(w->rank());
    const bool fits = along == axis && s->rank() == 1 &&
                      s->shape()[0] == w->shape()[static_cast<std::size_t>(axis)];
    return fits ? n : nullptr;
  }

  // Weights, their scales and zero points.
  void append_weights(node& to, const node& with, value_id bytes) {
    to.inputs.push_back(bytes);
    to.inputs.push_back(with.inputs[1]);
    value_id zero = input_of(with, 2);
    if (zero == no_value)
      zero = add_constant(g_, with.name + ".zero", tensor::scalar(std::int8_t{0}));
    to.inputs.push_back(zero);
  }

  // A bias in units of the product of scales; false if it has none of these forms.
  bool append_bias(node& to, value_id bias, const source& x, const node& w, std::size_t channels) {
    if (bias == no_value) return true;
    const tensor* b = constant_of(g_, bias);
    const tensor* scales = nullptr;
    if (b == nullptr) {
      const node* n = made_by(bias, "DequantizeLinear");
      if (n == nullptr) return false;
      b = constant_of(g_, n->inputs[0]);
      scales = constant_of(g_, n->inputs[1]);
      const tensor* zero = constant_of(g_, input_of(*n, 2));
      const bool no_zero =
          input_of(*n, 2) == no_value ||
          (zero != nullptr && std::all_of(zero->bytes().begin(), zero->bytes().end(),
                                          [](std::byte z) { return z == std::byte{0}; }));
      if (b == nullptr || b->type() != element_type::int32 || scales == nullptr || !no_zero ||
          scales->type() != element_type::float32 ||
          (scales->size() != 1 && scales->size() != channels)) {
        return false;
      }
    } else if (b->type() != element_type::float32) {
      return false;
    }
    // One for each row is not one for each column, though there be as many.
    if (b->size() != channels || b->rank() == 0 ||
        b->shape().back() != static_cast<std::int64_t>(channels)) {
      return false;
    }
    const auto weight_scales = constant_of(g_, w.inputs[1])->data<float>();
    tensor made(element_type::int32, {static_cast<std::int64_t>(channels)});
    for (std::size_t c = 0; c < channels; ++c) {
      const double number =
          scales == nullptr
              ? static_cast<double>(b->data<float>()[c])
              : static_cast<double>(b->data<std::int32_t>()[c]) *
                    static_cast<double>(scales->data<float>()[scales->size() == 1 ? 0 : c]);
      const double unit = static_cast<double>(x.p.scale) *
                          static_cast<double>(weight_scales[weight_scales.size() == 1 ? 0 : c]);
      const double steps = std::nearbyint(number / unit);
      if (!(std::abs(steps) < 1 << 30)) return false;
      made.data<std::int32_t>()[c] = static_cast<std::int32_t>(steps);
    }
    to.inputs.push_back(add_constant(g_, w.name + ".bias", std::move(made)));
    return true;
  }

  std::optional<node> as_conv(const node& conv, const node& q) {
    const auto x = dequantised(conv.inputs[0]);
    const node* w = weights(conv.inputs[1], 0, 0);
    if (!x || w == nullptr || !is_picture(x->bytes)) return std::nullopt;
    const tensor& numbers = *constant_of(g_, w->inputs[0]);
    if (!takes_byte_conv(conv, numbers.shape()) ||
        g_.values[x->bytes].shape->size() != numbers.rank()) {
      return std::nullopt;
    }
    node n = mizzen_node("QLinearConv");
    n.attributes = conv.attributes;
    append(n, x->bytes, *x->from);
    append_weights(n, *w, w->inputs[0]);
    append_parameters(n, q);
    const auto channels = static_cast<std::size_t>(numbers.shape()[0]);
    if (!append_bias(n, input_of(conv, 2), *x, *w, channels)) return std::nullopt;
    return n;
  }

  std::optional<node> as_matmul(const node& product, const node& q) {
    const bool gemm = product.op_type == "Gemm";
    const attribute_map& a = product.attributes;
    const bool turned = gemm && a.get_int("transB", 0) != 0;
    if (gemm && (a.get_int("transA", 0) != 0 || a.get_float("alpha", 1) != 1.0F ||
                 a.get_float("beta", 1) != 1.0F)) {
      return std::nullopt;
    }
    const auto x = dequantised(product.inputs[0]);
    const node* w = weights(product.inputs[1], 2, turned ? 0 : 1);
    if (!x || w == nullptr) return std::nullopt;
    const auto& rows = g_.values[x->bytes].shape;
    if (!rows || rows->size() < 2) return std::nullopt;
    node n = mizzen_node("QLinearMatMul");
    append(n, x->bytes, *x->from);
    const tensor& given = *constant_of(g_, w->inputs[0]);
    value_id bytes = w->inputs[0];
    if (turned) {
      const auto columns = static_cast<std::size_t>(given.shape()[0]);
      const auto depth = static_cast<std::size_t>(given.shape()[1]);
      tensor t = make_constant(given.type(), {given.shape()[1], given.shape()[0]});
      transpose(given.bytes().data(), columns, depth, t.mutable_bytes().data());
      bytes = add_constant(g_, w->name + ".turned", std::move(t));
    }
    append_weights(n, *w, bytes);
    append_parameters(n, q);
    const auto channels = static_cast<std::size_t>(given.shape()[turned ? 0 : 1]);
    const value_id bias = gemm ? input_of(product, 2) : no_value;
    if (!append_bias(n, bias, *x, *w, channels)) return std::nullopt;
    return n;
  }

  std::optional<node> as_pair(const node& both, const node& q) {
    const auto a = dequantised(both.inputs[0]);
    const auto b = dequantised(both.inputs[1]);
    if (!a || !b) return std::nullopt;
    node n = mizzen_node("QLinear" + both.op_type);
    append(n, a->bytes, *a->from);
    append(n, b->bytes, *b->from);
    append_parameters(n, q);
    return n;
  }

  graph& g_;
  pass_context& context_;
  graph_index index_;
  int visits_ = 0;
};

}  // namespace

bool fuse_quantised_graph(graph& g, pass_context& context) {
  bool changed = make_unsigned(g);
  changed = quantised_graph(g, context).run() || changed;
  if (changed) remove_dead_code(g, context);
  return join_byte_tables(g) || changed;
}

}  // namespace mizzen::inference::detail
