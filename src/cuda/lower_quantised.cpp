// Numbers of 8 bits: to them, from them, and the ways they are chosen.
#include "cuda/kernel_writer.hpp"
#include "cuda/lower_bytes.hpp"

#include <array>
#include <cmath>
#include <string>

namespace mizzen::cuda {

namespace {

// In what quotients are rounded: it decides ties.
element_type precision_of(const part& p, const node& n) {
  const auto wanted = static_cast<element_type>(n.get_int("precision", 0));
  return wanted != element_type::undefined ? wanted : p.values[n.inputs[0]].type;
}

bool is_eight_bits(element_type t) noexcept { return is_byte(t) || is_float8(t); }

// Scales: floats. Zero points: of the type that is quantised to.
bool supports_steps(const part& p, const node& n, element_type narrow) {
  return float_in(p, n, 1) && n.get_int("block_size", 0) == 0 &&
         (!n.has_input(2) || p.values[n.inputs[2]].type == narrow);
}

bool supports_quantise(const part& p, const node& n) {
  if (n.outputs.size() != 1 || n.outputs[0] == no_value || !float_in(p, n, 0)) return false;
  const element_type to = p.values[n.outputs[0]].type;
  return is_eight_bits(to) && supports_steps(p, n, to) && is_float(precision_of(p, n)) &&
         (!is_float8(to) || n.get_int("saturate", 1) != 0);
}

bool supports_dequantise(const part& p, const node& n) {
  if (!n.has_input(0) || !float_out(p, n)) return false;
  const element_type from = p.values[n.inputs[0]].type;
  return (is_eight_bits(from) || from == element_type::int32) && supports_steps(p, n, from);
}

std::string_view name_of(element_type t) {
  switch (t) {
    case element_type::float16:
      return "half_t";
    case element_type::bfloat16:
      return "bfloat_t";
    case element_type::float8_e4m3fn:
      return "e4m3_t";
    default:
      return "e5m2_t";
  }
}

std::string rounded(element_type to, const std::string& text) {
  return "rounded_to<" + std::string(name_of(to)) + ">(" + text + ")";
}

expression_ptr quantised(const std::string& quotient, element_type to,
                         std::vector<expression_ptr> in) {
  if (is_float8(to)) return operation(rounded(to, quotient), std::move(in));
  const char* range = to == element_type::int8 ? ", -128.0f, 127.0f)" : ", 0.0f, 255.0f)";
  return operation("quantised(" + quotient + ", $2" + range, std::move(in));
}

void quantise(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  const dims& shape = l.shape(o);
  const element_type to = l.type(o);
  const element_type precision = precision_of(l.from(), n);
  const std::int64_t axis = n.get_int("axis", 1);
  std::vector<expression_ptr> in = {l.read(n.inputs[0], shape),
                                    read_steps(l, n.inputs[1], shape, axis)};
  in.push_back(n.has_input(2) ? read_steps(l, n.inputs[2], shape, axis) : operation("0.0f", {}));
  // A sum with the zero point, which floats of 8 bits have as well: -0 becomes 0.
  std::string quotient = is_float8(to) ? "$0 / $1 + 0.0f" : "$0 / $1";
  if (precision != element_type::float32) quotient = rounded(precision, quotient);
  const expression_ptr e = quantised(quotient, to, in);
  if (l.is_of_bytes(o) && e->loads() <= 6) return l.set_each_time(o, e);
  l.set(o, e);
}

// Whether all that use a value are computed element by element, so that they most likely end in one
// kernel, which computes the value once: x · clip(x + 3) and its like.
bool goes_on_by_element(const part& p, value_id v) {
  static constexpr std::array<std::string_view, 10> names = {
      "Add", "Clip",           "Div",     "HardSigmoid", "HardSwish", "LeakyRelu",
      "Mul", "QuantizeLinear", "Sigmoid", "Sub"};
  const auto uses = [&](const node& n) {
    return std::find(n.inputs.begin(), n.inputs.end(), v) != n.inputs.end();
  };
  return std::find(p.outputs.begin(), p.outputs.end(), v) == p.outputs.end() &&
         std::all_of(p.nodes.begin(), p.nodes.end(), [&](const node& n) {
           return !uses(n) || std::find(names.begin(), names.end(), n.op_type) != names.end();
         });
}

void dequantise(lowering& l, const node& n) {
  const value_id x = n.inputs[0];
  const value_id o = n.outputs[0];
  const dims& shape = l.shape(o);
  const std::int64_t axis = n.get_int("axis", 1);
  expression_ptr e;
  std::string zero;
  constexpr std::size_t few = 4;
  if (l.is_pending(x) && l.uses(x) == 1 &&
      (l.uses(o) == 1 ||
       (l.uses(o) == 2 && l.read(x, shape)->loads() <= few && goes_on_by_element(l.from(), o)))) {
    e = l.read(x, shape);
  } else {
    const lowering::bytes b = l.in_bytes(x);
    e = load(b.where);
    if (b.moved != 0) e = operation("($0 + " + float_text(static_cast<float>(b.moved)) + ")", {e});
  }
  const expression_ptr scale = read_steps(l, n.inputs[1], shape, axis);
  if (n.has_input(2) && !is_zero(l.from(), n.inputs[2])) {
    e = operation("($0 - $1) * $2", {e, read_steps(l, n.inputs[2], shape, axis), scale});
  } else {
    e = operation("$0 * $1", {e, scale});
  }
  // Bytes are loaded faster than the floats that they become; and products take them as they are.
  l.set_each_time(o, e);
}

bool supports_dynamic(const part& p, const node& n) {
  return float_in(p, n, 0) && !n.outputs.empty();
}

// Blocks that look at numbers of their own, each for as many as these at least.
constexpr std::int64_t most_blocks = 256;
constexpr std::int64_t numbers_per_block = 2048;

// A kernel whose blocks find the ends of what they look at. each: what to do with element i.
kernel_step ends_kernel(const view& from, std::string_view type, std::int64_t count,
                        std::int64_t blocks, const std::string& each, const std::string& finish,
                        const view& to) {
  kernel_step k;
  k.source = "extern \"C\" __global__ void __launch_bounds__(256) NAME(const " + std::string(type) +
             "* __restrict__ p0, float* __restrict__ q) {\n  __shared__ float partial[8];\n"
             "  float low = 0.0f, high = 0.0f;\n  for (long long i = blockIdx.x * 256u + "
             "threadIdx.x; i < " +
             std::to_string(count) + "; i += " + std::to_string(256 * blocks) + ") {\n" + each +
             "  }\n  low = over_block(low, lesser(), partial);\n"
             "  high = over_block(high, greater(), partial);\n  if (threadIdx.x != 0) return;\n" +
             finish + "}\n";
  k.buffers = {from.buffer, to.buffer};
  k.blocks = static_cast<std::uint32_t>(blocks);
  k.threads = 256;
  k.meets = true;
  return k;
}

// Two numbers: the scale and the zero point. Source: ONNX DynamicQuantizeLinear-11.
view dynamic_steps(lowering& l, view x) {
  const std::int64_t count = count_of(x.shape);
  view lying = x;
  lying.strides = dense_strides(x.shape, physical_order(x));
  if (lying != x) {
    const view dense = l.allocate(x.shape, x.type);
    l.copy(x, dense);
    x = dense;
  }
  const std::int64_t blocks = std::clamp<std::int64_t>(count / numbers_per_block, 1, most_blocks);
  const view ends = l.allocate({blocks, 2}, element_type::float32);
  l.add(ends_kernel(x, type_text(l.buffers()[x.buffer].type), count, blocks,
                    "    const float v = read(p0, " + std::to_string(x.offset) +
                        " + i);\n    low = fminf(low, v);\n    high = fmaxf(high, v);\n",
                    "  q[2 * blockIdx.x] = low;\n  q[2 * blockIdx.x + 1] = high;\n", ends));
  const view steps = l.allocate({2}, element_type::float32);
  l.add(ends_kernel(ends, "float", blocks, 1,
                    "    low = fminf(low, p0[2 * i]);\n    high = fmaxf(high, p0[2 * i + 1]);\n",
                    "  const float scale = (high == low ? 1.0f : high - low) / 255.0f;\n"
                    "  q[0] = scale;\n"
                    "  q[1] = rintf(fminf(fmaxf(-low / scale, 0.0f), 255.0f));\n",
                    steps));
  return steps;
}

void dynamic_quantise(lowering& l, const node& n) {
  const dims& shape = l.shape(n.inputs[0]);
  if (count_of(shape) == 0) l.unsupported("an input of no elements");
  const view x = l.in_memory(n.inputs[0]);
  const view steps = dynamic_steps(l, x);
  // The zero point is a float here.
  view scale = steps;
  scale.shape = {};
  scale.strides = {};
  view zero = scale;
  zero.offset = 1;
  if (n.outputs.size() > 1 && n.outputs[1] != no_value) l.set(n.outputs[1], scale);
  if (n.outputs.size() > 2 && n.outputs[2] != no_value) l.set(n.outputs[2], zero);
  if (n.outputs[0] == no_value) return;
  const auto each = [&](const view& v) { return load(broadcast(v, shape)); };
  const expression_ptr e =
      quantised("$0 / $1", element_type::uint8, {load(x), each(scale), each(zero)});
  if (l.is_of_bytes(n.outputs[0])) return l.set_each_time(n.outputs[0], e);
  l.set(n.outputs[0], e);
}

}  // namespace

bool is_byte(element_type t) noexcept {
  return t == element_type::int8 || t == element_type::uint8;
}

bool is_float8(element_type t) noexcept {
  return t == element_type::float8_e4m3fn || t == element_type::float8_e5m2;
}

bool takes_bytes(const node& n) noexcept {
  static constexpr std::array<std::string_view, 3> names = {"DequantizeLinear", "MatMulInteger",
                                                            "ConvInteger"};
  return n.domain.empty() && std::find(names.begin(), names.end(), n.op_type) != names.end();
}

bool is_zero(const part& p, value_id v) {
  const value& known = p.values[v];
  if (known.constant == nullptr) return false;
  const auto bytes = static_cast<std::size_t>(count_of(*known.shape)) * size_of(known.type);
  const auto* const at = static_cast<const unsigned char*>(known.constant);
  return std::all_of(at, at + bytes, [](unsigned char b) { return b == 0; });
}

std::optional<float> number_of(const part& p, value_id v) {
  const value& known = p.values[v];
  if (known.constant == nullptr || count_of(*known.shape) != 1) return std::nullopt;
  switch (known.type) {
    case element_type::int8:
      return static_cast<float>(*static_cast<const std::int8_t*>(known.constant));
    case element_type::uint8:
      return static_cast<float>(*static_cast<const std::uint8_t*>(known.constant));
    default:
      return p.scalar(v);
  }
}

view steps_of(lowering& l, value_id v, const dims& shape, std::int64_t axis) {
  const view have = l.in_memory(v);
  if (count_of(have.shape) == 1) {
    view one = have;
    one.shape = {};
    one.strides = {};
    return broadcast(one, shape);
  }
  const std::size_t at = axis_of(axis, shape.size());
  if (have.shape.size() != 1 || at >= shape.size() || have.shape[0] != shape[at]) {
    l.unsupported("scales or zero points that are not one for each index of the axis");
  }
  view each = have;
  each.shape = shape;
  each.strides.assign(shape.size(), 0);
  each.strides[at] = have.strides[0];
  return each;
}

expression_ptr read_steps(lowering& l, value_id v, const dims& shape, std::int64_t axis) {
  if (const auto one = number_of(l.from(), v)) return operation(float_text(*one), {});
  return load(steps_of(l, v, shape, axis));
}

void add_quantised_rules(rule_table& table) {
  table["QuantizeLinear"] = {supports_quantise, quantise};
  table["DequantizeLinear"] = {supports_dequantise, dequantise};
  table["DynamicQuantizeLinear"] = {supports_dynamic, dynamic_quantise};
  add_byte_product_rules(table);
}

}  // namespace mizzen::cuda
