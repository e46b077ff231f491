// Operators that compute each element of their output from the same elements of their inputs.
#include "cuda/lower_bytes.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

namespace mizzen::cuda {
namespace {

// Text by operator; $0, $1 … are the inputs.
const std::map<std::string_view, std::string_view>& texts() {
  static const std::map<std::string_view, std::string_view> table = {
      {"Abs", "fabsf($0)"},
      {"Acos", "acosf($0)"},
      {"Acosh", "acoshf($0)"},
      {"Add", "$0 + $1"},
      {"Asin", "asinf($0)"},
      {"Asinh", "asinhf($0)"},
      {"Atan", "atanf($0)"},
      {"Atanh", "atanhf($0)"},
      {"Ceil", "ceilf($0)"},
      {"Cos", "cosf($0)"},
      {"Cosh", "coshf($0)"},
      {"Div", "$0 / $1"},
      {"Equal", "($0 == $1 ? 1.0f : 0.0f)"},
      {"Erf", "erff($0)"},
      {"Exp", "expf($0)"},
      {"Floor", "floorf($0)"},
      {"Greater", "($0 > $1 ? 1.0f : 0.0f)"},
      {"GreaterOrEqual", "($0 >= $1 ? 1.0f : 0.0f)"},
      {"HardSwish", "$0 * smaller(larger($0 / 6.0f + 0.5f, 0.0f), 1.0f)"},
      {"Identity", "$0"},
      {"IsNaN", "($0 != $0 ? 1.0f : 0.0f)"},
      {"Less", "($0 < $1 ? 1.0f : 0.0f)"},
      {"LessOrEqual", "($0 <= $1 ? 1.0f : 0.0f)"},
      {"Log", "logf($0)"},
      {"Max", "larger($0, $1)"},
      {"Min", "smaller($0, $1)"},
      {"Mish", "$0 * tanhf(softplus($0))"},
      {"Mul", "$0 * $1"},
      {"Neg", "-$0"},
      {"Pow", "powf($0, $1)"},
      {"PRelu", "($0 < 0.0f ? $1 * $0 : $0)"},
      {"Reciprocal", "1.0f / $0"},
      {"Relu", "larger($0, 0.0f)"},
      {"Round", "rintf($0)"},
      {"Sigmoid", "sigmoid($0)"},
      {"Sign", "sign($0)"},
      {"Sin", "sinf($0)"},
      {"Sinh", "sinhf($0)"},
      {"Softplus", "softplus($0)"},
      {"Softsign", "$0 / (1.0f + fabsf($0))"},
      {"Sqrt", "sqrtf($0)"},
      {"Sub", "$0 - $1"},
      {"Sum", "$0 + $1"},
      {"Tan", "tanf($0)"},
      {"Tanh", "tanhf($0)"},
  };
  return table;
}

bool is_compare(const node& n) {
  static constexpr std::array<std::string_view, 5> names = {"Equal", "Greater", "GreaterOrEqual",
                                                            "Less", "LessOrEqual"};
  return std::find(names.begin(), names.end(), n.op_type) != names.end();
}

bool is_bool(const part& p, value_id v) {
  return v != no_value && p.values[v].type == element_type::boolean;
}

// Of floats, or truth values that are compared or handed on.
bool takes_floats(const part& p, const node& n) {
  if ((n.op_type == "Equal" || n.op_type == "Identity") && !n.inputs.empty() &&
      std::all_of(n.inputs.begin(), n.inputs.end(), [&](value_id v) { return is_bool(p, v); })) {
    return n.opset >= 7;
  }
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (!float_in(p, n, i)) return false;
  }
  if (n.inputs.size() > 9) return false;  // $0 to $9
  if (is_compare(n)) return n.inputs.size() == 2 && n.opset >= 7;
  if (n.op_type == "IsNaN") return n.inputs.size() == 1;
  return float_out(p, n) && !n.inputs.empty() && (n.inputs.size() < 2 || n.opset >= 8);
}

// Adds to the step of a product where the node is what it may end in. A bias has one element for
// each column, a residual the shape of the result.
bool join_gemm(lowering& l, const node& n, value_id v, value_id other) {
  gemm_step* g = l.pending_gemm(v);
  const value_id to = n.outputs[0];
  if (g == nullptr || l.shape(to) != l.shape(v) || g->act != activation::none) return false;
  if (n.op_type == "Relu" ||
      (n.op_type == "Gelu" && n.get_string("approximate", "none") == "tanh")) {
    g->act = n.op_type == "Relu" ? activation::relu : activation::gelu_tanh;
    l.hand_on(v, to);
    return true;
  }
  if (n.op_type != "Add" || g->has_bias || other == no_value) return false;
  const dims& shape = l.shape(other);
  const bool per_column = !shape.empty() && shape.back() == g->n && count_of(shape) == g->n &&
                          l.shape(to).back() == g->n;
  if (!per_column || l.from().values[other].constant == nullptr) return false;
  const view bias = l.in_memory_as(other, g->type, is_dense);
  g->has_bias = true;
  g->bias_buffer = bias.buffer;
  g->bias_offset = bias.offset;
  l.hand_on(v, to);
  return true;
}

bool join_conv(lowering& l, const node& n, value_id v, value_id other) {
  conv_step* c = l.pending_conv(v);
  const value_id to = n.outputs[0];
  if (c == nullptr || l.shape(to) != l.shape(v) || c->act != activation::none) return false;
  if (n.op_type == "Relu") {
    c->act = activation::relu;
    l.hand_on(v, to);
    return true;
  }
  if (n.op_type != "Add" || c->has_residual || other == no_value) return false;
  if (l.shape(other) != l.shape(v)) return false;
  c->residual = l.in_memory_as(other, c->type, is_picture, channels_last_order(l.shape(v).size()));
  c->has_residual = true;
  l.hand_on(v, to);
  return true;
}

bool join(lowering& l, const node& n) {
  for (std::size_t i = 0; i < n.inputs.size() && i < 2; ++i) {
    const value_id other = n.inputs.size() == 2 ? n.inputs[1 - i] : no_value;
    if (n.inputs.size() == 2 && n.inputs[0] == n.inputs[1]) return false;
    if (join_gemm(l, n, n.inputs[i], other) || join_conv(l, n, n.inputs[i], other)) return true;
  }
  return false;
}

std::vector<expression_ptr> read_all(lowering& l, const node& n) {
  std::vector<expression_ptr> list;
  for (const value_id v : n.inputs) list.push_back(l.read(v, l.shape(n.outputs[0])));
  return list;
}

bool takes_numbers(const part& p, const node& n) {
  return takes_floats(p, n) || computes_integers(p, n);
}

void by_text(lowering& l, const node& n) {
  if (computes_integers(l.from(), n)) return compute_integers(l, n);
  if (join(l, n)) return;
  std::vector<expression_ptr> in = read_all(l, n);
  const std::string text(texts().at(n.op_type));
  // Max, Min and Sum of any number; of one they are the one.
  if (in.size() == 1 && text.find("$1") != std::string::npos) return l.set(n.outputs[0], in[0]);
  expression_ptr e = operation(text, {in[0], in.size() > 1 ? in[1] : in[0]});
  for (std::size_t i = 2; i < in.size(); ++i) e = operation(text, {e, in[i]});
  l.set(n.outputs[0], e);
}

void unary(lowering& l, const node& n, const std::string& text) {
  l.set(n.outputs[0], operation(text, {l.read(n.inputs[0], l.shape(n.outputs[0]))}));
}

void leaky_relu(lowering& l, const node& n) {
  unary(l, n, "($0 < 0.0f ? " + float_text(n.get_float("alpha", 0.01F)) + " * $0 : $0)");
}
void elu(lowering& l, const node& n) {
  unary(l, n, "($0 < 0.0f ? " + float_text(n.get_float("alpha", 1.0F)) + " * expm1f($0) : $0)");
}
void hard_sigmoid(lowering& l, const node& n) {
  unary(l, n,
        "smaller(larger(" + float_text(n.get_float("alpha", 0.2F)) + " * $0 + " +
            float_text(n.get_float("beta", 0.5F)) + ", 0.0f), 1.0f)");
}
void swish(lowering& l, const node& n) {
  unary(l, n, "$0 * sigmoid(" + float_text(n.get_float("alpha", 1.0F)) + " * $0)");
}
void gelu(lowering& l, const node& n) {
  if (join(l, n)) return;
  unary(l, n, n.get_string("approximate", "none") == "tanh" ? "gelu_tanh($0)" : "gelu_erf($0)");
}

bool supports_mod(const part& p, const node& n) {
  return computes_integers(p, n) || (n.get_int("fmod", 0) != 0 && takes_floats(p, n));
}

void mod(lowering& l, const node& n) {
  if (computes_integers(l.from(), n)) return compute_integers(l, n);
  l.set(n.outputs[0], operation("fmodf($0, $1)", read_all(l, n)));
}

void clip(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  expression_ptr e = l.read(n.inputs[0], shape);
  if (n.opset < 11) {
    constexpr float most = std::numeric_limits<float>::max();
    return l.set(n.outputs[0],
                 operation("smaller(larger($0, " + float_text(n.get_float("min", -most)) + "), " +
                               float_text(n.get_float("max", most)) + ")",
                           {e}));
  }
  const bool whole = e->integer;
  const auto bound = [&](std::size_t i, const char* of_floats, const char* of_integers) {
    if (!n.has_input(i)) return;
    e = operation(whole ? of_integers : of_floats, {e, l.read(n.inputs[i], shape)}, whole);
  };
  bound(1, "larger($0, $1)", "($0 > $1 ? $0 : $1)");
  bound(2, "smaller($0, $1)", "($0 < $1 ? $0 : $1)");
  l.set(n.outputs[0], e);
}

bool is_number(element_type t) noexcept {
  return is_float(t) || t == element_type::boolean || is_integer(t);
}

bool supports_cast(const part& p, const node& n) {
  if (n.inputs.empty() || !n.has_input(0) || n.outputs.size() != 1) return false;
  if (n.outputs[0] == no_value) return false;
  const element_type from = p.values[n.inputs[0]].type;
  const element_type to = p.values[n.outputs[0]].type;
  // Between integers bits are cut off, which floats do not.
  if (is_byte(to) || is_float8(to)) {
    return (is_float(from) || is_float8(from)) && n.get_int("saturate", 1) != 0;
  }
  return (is_number(from) || is_byte(from) || is_float8(from)) && is_number(to);
}

void cast(lowering& l, const node& n) {
  const element_type to = l.type(n.outputs[0]);
  const dims& shape = l.shape(n.outputs[0]);
  const expression_ptr from = l.read(n.inputs[0], shape);
  if (is_integer(to)) {
    const bool narrow = to == element_type::int32;
    const std::string text = from->integer ? (narrow ? "(int)$0" : "$0")
                             : narrow      ? "to_int32($0)"
                                           : "to_int64($0)";
    return l.set(n.outputs[0], operation(text, {from}, true));
  }
  if (to == element_type::boolean) {
    return l.set(n.outputs[0], operation("($0 != 0 ? 1.0f : 0.0f)", {from}));
  }
  // Rounds where the model does, unless everything is half-width anyway.
  const bool rounds =
      is_byte(to) || is_float8(to) ||
      (to != element_type::float32 && l.storage(element_type::float32) == element_type::float32);
  const expression_ptr e = from->integer ? operation("(float)$0", {from}) : from;
  // Integers may be too large for a half: where they are kept they stay as wide as they are.
  const bool keeps = from->integer && l.uses(n.outputs[0]) != 1;
  if (!rounds && !keeps) return l.set(n.outputs[0], e);
  const view made = l.allocate(shape, to);
  if (count_of(made.shape) != 0) l.add(map_kernel(e, made, l.buffers()));
  l.set(n.outputs[0], made);
}

bool supports_where(const part& p, const node& n) {
  if (n.inputs.size() != 3 || n.outputs.size() != 1 || n.outputs[0] == no_value) return false;
  for (std::size_t i = 0; i < 3; ++i) {
    if (!n.has_input(i)) return false;
  }
  const element_type t = p.values[n.outputs[0]].type;
  return is_number(t) && p.values[n.inputs[1]].type == t && p.values[n.inputs[2]].type == t;
}

void where(lowering& l, const node& n) {
  l.set(n.outputs[0],
        operation("($0 != 0.0f ? $1 : $2)", read_all(l, n), is_integer(l.type(n.outputs[0]))));
}

bool supports_clip(const part& p, const node& n) {
  return n.has_input(0) && n.outputs.size() == 1 && n.outputs[0] != no_value &&
         (is_float(p.values[n.inputs[0]].type) ||
          (n.opset >= 12 && is_integer(p.values[n.inputs[0]].type)));
}

bool is_logic(const part& p, const node& n) {
  for (const value_id v : n.inputs) {
    if (v == no_value || p.values[v].type != element_type::boolean) return false;
  }
  return n.opset >= 7;
}

void logic(lowering& l, const node& n) {
  const std::string text = n.op_type == "And"   ? "($0 != 0.0f && $1 != 0.0f ? 1.0f : 0.0f)"
                           : n.op_type == "Or"  ? "($0 != 0.0f || $1 != 0.0f ? 1.0f : 0.0f)"
                           : n.op_type == "Xor" ? "(($0 != 0.0f) != ($1 != 0.0f) ? 1.0f : 0.0f)"
                                                : "($0 != 0.0f ? 0.0f : 1.0f)";
  l.set(n.outputs[0], operation(text, read_all(l, n)));
}

// Inference only: scale, shift, mean and variance for each channel.
bool supports_batch_norm(const part& p, const node& n) {
  for (std::size_t i = 0; i < 5; ++i) {
    if (!float_in(p, n, i)) return false;
  }
  return float_out(p, n) && n.get_int("training_mode", 0) == 0 && n.opset >= 9;
}

void batch_norm(lowering& l, const node& n) {
  const dims& shape = l.shape(n.outputs[0]);
  if (shape.size() < 2) l.unsupported("fewer than two dimensions");
  std::vector<expression_ptr> in = {l.read(n.inputs[0], shape)};
  dims channels(shape.size() - 1, 1);
  channels[0] = shape[1];
  for (std::size_t i = 1; i < 5; ++i) {
    view v = l.in_memory(n.inputs[i]);
    const std::int64_t stride = v.strides[0];
    v.shape = channels;
    v.strides.assign(channels.size(), 0);
    v.strides[0] = stride;
    in.push_back(load(broadcast(v, shape)));
  }
  l.set(n.outputs[0], operation("($0 - $3) * rsqrtf($4 + " +
                                    float_text(n.get_float("epsilon", 1e-5F)) + ") * $1 + $2",
                                in));
}

}  // namespace

void add_elementwise_rules(rule_table& table) {
  for (const auto& [name, text] : texts()) table[name] = {takes_numbers, by_text};
  // The slope broadcasts to x, one way.
  table["LeakyRelu"] = {takes_floats, leaky_relu};
  table["Elu"] = {takes_floats, elu};
  table["HardSigmoid"] = {takes_floats, hard_sigmoid};
  table["Swish"] = {takes_floats, swish};
  table["Gelu"] = {takes_floats, gelu};
  table["Mod"] = {supports_mod, mod};
  table["Clip"] = {supports_clip, clip};
  table["CastLike"] = {supports_cast, cast};
  table["Cast"] = {supports_cast, cast};
  table["Where"] = {supports_where, where};
  for (const std::string_view name : {"And", "Or", "Xor", "Not"}) table[name] = {is_logic, logic};
  table["BatchNormalization"] = {supports_batch_norm, batch_norm};
}

}  // namespace mizzen::cuda
