// Products and convolutions of numbers of 8 bits: sums of int8 in int32, of float8 in float32. What
// stands before the sums (scales, zero points, bias) and behind them joins the kernel that reads
// them.
#include "cuda/lower_bytes.hpp"
#include "cuda/lower_convolution.hpp"

#include <string>
#include <utility>

namespace mizzen::cuda {
namespace {

// Rows of factors and of sums are whole multiples of this many elements: cuBLASLt asks for 4 of
// int8 and 16 of float8, and its faster kernels for 16 of both.
constexpr std::int64_t unit = 16;

// Sums of more would not fit into an int32.
constexpr std::int64_t most_depth = 1 << 16;

std::int64_t padded(std::int64_t n) { return (n + unit - 1) / unit * unit; }

std::string number(std::int64_t v) { return std::to_string(v); }

// One operand: numbers of 8 bits, and what makes real numbers of them; no_value: nothing.
struct factor {
  value_id numbers = no_value, scale = no_value, zero = no_value;
  std::int64_t axis = 0;  // of the scales and zero points
};

// What is behind a DequantizeLinear.
std::optional<factor> factor_of(const lowering& l, value_id v) {
  const node* n = l.producer(v);
  if (n == nullptr || n->op_type != "DequantizeLinear" || !n->domain.empty()) return std::nullopt;
  const element_type t = l.type(n->inputs[0]);
  if (!is_byte(t) && !is_float8(t)) return std::nullopt;
  factor f{n->inputs[0], n->inputs[1], no_value, n->get_int("axis", 1)};
  if (n->has_input(2) && !is_zero(l.from(), n->inputs[2])) f.zero = n->inputs[2];
  return f;
}

bool is_one(const lowering& l, value_id v) { return v == no_value || count_of(l.shape(v)) == 1; }

// Whether a product of these is one of bytes: activations with one scale, constant weights with one
// or one for each output channel, along this axis of theirs.
bool fits(const lowering& l, const factor& x, const factor& w, std::size_t channel_axis) {
  const element_type a = l.type(x.numbers);
  const element_type b = l.type(w.numbers);
  if (l.from().values[w.numbers].constant == nullptr) return false;
  if (is_float8(a) || is_float8(b)) {
    if (!is_float8(a) || !is_float8(b) || !l.on().has_float8()) return false;
    if (a == element_type::float8_e5m2 && b == a) return false;  // not in hardware
    if (x.zero != no_value || w.zero != no_value) return false;
  }
  if (!is_one(l, x.scale) || !is_one(l, x.zero)) return false;
  const dims& shape = l.shape(w.numbers);
  if (count_of(shape) / std::max<std::int64_t>(shape[channel_axis], 1) > most_depth) return false;
  const auto each = [&](value_id v) {
    return is_one(l, v) || (axis_of(w.axis, shape.size()) == channel_axis &&
                            l.shape(v) == dims{shape[channel_axis]});
  };
  return each(w.scale) && (w.zero == no_value || each(w.zero));
}

element_type stored(element_type t) { return is_float8(t) ? t : element_type::int8; }

// Activations as a matrix with contiguous rows of some length, of which the first are numbers and
// the rest zeros.
struct rows {
  view matrix;
  int moved = 0;
};

// Weights [channels, depth] by strides, with both lengths padded by zeros: made once.
rows weight_rows(lowering& l, value_id w, view from, std::int64_t depth) {
  const std::int64_t moved = l.type(w) == element_type::uint8 ? 128 : 0;
  const view to = l.allocate({padded(from.shape[0]), depth}, stored(l.type(w)));
  const std::string body = "  return c0 < " + number(from.shape[0]) + " && c1 < " +
                           number(from.shape[1]) + " ? read(a0, " + number(from.offset) +
                           " + c0 * " + number(from.strides[0]) + " + c1 * " +
                           number(from.strides[1]) + ") - " + number(moved) + ".0f : 0.0f;\n";
  l.add(map_kernel(call(body, {from.buffer}), to, l.buffers()));
  return {to, static_cast<int>(moved)};
}

// [rows, depth] as it lies, or copied to where rows are long enough. uint8 that could not be moved
// when it was made is now.
rows activation_rows(lowering& l, const lowering::bytes& x, view from, std::int64_t depth) {
  const element_type type = x.where.type;
  const std::int64_t least = is_float8(type) ? unit : 4;
  const bool lies = (from.strides[1] == 1 || from.shape[1] == 1) &&
                    (from.strides[0] >= depth || from.shape[0] == 1) &&
                    from.strides[0] % least == 0 && from.offset % least == 0 &&
                    from.shape[1] == depth;
  if (lies && type != element_type::uint8) return {from, x.moved};
  const int moved = type == element_type::uint8 ? 128 : x.moved;
  const view to = l.allocate({from.shape[0], depth}, stored(type));
  if (from.shape[1] == depth) {
    l.add(map_kernel(operation("$0 - " + number(moved - x.moved) + ".0f", {load(from)}), to,
                     l.buffers()));
  } else {
    const std::string body = "  return c1 < " + number(from.shape[1]) + " ? read(a0, " +
                             number(from.offset) + " + c0 * " + number(from.strides[0]) +
                             " + c1 * " + number(from.strides[1]) + ") - " +
                             number(moved - x.moved) + ".0f : 0.0f;\n";
    l.add(map_kernel(call(body, {from.buffer}), to, l.buffers()));
  }
  return {to, moved};
}

// The sums of each row of a matrix, as int32.
view sums_of(lowering& l, const view& matrix) {
  row_operation sum;
  sum.what = row_operation::kind::sum;
  sum.reduced = {false, true};
  const view made = l.allocate({matrix.shape[0]}, element_type::int32);
  view out = made;
  out.shape = matrix.shape;
  out.strides = {1, 0};
  l.add(row_kernel(sum, matrix.shape, load(matrix), out, l.buffers()));
  return made;
}

// The zero point less what the numbers are moved by, as a whole number; null: it is 0.
expression_ptr zero_of(lowering& l, const factor& f, int moved, const dims& shape,
                       std::size_t channel) {
  if (f.zero == no_value) {
    return moved == 0 ? nullptr : operation("(" + number(-moved) + ")", {}, true);
  }
  if (const auto one = number_of(l.from(), f.zero)) {
    const auto zero = static_cast<std::int64_t>(*one) - moved;
    return zero == 0 ? nullptr : operation("(" + number(zero) + ")", {}, true);
  }
  const view v = steps_of(l, f.zero, shape, static_cast<std::int64_t>(channel));
  // One that was computed here may be a float.
  const expression_ptr e =
      v.type == element_type::float32 ? operation("(int)$0", {load(v)}, true) : load_integer(v);
  return moved == 0 ? e : operation("$0 - " + number(moved), {e}, true);
}

// What the elements of a result are: the sums of a's rows times those of b (depth of them numbers),
// less what zero points make of them. at: where in the sums each element lies, with their rows and
// columns as strides; the channel is the dimension of the columns.
struct result {
  dims shape;
  std::size_t channel = 0;
  dims row_strides;  // by dimension, in rows
};

expression_ptr multiply(lowering& l, const factor& x, const factor& w, const rows& a, const rows& b,
                        std::int64_t depth, const result& to) {
  gemm_step g;
  g.a_type = a.matrix.type;
  g.b_type = b.matrix.type;
  g.type = is_float8(g.a_type) ? element_type::float32 : element_type::int32;
  g.m = a.matrix.shape[0];
  g.k = b.matrix.shape[1];
  g.n = b.matrix.shape[0];
  g.a = {a.matrix.buffer, a.matrix.offset, 0, a.matrix.strides[0], false};
  g.b = {b.matrix.buffer, b.matrix.offset, 0, b.matrix.strides[0], true};
  if (g.m == 1) g.a.lead = g.k;
  const view sums = l.allocate({g.m, g.n}, g.type);
  g.out = {sums.buffer, 0, 0, g.n, false};
  l.add(g);
  view each = sums;
  each.shape = to.shape;
  each.strides.clear();
  for (const std::int64_t stride : to.row_strides) each.strides.push_back(stride * g.n);
  each.strides[to.channel] = 1;
  if (g.type == element_type::float32) return load(each);
  expression_ptr e = load_integer(each);
  const expression_ptr za = zero_of(l, x, a.moved, to.shape, to.channel);
  const expression_ptr zb = zero_of(l, w, b.moved, to.shape, to.channel);
  if (za) {
    view columns = sums_of(l, b.matrix);
    columns.shape = to.shape;
    columns.strides.assign(to.shape.size(), 0);
    columns.strides[to.channel] = 1;
    e = operation("(int)$0 - (int)$1 * (int)$2", {e, za, load_integer(columns)}, true);
  }
  if (zb) {
    view of_rows = sums_of(l, a.matrix);
    of_rows.shape = to.shape;
    of_rows.strides = to.row_strides;
    e = operation("(int)$0 - (int)$1 * (int)$2", {e, zb, load_integer(of_rows)}, true);
  }
  if (za && zb)
    e = operation("(int)$0 + " + number(depth) + " * (int)$1 * (int)$2", {e, za, zb}, true);
  return e;
}

// The sums as real numbers.
expression_ptr scaled(lowering& l, const factor& x, const factor& w, const expression_ptr& sums,
                      const result& to) {
  return operation((sums->integer ? std::string("(float)(int)") : std::string()) + "$0 * ($1 * $2)",
                   {sums, read_steps(l, x.scale, to.shape, 0),
                    read_steps(l, w.scale, to.shape, static_cast<std::int64_t>(to.channel))});
}

// The sums of MatMul(x, w) or x · wᵀ; null where they cannot be had so.
expression_ptr matrix_sums(lowering& l, const factor& x, const factor& w, bool transposed,
                           const dims& shape, result& to) {
  const dims& xs = l.shape(x.numbers);
  const std::int64_t depth = xs.back();
  const std::int64_t count = count_of(xs) / std::max<std::int64_t>(depth, 1);
  to.shape = shape;
  to.channel = shape.size() - 1;
  dims lines = shape;
  lines.back() = 1;
  to.row_strides = dense_strides(lines);
  to.row_strides.back() = 0;
  // The numbers as they come, or those that may be moved.
  const lowering::bytes numbers = l.in_bytes(x.numbers);
  auto from = reshaped(numbers.where, {count, depth});
  if (!from) {
    const view dense = l.allocate(xs, numbers.where.type);
    l.copy(numbers.where, dense);
    from = reshaped(dense, {count, depth});
  }
  view weights = l.in_memory(w.numbers);
  if (!transposed) {
    std::swap(weights.shape[0], weights.shape[1]);
    std::swap(weights.strides[0], weights.strides[1]);
  }
  const bool whole_rows = depth % (is_float8(numbers.where.type) ? unit : 4) == 0;
  const std::int64_t length = whole_rows ? depth : padded(depth);
  const rows a = activation_rows(l, numbers, *from, length);
  const rows b = weight_rows(l, w.numbers, weights, length);
  return multiply(l, x, w, a, b, depth, to);
}

// Whether the shapes are those of activations [..., rows, depth] and one matrix of weights.
bool are_matrices(const lowering& l, value_id x, value_id w, const dims& out) {
  return l.shape(x).size() >= 2 && l.shape(w).size() == 2 && count_of(out) != 0 &&
         l.shape(x).back() != 0;
}

// Windows of a picture whose channels lie last, each as a row: [pixels, kernel…, channels, zeros].
// What lies outside is the zero point.
rows window_rows(lowering& l, const lowering::bytes& x, const window& s, const dims& kernel,
                 const dims& out, std::int64_t depth, const std::string& outside, int moved) {
  const view& v = x.where;
  const std::int64_t channels = v.shape[1];
  std::int64_t pixels = out[0];
  for (std::size_t d = 2; d < out.size(); ++d) pixels *= out[d];
  const view to = l.allocate({pixels, depth}, stored(v.type));
  // Many bytes at once where they lie so.
  std::int64_t width = x.moved == moved ? unit : 1;
  const auto divides = [&] {
    bool all = channels % width == 0 && v.offset % width == 0 && depth % width == 0;
    for (std::size_t d = 0; d < v.shape.size(); ++d) {
      all = all && (d == 1 || v.shape[d] == 1 || v.strides[d] % width == 0);
    }
    return all;
  };
  while (!divides()) width /= 2;
  const std::string type = v.type == element_type::uint8           ? "byte_t"
                           : v.type == element_type::float8_e4m3fn ? "e4m3_t"
                           : v.type == element_type::float8_e5m2   ? "e5m2_t"
                                                                   : "signed char";
  const std::string made = is_float8(v.type) ? type : "signed char";
  const std::int64_t count = pixels * (depth / width);
  const bool is_long =
      pixels * depth > std::int64_t{1} << 30 || l.buffers()[v.buffer].count > std::int64_t{1} << 30;
  const std::string index = is_long ? "long long" : "int";
  std::string text = "extern \"C\" __global__ void __launch_bounds__(256) NAME(const " + type +
                     "* __restrict__ p0, " + made + "* __restrict__ q) {\n  const " + index +
                     " i = (" + index + ")blockIdx.x * 256 + (" + index +
                     ")threadIdx.x;\n  if (i >= " + number(count) + ") return;\n  const " + index +
                     " k = i % " + number(depth / width) + " * " + number(width) + ";\n  " + index +
                     " row = i / " + number(depth / width) + ", rest = k / " + number(channels) +
                     ";\n  " + index + " at = " + number(v.offset) + " + k % " + number(channels) +
                     ";\n  bool inside = k < " + number(channels * count_of(kernel)) +
                     ";\n  const float outside = inside ? " + outside + " : 0.0f;\n";
  for (std::size_t d = kernel.size(); d-- > 0;) {
    const std::string h = "h" + number(static_cast<std::int64_t>(d));
    text += "  const " + index + " " + h + " = row % " + number(out[d + 2]) + " * " +
            number(s.strides[d]) + " + rest % " + number(kernel[d]) + " * " +
            number(s.dilations[d]) + " - " + number(s.begin[d]) +
            ";\n  row /= " + number(out[d + 2]) + ";\n  rest /= " + number(kernel[d]) +
            ";\n  inside = inside && " + h + " >= 0 && " + h + " < " + number(v.shape[d + 2]) +
            ";\n  at += " + h + " * " + number(v.strides[d + 2]) + ";\n";
  }
  text += "  at += row * " + number(v.strides[0]) + ";\n";
  if (width == 1) {
    text +=
        "  put(q + i, inside ? read(p0, at) - " + number(moved - x.moved) + ".0f : outside);\n}\n";
  } else {
    const std::string pack = "pack<" + made + ", " + number(width) + ">";
    text += "  " + pack + " o;\n  if (inside) {\n    o = *(const " + pack +
            "*)(p0 + at);\n  } else {\n    for (int j = 0; j < " + number(width) +
            "; ++j) put(&o.at[j], outside);\n  }\n  *(" + pack + "*)(q + i * " + number(width) +
            ") = o;\n}\n";
  }
  kernel_step step;
  step.source = std::move(text);
  step.buffers = {v.buffer, to.buffer};
  step.blocks = static_cast<std::uint32_t>((count + 255) / 256);
  step.threads = 256;
  l.add(std::move(step));
  return {to, moved};
}

// Each output element by itself, for convolutions in groups: sums of whole numbers in floats, which
// hold them exactly.
expression_ptr grouped_sums(lowering& l, const factor& x, const factor& w, const window& s,
                            std::int64_t groups, const dims& shape) {
  const auto last = channels_last_order(shape.size());
  const lowering::bytes numbers = l.in_bytes(x.numbers, last);
  const view have = l.in_memory(w.numbers);
  // Neighbouring threads have neighbouring channels: so have the weights, without their zero point.
  std::vector<std::size_t> order;
  for (std::size_t d = 2; d < have.shape.size(); ++d) order.push_back(d);
  order.push_back(1);
  order.push_back(0);
  const view weights = l.allocate(have.shape, element_type::float16, order);
  expression_ptr e = load(have);
  if (w.zero != no_value) {
    e = operation("$0 - $1", {e, read_steps(l, w.zero, have.shape, 0)});
  }
  l.add(map_kernel(e, weights, l.buffers()));
  const auto zero = x.zero == no_value ? std::optional<float>(0.0F) : number_of(l.from(), x.zero);
  return direct_convolution(s, numbers.where, weights, groups,
                            *zero - static_cast<float>(numbers.moved));
}

expression_ptr picture_sums(lowering& l, const factor& x, const factor& w, const node& n,
                            const dims& shape, result& to) {
  const dims& weights = l.shape(w.numbers);
  const dims kernel(weights.begin() + 2, weights.end());
  const window s = window_of(n, kernel, l.shape(x.numbers), shape);
  const auto last = channels_last_order(shape.size());
  lowering::bytes numbers = l.in_bytes(x.numbers, last);
  if (!is_channels_last(numbers.where)) {
    const view made = l.allocate(numbers.where.shape, numbers.where.type, last);
    l.copy(numbers.where, made);
    numbers.where = made;
  }
  const element_type type = numbers.where.type;
  const std::int64_t channels = weights[1];
  const std::int64_t depth = channels * count_of(kernel);
  to.shape = shape;
  to.channel = 1;
  dims lines = shape;
  lines[1] = 1;
  to.row_strides = dense_strides(lines);
  to.row_strides[1] = 0;
  const bool pointwise =
      count_of(kernel) == 1 && depth % (is_float8(type) ? unit : 4) == 0 &&
      std::all_of(s.strides.begin(), s.strides.end(), [](auto v) { return v == 1; }) &&
      std::all_of(s.begin.begin(), s.begin.end(), [](auto v) { return v == 0; }) &&
      std::all_of(s.end.begin(), s.end.end(), [](auto v) { return v == 0; });
  const std::int64_t length = pointwise ? depth : padded(depth);
  rows a;
  if (pointwise) {
    view pixels = numbers.where;
    pixels.shape = {count_of(shape) / shape[1], channels};
    pixels.strides = {channels, 1};
    a = activation_rows(l, numbers, pixels, length);
  } else {
    const int moved = type == element_type::uint8 ? 128 : numbers.moved;
    const float zero = x.zero == no_value ? 0 : number_of(l.from(), x.zero).value_or(0);
    a = window_rows(l, numbers, s, kernel, shape, length,
                    float_text(zero - static_cast<float>(moved)), moved);
  }
  // [out channels, kernel…, in channels] as a matrix.
  view lying = l.in_memory(w.numbers);
  const view dense = l.allocate(weights, lying.type, last);
  l.copy(lying, dense);
  lying = dense;
  lying.shape = {weights[0], depth};
  lying.strides = {depth, 1};
  const rows b = weight_rows(l, w.numbers, lying, length);
  return multiply(l, x, w, a, b, depth, to);
}

// Zero points of pictures stand outside of them as well.
bool has_known_zero(const lowering& l, const factor& x) {
  return x.zero == no_value || number_of(l.from(), x.zero).has_value();
}

// The inputs of MatMulInteger and ConvInteger.
factor integer_factor(const lowering& l, const node& n, std::size_t i, std::int64_t axis) {
  factor f{n.inputs[i], no_value, no_value, axis};
  if (n.has_input(i + 2) && !is_zero(l.from(), n.inputs[i + 2])) f.zero = n.inputs[i + 2];
  return f;
}

bool are_bytes(const part& p, const node& n) {
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.has_input(i) && !is_byte(p.values[n.inputs[i]].type)) return false;
  }
  if (n.inputs.size() < 2 || !n.has_input(0) || !n.has_input(1)) return false;
  const auto count = [&](std::size_t i) {
    const value* v = n.has_input(i) ? &p.values[n.inputs[i]] : nullptr;
    if (v == nullptr) return std::int64_t{1};
    return v->is_concrete() ? count_of(*v->shape) : std::int64_t{-1};
  };
  const value& w = p.values[n.inputs[1]];
  if (w.constant == nullptr || count(2) != 1) return false;
  const std::size_t axis = n.op_type == "MatMulInteger" ? 1 : 0;
  return w.shape->size() > axis && (count(3) == 1 || count(3) == (*w.shape)[axis]) &&
         count_of(*w.shape) / std::max<std::int64_t>((*w.shape)[axis], 1) <= most_depth;
}

bool supports_matmul_integer(const part& p, const node& n) {
  if (!are_bytes(p, n)) return false;
  const value& x = p.values[n.inputs[0]];
  return p.values[n.inputs[1]].shape->size() == 2 && x.shape && x.shape->size() >= 2;
}

void matmul_integer(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  if (!are_matrices(l, n.inputs[0], n.inputs[1], l.shape(o))) l.unsupported("no elements");
  result to;
  const factor w = integer_factor(l, n, 1, 1);
  l.set(o, matrix_sums(l, integer_factor(l, n, 0, 0), w, false, l.shape(o), to));
}

bool supports_conv_integer(const part& p, const node& n) {
  if (!are_bytes(p, n) || n.get_int("group", 1) != 1) return false;
  const std::size_t rank = p.values[n.inputs[1]].shape->size();
  return rank >= 3 && rank <= 5 && (!n.has_input(2) || number_of(p, n.inputs[2]).has_value());
}

void conv_integer(lowering& l, const node& n) {
  const value_id o = n.outputs[0];
  if (count_of(l.shape(o)) == 0) l.unsupported("no elements");
  result to;
  l.set(o,
        picture_sums(l, integer_factor(l, n, 0, 0), integer_factor(l, n, 1, 0), n, l.shape(o), to));
}

}  // namespace

bool lower_byte_product(lowering& l, const node& n) {
  const bool is_gemm = n.op_type == "Gemm";
  const bool transposed = is_gemm && n.get_int("transB", 0) != 0;
  if (is_gemm && n.get_int("transA", 0) != 0) return false;
  const auto x = factor_of(l, n.inputs[0]);
  const auto w = factor_of(l, n.inputs[1]);
  const value_id o = n.outputs[0];
  if (!x || !w || !are_matrices(l, x->numbers, w->numbers, l.shape(o))) return false;
  if (!fits(l, *x, *w, transposed ? 0 : 1)) return false;
  result to;
  const expression_ptr sums = matrix_sums(l, *x, *w, transposed, l.shape(o), to);
  expression_ptr e = scaled(l, *x, *w, sums, to);
  if (is_gemm && n.has_input(2)) e = operation("$0 + $1", {e, l.read(n.inputs[2], to.shape)});
  l.set(o, e);
  return true;
}

bool lower_byte_convolution(lowering& l, const node& n) {
  const auto x = factor_of(l, n.inputs[0]);
  const auto w = factor_of(l, n.inputs[1]);
  const value_id o = n.outputs[0];
  if (!x || !w || count_of(l.shape(o)) == 0 || !fits(l, *x, *w, 0)) return false;
  if (!has_known_zero(l, *x)) return false;
  const std::int64_t groups = n.get_int("group", 1);
  result to;
  expression_ptr sums;
  if (groups == 1) {
    sums = picture_sums(l, *x, *w, n, l.shape(o), to);
  } else {
    const dims& weights = l.shape(w->numbers);
    const std::int64_t depth = count_of(weights) / weights[0];
    // Beyond, floats round; few groups are better computed as floats in any case.
    if (is_float8(l.type(x->numbers)) || depth > 256) return false;
    const window s =
        window_of(n, dims(weights.begin() + 2, weights.end()), l.shape(x->numbers), l.shape(o));
    sums = grouped_sums(l, *x, *w, s, groups, l.shape(o));
    to.shape = l.shape(o);
    to.channel = 1;
  }
  expression_ptr e = scaled(l, *x, *w, sums, to);
  if (n.has_input(2)) {
    e = operation("$0 + $1", {e, read_channels(l, n.inputs[2], to.shape)});
  }
  l.set(o, e);
  return true;
}

void add_byte_product_rules(rule_table& table) {
  table["MatMulInteger"] = {supports_matmul_integer, matmul_integer};
  table["ConvInteger"] = {supports_conv_integer, conv_integer};
}

}  // namespace mizzen::cuda
