// Products of matrices and convolutions: steps of their own, which the operators behind them join.
#include "cuda/kernel_gemv.hpp"
#include "cuda/lower_bytes.hpp"
#include "cuda/lower_convolution.hpp"

#include <algorithm>
#include <numeric>
#include <string>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t none = -1;

// The stride of all dimensions before the last two as one; nullopt where they do not lie in one
// run. Dimensions of one element do not count, and broadcast ones only if all are.
std::optional<std::int64_t> batch_stride(const view& v) {
  std::int64_t inner = 0;
  std::int64_t expected = none;
  for (std::size_t d = v.shape.size() - 2; d-- > 0;) {
    if (v.shape[d] == 1) continue;
    if (expected == none) {
      inner = v.strides[d];
    } else if (v.strides[d] != expected) {
      return std::nullopt;
    }
    expected = v.strides[d] * v.shape[d];
  }
  return inner;
}

// The last two dimensions as a matrix that cuBLASLt takes.
std::optional<gemm_step::matrix> matrix_of(const view& v) {
  const std::size_t r = v.shape.size();
  const std::int64_t rows = v.shape[r - 2];
  const std::int64_t columns = v.shape[r - 1];
  const std::int64_t row = v.strides[r - 2];
  const std::int64_t column = v.strides[r - 1];
  const auto batch = batch_stride(v);
  if (!batch || *batch < 0) return std::nullopt;
  gemm_step::matrix m{v.buffer, v.offset, *batch, 0, false};
  if ((column == 1 || columns == 1) && (row >= columns || rows == 1)) {
    m.lead = rows == 1 ? columns : row;
    return m;
  }
  if ((row == 1 || rows == 1) && column >= rows) {
    m.lead = column;
    m.transposed = true;
    return m;
  }
  return std::nullopt;
}

}  // namespace

gemm_step::matrix as_matrix(lowering& l, view v, element_type type, bool columns) {
  if (v.type == type) {
    if (const auto m = matrix_of(v)) return *m;
  }
  std::vector<std::size_t> order(v.shape.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (columns) std::swap(order[order.size() - 1], order[order.size() - 2]);
  const view dense = l.allocate(v.shape, type, order);
  l.copy(v, dense);
  return *matrix_of(dense);
}

namespace {

bool takes_matrices(const part& p, const node& n) {
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.has_input(i) && !float_in(p, n, i)) return false;
  }
  return n.inputs.size() >= 2 && n.has_input(0) && n.has_input(1) && float_out(p, n) &&
         p.values[n.inputs[0]].type == p.values[n.inputs[1]].type;
}

void matmul(lowering& l, const node& n) {
  if (lower_byte_product(l, n)) return;
  const value_id o = n.outputs[0];
  view a = l.in_memory(n.inputs[0]);
  view b = l.in_memory(n.inputs[1]);
  dims shape = l.shape(o);
  // Vectors are matrices of one row or column.
  if (a.shape.size() == 1) {
    a.shape.insert(a.shape.begin(), 1);
    a.strides.insert(a.strides.begin(), 0);
    shape.insert(shape.end() - (b.shape.size() == 1 ? 0 : 1), 1);
  }
  if (b.shape.size() == 1) {
    b.shape.push_back(1);
    b.strides.push_back(0);
    shape.push_back(1);
  }
  gemm_step g;
  g.type = l.storage(l.type(o));
  g.tf32 = l.tf32();
  g.m = a.shape[a.shape.size() - 2];
  g.k = a.shape.back();
  g.n = b.shape.back();
  if (count_of(shape) == 0) return l.set(o, l.allocate(l.shape(o), g.type));
  if (g.k == 0) l.unsupported("a product over no elements");
  const dims batch(shape.begin(), shape.end() - 2);
  g.batch = count_of(batch);
  // With one b for all, the rows of all batches are those of one matrix.
  const bool one_b = count_of(b.shape) == g.k * g.n;
  if (one_b && g.batch > 1) {
    auto rows = reshaped(a, {g.batch * g.m, g.k});
    if (count_of(a.shape) != g.batch * g.m * g.k) rows.reset();
    if (rows) {
      a = *rows;
      b = *reshaped(b, {g.k, g.n});
      g.m *= g.batch;
      g.batch = 1;
    }
  }
  const auto whole = [&](const view& v) {
    if (g.batch == 1) {
      view flat = v;
      flat.shape.erase(flat.shape.begin(), flat.shape.end() - 2);
      flat.strides.erase(flat.strides.begin(), flat.strides.end() - 2);
      return flat;
    }
    dims wanted = batch;
    wanted.insert(wanted.end(), v.shape.end() - 2, v.shape.end());
    return broadcast(v, wanted);
  };
  g.a = as_matrix(l, whole(a), g.type);
  // Weights that are converted for a product of few rows had better lie as it reads them best.
  g.b = as_matrix(l, whole(b), g.type, is_gemv(g));
  g.out = {0, 0, g.m * g.n, g.n, false};
  if (is_gemv(g)) return l.set(o, gemv_product(std::move(g)));
  l.set(o, std::move(g));
}

bool supports_gemm(const part& p, const node& n) {
  return takes_matrices(p, n) && n.get_float("alpha", 1.0F) == 1.0F &&
         (!n.has_input(2) || n.get_float("beta", 1.0F) == 1.0F);
}

void gemm(lowering& l, const node& n) {
  if (lower_byte_product(l, n)) return;
  const value_id o = n.outputs[0];
  const auto operand = [&](std::size_t i, bool transposed) {
    view v = l.in_memory(n.inputs[i]);
    if (transposed) {
      std::swap(v.shape[0], v.shape[1]);
      std::swap(v.strides[0], v.strides[1]);
    }
    return v;
  };
  const view a = operand(0, n.get_int("transA", 0) != 0);
  const view b = operand(1, n.get_int("transB", 0) != 0);
  gemm_step g;
  g.type = l.storage(l.type(o));
  g.tf32 = l.tf32();
  g.m = a.shape[0];
  g.k = a.shape[1];
  g.n = b.shape[1];
  if (g.m * g.n == 0) return l.set(o, l.allocate(l.shape(o), g.type));
  if (g.k == 0) l.unsupported("a product over no elements");
  g.a = as_matrix(l, a, g.type);
  g.b = as_matrix(l, b, g.type, is_gemv(g));
  g.out = {0, 0, g.m * g.n, g.n, false};
  if (is_gemv(g)) {
    expression_ptr e = gemv_product(std::move(g));
    if (n.has_input(2)) e = operation("$0 + $1", {e, l.read(n.inputs[2], l.shape(o))});
    return l.set(o, e);
  }
  if (!n.has_input(2)) return l.set(o, std::move(g));
  const dims& c = l.shape(n.inputs[2]);
  if (!c.empty() && c.back() == g.n && count_of(c) == g.n) {
    const view bias = l.in_memory_as(n.inputs[2], g.type, is_dense);
    g.has_bias = true;
    g.bias_buffer = bias.buffer;
    g.bias_offset = bias.offset;
    return l.set(o, std::move(g));
  }
  const view product = l.allocate(l.shape(o), g.type);
  g.out.buffer = product.buffer;
  l.add(std::move(g));
  l.set(o, operation("$0 + $1", {load(product), l.read(n.inputs[2], l.shape(o))}));
}

bool supports_conv(const part& p, const node& n) {
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.has_input(i) && !float_in(p, n, i)) return false;
  }
  if (n.inputs.size() < 2 || !float_out(p, n)) return false;
  const auto& w = p.values[n.inputs[1]];
  return w.is_concrete() && w.shape->size() >= 3 && w.shape->size() <= 5;
}

}  // namespace

window window_of(const node& n, const dims& kernel, const dims& in, const dims& out) {
  const std::size_t k = kernel.size();
  window w{dims(k, 0), dims(k, 0), n.get_ints("strides", dims(k, 1)),
           n.get_ints("dilations", dims(k, 1))};
  const dims pads = n.get_ints("pads");
  const std::string automatic = n.get_string("auto_pad", "NOTSET");
  for (std::size_t d = 0; d < k; ++d) {
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      const std::int64_t reach = (kernel[d] - 1) * w.dilations[d] + 1;
      const std::int64_t all =
          std::max<std::int64_t>(0, (out[d + 2] - 1) * w.strides[d] + reach - in[d + 2]);
      w.begin[d] = automatic == "SAME_UPPER" ? all / 2 : all - all / 2;
      w.end[d] = all - w.begin[d];
    } else if (automatic != "VALID" && pads.size() == 2 * k) {
      w.begin[d] = pads[d];
      w.end[d] = pads[d + k];
    }
  }
  return w;
}

expression_ptr direct_convolution(const window& s, const view& x, const view& w,
                                  std::int64_t groups, float outside) {
  const std::size_t k = w.shape.size() - 2;
  const std::int64_t group_in = w.shape[1];
  const std::int64_t group_out = w.shape[0] / groups;
  std::string body = "  float s = 0.0f;\n  const INDEX g = c1 / " + number(group_out) + ";\n";
  std::string xi = number(x.offset) + " + c0 * " + number(x.strides[0]) + " + (g * " +
                   number(group_in) + " + i) * " + number(x.strides[1]);
  std::string wi =
      number(w.offset) + " + c1 * " + number(w.strides[0]) + " + i * " + number(w.strides[1]);
  std::string indent = "  ";
  for (std::size_t d = 0; d < k; ++d) {
    const std::string i = number(static_cast<std::int64_t>(d));
    body += "#pragma unroll\n" + indent + "for (int k" + i + " = 0; k" + i + " < " +
            number(w.shape[d + 2]) + "; ++k" + i + ") {\n";
    indent += "  ";
    body += indent + "const INDEX h" + i + " = c" + number(static_cast<std::int64_t>(d + 2)) +
            " * " + number(s.strides[d]) + " + k" + i + " * " + number(s.dilations[d]) + " - " +
            number(s.begin[d]) + ";\n" + indent + "if (h" + i + " < 0 || h" + i +
            " >= " + number(x.shape[d + 2]) + ") continue;\n";
    xi += " + h" + i + " * " + number(x.strides[d + 2]);
    wi += " + k" + i + " * " + number(w.strides[d + 2]);
  }
  std::string x_text = "read(a0, " + xi + ")";
  if (outside != 0) x_text = "(" + x_text + " - " + float_text(outside) + ")";
  body += indent + "for (int i = 0; i < " + number(group_in) + "; ++i) s += " + x_text +
          " * read(a1, " + wi + ");\n";
  for (std::size_t d = 0; d < k; ++d) body += "  }\n";
  return call(body + "  return s;\n", {x.buffer, w.buffer});
}

expression_ptr read_channels(lowering& l, value_id v, const dims& shape) {
  dims channels(shape.size() - 1, 1);
  channels[0] = shape[1];
  return load(broadcast(*reshaped(l.in_memory(v), channels), shape));
}

namespace {

void conv(lowering& l, const node& n) {
  if (lower_byte_convolution(l, n)) return;
  const value_id o = n.outputs[0];
  const dims& shape = l.shape(o);
  const view w = l.in_memory(n.inputs[1]);
  const dims kernel(w.shape.begin() + 2, w.shape.end());
  const std::int64_t groups = n.get_int("group", 1);
  const element_type type = l.storage(l.type(o));
  if (count_of(shape) == 0) return l.set(o, l.allocate(shape, type));
  const window s = window_of(n, kernel, l.shape(n.inputs[0]), shape);
  const auto last = channels_last_order(shape.size());
  if (groups != 1) {
    const view x = l.in_memory(n.inputs[0]);
    // Neighbouring threads have neighbouring channels: so have the weights.
    std::vector<std::size_t> order;
    for (std::size_t d = 2; d < w.shape.size(); ++d) order.push_back(d);
    order.push_back(1);
    order.push_back(0);
    const view wl =
        l.in_memory_as(n.inputs[1], type, [](const view& v) { return v.strides[0] == 1; }, order);
    expression_ptr e = direct_convolution(s, x, wl, groups);
    if (n.has_input(2)) {
      e = operation("$0 + $1", {e, read_channels(l, n.inputs[2], shape)});
    }
    return l.set(o, e);
  }
  conv_step c;
  c.type = type;
  c.tf32 = l.tf32();
  c.x = l.in_memory_as(n.inputs[0], type, is_picture, last);
  c.w = l.in_memory_as(n.inputs[1], type, is_picture, last);
  c.pads_begin = s.begin;
  c.pads_end = s.end;
  c.strides = s.strides;
  c.dilations = s.dilations;
  if (n.has_input(2)) {
    c.has_bias = true;
    c.bias = l.in_memory_as(n.inputs[2], type,
                            [](const view& v) { return is_dense(v) && is_aligned(v); });
  }
  l.set(o, std::move(c));
}

}  // namespace

void multiply(lowering& l, const view& a, const view& b, const view& out) {
  gemm_step g;
  g.type = out.type;
  g.tf32 = l.tf32();
  g.batch = a.shape[0];
  g.m = a.shape[1];
  g.k = a.shape[2];
  g.n = b.shape[2];
  const auto whole = [&](const view& v) {
    if (g.batch != 1) return v;
    view flat = v;
    flat.shape.erase(flat.shape.begin());
    flat.strides.erase(flat.strides.begin());
    return flat;
  };
  g.a = as_matrix(l, whole(a), g.type);
  g.b = as_matrix(l, whole(b), g.type);
  g.out = {out.buffer, out.offset, g.m * g.n, g.n, false};
  if (is_gemv(g)) return l.add(map_kernel(gemv_product(std::move(g)), out, l.buffers()));
  l.add(std::move(g));
}

view multiply(lowering& l, const view& a, const view& b, element_type type) {
  const std::size_t r = a.shape.size();
  gemm_step g;
  g.type = type;
  g.tf32 = l.tf32();
  g.m = a.shape[r - 2];
  g.k = a.shape[r - 1];
  g.n = b.shape[r - 1];
  dims shape = a.shape;
  shape[r - 1] = g.n;
  g.batch = count_of(shape) / (g.m * g.n);
  g.a = as_matrix(l, a, type);
  g.b = as_matrix(l, b, type);
  const view out = l.allocate(shape, type);
  g.out = {out.buffer, out.offset, g.m * g.n, g.n, false};
  l.add(std::move(g));
  return out;
}

void add_product_rules(rule_table& table) {
  table["MatMul"] = {takes_matrices, matmul};
  table["Gemm"] = {supports_gemm, gemm};
  table["Conv"] = {supports_conv, conv};
}

}  // namespace mizzen::cuda
