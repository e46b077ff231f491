// Rules of the operators that compute: matrix products, quantisation, normalisation, reductions.
#include "inference/graph/shape_rules.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace mizzen::inference::detail {
namespace {

void gemm(infer_context& c) {
  c.same_type({0, 1, 2});
  c.rank_is(0, 2);
  c.rank_is(1, 2);
  const dims* a = c.shape(0);
  const dims* b = c.shape(1);
  if (a == nullptr || b == nullptr) return c.set(0, c.type(0), dims{unknown_dim, unknown_dim});
  const std::size_t ta = c.attributes().get_int("transA", 0) != 0 ? 1 : 0;
  const std::size_t tb = c.attributes().get_int("transB", 0) != 0 ? 1 : 0;
  c.merge((*a)[1 - ta], (*b)[tb], "inner dimensions");
  const dims out{(*a)[ta], (*b)[1 - tb]};
  if (const dims* bias = c.shape(2)) c.broadcasts_to(*bias, out);
  c.set(0, c.type(0), out);
}

void matmul(infer_context& c) {
  c.same_type({0, 1});
  c.set(0, c.type(0), matmul_shape(c, 0, 1));
}

// The zero point of a matrix: one number, or one for each row of a or column of b.
void matrix_zero_point(infer_context& c, std::size_t i, std::size_t of, bool rows) {
  const dims* s = c.shape(i);
  const dims* m = c.shape(of);
  if (s == nullptr || m == nullptr || dim_product(*s) == 1) return;
  dims wanted = *m;
  if (m->size() > 1 && rows) wanted.back() = 1;
  if (m->size() > 1 && !rows) wanted[m->size() - 2] = 1;
  const std::int64_t lines = m->size() < 2 ? 1 : rows ? (*m)[m->size() - 2] : m->back();
  if (s->size() == 1) {
    c.merge((*s)[0], lines, "lengths of a zero point or scale and its matrix");
  } else if (dim_product(*s) != unknown_dim && dim_product(wanted) != unknown_dim &&
             dim_product(*s) != dim_product(wanted)) {
    c.fail("input " + std::to_string(i) + " does not fit its matrix");
  }
}

void matmul_integer(infer_context& c) {
  matrix_zero_point(c, 2, 0, true);
  matrix_zero_point(c, 3, 1, false);
  c.set(0, element_type::int32, matmul_shape(c, 0, 1));
}

}  // namespace

void qlinear_matmul(infer_context& c) {
  one_number(c, {6, 7});
  for (const std::size_t i : {1U, 2U}) matrix_zero_point(c, i, 0, true);
  for (const std::size_t i : {4U, 5U}) matrix_zero_point(c, i, 3, false);
  for (const std::size_t i : {1U, 4U}) {
    if (c.shape(i) != nullptr && c.shape(i)->size() > 1) c.unsupported("scales by batch");
  }
  c.set(0, c.type(7), matmul_shape(c, 0, 3));
}

namespace {

// Scales and zero points go with the input: one, one for each index of an axis, or one a block.
void quantisation_parameters(infer_context& c) {
  const dims* x = c.shape(0);
  const dims* scale = c.shape(1);
  const std::int64_t block = c.attributes().get_int("block_size", 0);
  if (block < 0) c.fail("block_size is negative");
  if (const dims* zero = c.shape(2); zero != nullptr && scale != nullptr) {
    if (dim_product(*zero) != dim_product(*scale) && dim_product(*zero) >= 0 &&
        dim_product(*scale) >= 0) {
      c.fail("its scale and zero point differ in shape");
    }
  }
  if (x == nullptr || scale == nullptr || dim_product(*scale) == 1 || scale->empty()) return;
  const std::size_t axis = c.axis(c.attributes().get_int("axis", 1), x->size());
  if (block == 0) {
    c.rank_is(1, 1);
    c.merge((*scale)[0], (*x)[axis], "lengths of the scale and the axis");
    return;
  }
  c.rank_is(1, x->size());
  for (std::size_t i = 0; i < x->size(); ++i) {
    const std::int64_t blocks = (*x)[i] < 0 ? unknown_dim : ((*x)[i] + block - 1) / block;
    c.merge((*scale)[i], i == axis ? blocks : (*x)[i], "dimensions of the scale and the blocks");
  }
}

void quantize(infer_context& c) {
  quantisation_parameters(c);
  const auto given = static_cast<element_type>(c.attributes().get_int("output_dtype", 0));
  element_type to = c.has(2) ? c.type(2) : given;
  if (to == element_type::undefined) to = element_type::uint8;
  if (to_string(to) == "undefined") c.fail("attribute 'output_dtype' is no element type");
  c.set(0, to, c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

void dequantize(infer_context& c) {
  quantisation_parameters(c);
  const auto given = static_cast<element_type>(c.attributes().get_int("output_dtype", 0));
  if (given != element_type::undefined && to_string(given) == "undefined") {
    c.fail("attribute 'output_dtype' is no element type");
  }
  c.set(0, given != element_type::undefined ? given : c.type(1),
        c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
}

void dynamic_quantize(infer_context& c) {
  c.set(0, element_type::uint8, c.shape(0) ? std::optional(*c.shape(0)) : std::nullopt);
  c.set(1, element_type::float32, dims{});
  c.set(2, element_type::uint8, dims{});
}

void channel_parameters(infer_context& c, std::size_t first, std::size_t last,
                        std::int64_t length) {
  for (std::size_t i = first; i <= last; ++i) {
    c.rank_is(i, 1);
    if (const dims* s = c.shape(i)) c.merge(s->front(), length, "channels and parameter lengths");
  }
}

void batch_normalization(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 2) c.fail("its input must have a rank ≥ 2");
  channel_parameters(c, 1, 4, (*x)[1]);
  c.set(0, c.type(0), *x);
  for (std::size_t i = 1; i < 5; ++i) c.set(i, c.type(i < 3 ? i + 2 : i), dims{(*x)[1]});
}

void group_normalization(infer_context& c) {
  const dims* x = c.shape(0);
  const std::int64_t groups = c.attributes().require_int("num_groups");
  if (groups < 1) c.fail("num_groups must be at least 1");
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 2) c.fail("its input must have a rank ≥ 2");
  if ((*x)[1] >= 0 && (*x)[1] % groups != 0) c.fail("num_groups does not divide the channels");
  channel_parameters(c, 1, 2, c.n().opset < 21 ? groups : (*x)[1]);
  c.set(0, c.type(0), *x);
}

void instance_normalization(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 3) c.fail("its input must have a rank ≥ 3");
  channel_parameters(c, 1, 2, (*x)[1]);
  c.set(0, c.type(0), *x);
}

void layer_normalization(infer_context& c) {
  c.same_type({0, 1, 2});
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  const std::size_t axis = c.axis(c.attributes().get_int("axis", -1), x->size());
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    if (const dims* s = c.shape(i)) c.broadcasts_to(*s, *x);
  }
  dims statistics = *x;
  std::fill(statistics.begin() + static_cast<std::ptrdiff_t>(axis), statistics.end(), 1);
  c.set(0, c.type(0), *x);
  c.set(1, element_type::float32, statistics);
  c.set(2, element_type::float32, statistics);
}

// Axes are an attribute in older versions and an input in newer ones; whichever is there counts.
void reduce(infer_context& c) {
  const dims* x = c.shape(0);
  const bool keep = c.attributes().get_int("keepdims", 1) != 0;
  std::optional<std::vector<std::int64_t>> axes = c.attributes().get_ints("axes");
  if (c.has(1)) axes = c.ints(1);
  if (x == nullptr) return c.set(0, c.type(0));
  if (!axes) {
    if (keep) return c.set(0, c.type(0), dims(x->size(), unknown_dim));
    const std::int64_t count = c.length(1);
    const auto rank = static_cast<std::int64_t>(x->size());
    if (count > 0 && count <= rank) {
      return c.set(0, c.type(0), dims(static_cast<std::size_t>(rank - count), unknown_dim));
    }
    return c.set(0, c.type(0));
  }
  if (axes->empty() && c.attributes().get_int("noop_with_empty_axes", 0) != 0) {
    return c.set(0, c.type(0), *x);
  }
  std::vector<bool> reduced(x->size(), axes->empty());
  for (const std::int64_t a : *axes) {
    const std::size_t axis = c.axis(a, x->size());
    if (reduced[axis]) c.fail("axis " + std::to_string(a) + " is there twice");
    reduced[axis] = true;
  }
  dims out;
  for (std::size_t i = 0; i < x->size(); ++i) {
    if (!reduced[i]) out.push_back((*x)[i]);
    if (reduced[i] && keep) out.push_back(1);
  }
  c.set(0, c.type(0), out);
}

void arg_reduce(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, element_type::int64);
  const std::size_t axis = c.axis(c.attributes().get_int("axis", 0), x->size());
  if ((*x)[axis] == 0) c.fail("there is no extreme element along a dimension of 0");
  dims out = *x;
  out[axis] = 1;
  if (c.attributes().get_int("keepdims", 1) == 0) {
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  c.set(0, element_type::int64, out);
}

}  // namespace

void one_number(infer_context& c, std::initializer_list<std::size_t> inputs) {
  for (const std::size_t i : inputs) {
    const dims* s = c.shape(i);
    if (s != nullptr && dim_product(*s) != 1 && dim_product(*s) != unknown_dim) {
      c.fail("input " + std::to_string(i) + " must be one number");
    }
  }
}

std::optional<dims> matmul_shape(infer_context& c, std::size_t ai, std::size_t bi) {
  const dims* pa = c.shape(ai);
  const dims* pb = c.shape(bi);
  if (pa == nullptr || pb == nullptr) return std::nullopt;
  if (pa->empty() || pb->empty()) c.fail("its inputs must have at least one dimension");
  dims a = *pa;
  dims b = *pb;
  const bool row = a.size() == 1;
  const bool column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  c.merge(a.back(), b[b.size() - 2], "inner dimensions");
  dims out = c.broadcast({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  if (!row) out.push_back(a[a.size() - 2]);
  if (!column) out.push_back(b.back());
  return out;
}

void add_neural_rules(shape_rule_table& table) {
  table["MatMulInteger"] = {2, 4, 1, matmul_integer};
  table["QLinearMatMul"] = {8, 8, 1, qlinear_matmul};
  table["QuantizeLinear"] = {2, 3, 1, quantize};
  table["DequantizeLinear"] = {2, 3, 1, dequantize};
  table["DynamicQuantizeLinear"] = {1, 1, 3, dynamic_quantize};
  table["Gemm"] = {2, 3, 1, gemm};
  table["MatMul"] = {2, 2, 1, matmul};
  table["BatchNormalization"] = {5, 5, 5, batch_normalization};
  table["InstanceNormalization"] = {3, 3, 1, instance_normalization};
  table["GroupNormalization"] = {3, 3, 1, group_normalization};
  table["LayerNormalization"] = {2, 3, 3, layer_normalization};
  table["RMSNormalization"] = {2, 2, 1, layer_normalization};
  // Of ONNX Runtime, in the default domain all the same.
  table["SimplifiedLayerNormalization"] = {2, 2, 1, layer_normalization};
  for (const char* op :
       {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}) {
    table[op] = {1, 2, 1, reduce};
  }
  table["ArgMax"] = {1, 1, 1, arg_reduce};
  table["ArgMin"] = {1, 1, 1, arg_reduce};
}

}  // namespace mizzen::inference::detail
