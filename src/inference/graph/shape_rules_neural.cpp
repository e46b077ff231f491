// Rules of the operators that compute: convolution, pooling, matrix products, normalisation,
// reductions.
#include "inference/graph/shape_rules.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace mizzen::inference::detail {
namespace {

constexpr std::int64_t max_window = std::int64_t{1} << 24;

struct window {
  std::vector<std::int64_t> kernel, strides, dilations, pads;
  std::string auto_pad;
};

// Attributes shared by convolutions and pools, checked, with ONNX's defaults.
window window_of(infer_context& c, std::size_t spatial, std::vector<std::int64_t> kernel) {
  window w;
  w.kernel = c.attributes().get_ints("kernel_shape", std::move(kernel));
  w.strides = c.attributes().get_ints("strides", std::vector<std::int64_t>(spatial, 1));
  w.dilations = c.attributes().get_ints("dilations", std::vector<std::int64_t>(spatial, 1));
  w.pads = c.attributes().get_ints("pads", std::vector<std::int64_t>(2 * spatial, 0));
  w.auto_pad = c.attributes().get_string("auto_pad", "NOTSET");
  if (w.kernel.size() != spatial || w.strides.size() != spatial || w.dilations.size() != spatial ||
      w.pads.size() != 2 * spatial) {
    c.fail("kernel_shape, strides, dilations and pads must have one entry (pads two) for each of " +
           std::to_string(spatial) + " spatial dimensions");
  }
  const auto in_range = [&](const std::vector<std::int64_t>& list, std::int64_t least) {
    return std::all_of(list.begin(), list.end(),
                       [&](std::int64_t v) { return v >= least && v <= max_window; });
  };
  if (!in_range(w.strides, 1) || !in_range(w.dilations, 1) || !in_range(w.pads, 0)) {
    c.fail("strides and dilations must be at least 1, pads at least 0");
  }
  for (const std::int64_t k : w.kernel) {
    if (k != unknown_dim && (k < 1 || k > max_window)) c.fail("kernel_shape must be at least 1");
  }
  if (w.auto_pad != "NOTSET" && w.auto_pad != "VALID" && w.auto_pad != "SAME_UPPER" &&
      w.auto_pad != "SAME_LOWER") {
    c.fail("unknown auto_pad '" + w.auto_pad + "'");
  }
  return w;
}

std::int64_t window_output(infer_context& c, const window& w, std::size_t i, std::int64_t in,
                           bool ceil) {
  if (in < 0 || w.kernel[i] < 0) return unknown_dim;
  const std::int64_t stride = w.strides[i];
  if (w.auto_pad == "SAME_UPPER" || w.auto_pad == "SAME_LOWER") return (in + stride - 1) / stride;
  const bool padded = w.auto_pad == "NOTSET";
  const std::int64_t before = padded ? w.pads[i] : 0;
  const std::int64_t after = padded ? w.pads[i + w.kernel.size()] : 0;
  const std::int64_t reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
  const std::int64_t room = dim_add(in, before + after) - reach;
  if (room < 0) {
    c.fail("its window of " + std::to_string(reach) + " is larger than the padded input of " +
           std::to_string(in + before + after));
  }
  if (!ceil) return room / stride + 1;
  std::int64_t out = (room + stride - 1) / stride + 1;
  // A window that would begin in the padding behind the input is left out.
  if ((out - 1) * stride >= in + before) --out;
  return out;
}

struct grouped_window {
  window win;
  std::int64_t group;
};

// What Conv and ConvTranspose share: ranks, the window and the group.
grouped_window convolution_window(infer_context& c, const dims& x, const dims& w) {
  if (x.size() < 3 || w.size() != x.size()) c.fail("input and weights must have one rank ≥ 3");
  const std::size_t spatial = x.size() - 2;
  window win = window_of(c, spatial, {w.begin() + 2, w.end()});
  for (std::size_t i = 0; i < spatial; ++i) {
    c.merge(win.kernel[i], w[i + 2], "kernel_shape and the weights' shape");
  }
  const std::int64_t group = c.attributes().get_int("group", 1);
  if (group < 1) c.fail("group must be at least 1");
  return {std::move(win), group};
}

void conv(infer_context& c) {
  c.same_type({0, 1, 2});
  const dims* x = c.shape(0);
  const dims* w = c.shape(1);
  if (x == nullptr || w == nullptr) return c.set(0, c.type(0));
  const auto [win, group] = convolution_window(c, *x, *w);
  const std::size_t spatial = x->size() - 2;
  if ((*w)[0] >= 0 && (*w)[0] % group != 0) c.fail("group does not divide the output channels");
  if ((*w)[1] >= 0) c.merge((*x)[1], dim_mul((*w)[1], group), "channels of input and weights");
  if (const dims* b = c.shape(2)) {
    c.rank_is(2, 1);
    c.merge((*b)[0], (*w)[0], "lengths of bias and output channels");
  }
  dims out{(*x)[0], (*w)[0]};
  for (std::size_t i = 0; i < spatial; ++i) {
    out.push_back(window_output(c, win, i, (*x)[i + 2], false));
  }
  c.set(0, c.type(0), out);
}

void conv_transpose(infer_context& c) {
  c.same_type({0, 1, 2});
  const dims* x = c.shape(0);
  const dims* w = c.shape(1);
  if (x == nullptr || w == nullptr) return c.set(0, c.type(0));
  const auto [win, group] = convolution_window(c, *x, *w);
  const std::size_t spatial = x->size() - 2;
  c.merge((*x)[1], (*w)[0], "channels of input and weights");
  if ((*w)[0] >= 0 && (*w)[0] % group != 0) c.fail("group does not divide the input channels");
  const auto extra = c.attributes().get_ints("output_padding", dims(spatial, 0));
  const auto wanted = c.attributes().get_ints("output_shape");
  if (extra.size() != spatial || (!wanted.empty() && wanted.size() != spatial)) {
    c.fail("output_padding and output_shape must have an entry for each spatial dimension");
  }
  const std::int64_t channels = dim_mul((*w)[1], group);
  if (const dims* b = c.shape(2)) {
    c.rank_is(2, 1);
    c.merge((*b)[0], channels, "lengths of bias and output channels");
  }
  dims out{(*x)[0], channels};
  for (std::size_t i = 0; i < spatial; ++i) {
    if (extra[i] < 0 || extra[i] > max_window) c.fail("output_padding must be at least 0");
    if (!wanted.empty()) {
      out.push_back(wanted[i]);
      continue;
    }
    const std::int64_t in = (*x)[i + 2];
    if (in < 0 || win.kernel[i] < 0) {
      out.push_back(unknown_dim);
      continue;
    }
    const bool same = win.auto_pad == "SAME_UPPER" || win.auto_pad == "SAME_LOWER";
    const std::int64_t padding = win.auto_pad == "NOTSET" ? win.pads[i] + win.pads[i + spatial] : 0;
    const std::int64_t full = dim_add(dim_mul(win.strides[i], in - 1),
                                      extra[i] + (win.kernel[i] - 1) * win.dilations[i] + 1);
    out.push_back(same ? dim_mul(in, win.strides[i]) : full - padding);
    if (out.back() < 0) c.fail("its pads are larger than its output");
  }
  c.set(0, c.type(0), out);
}

void pool(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) {
    c.set(0, c.type(0));
    return c.set(1, element_type::int64);
  }
  if (x->size() < 3) c.fail("its input must have a rank ≥ 3");
  if (!c.attributes().has("kernel_shape")) c.fail("attribute 'kernel_shape' is missing");
  const window win = window_of(c, x->size() - 2, {});
  const bool ceil = c.attributes().get_int("ceil_mode", 0) != 0;
  dims out{(*x)[0], (*x)[1]};
  for (std::size_t i = 0; i + 2 < x->size(); ++i) {
    out.push_back(window_output(c, win, i, (*x)[i + 2], ceil));
  }
  c.set(0, c.type(0), out);
  c.set(1, element_type::int64, out);
}

void global_pool(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 3) c.fail("its input must have a rank ≥ 3");
  dims out(x->size(), 1);
  out[0] = (*x)[0];
  out[1] = (*x)[1];
  c.set(0, c.type(0), out);
}

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
  const dims* pa = c.shape(0);
  const dims* pb = c.shape(1);
  if (pa == nullptr || pb == nullptr) return c.set(0, c.type(0));
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
  c.set(0, c.type(0), out);
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

void rms_normalization(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  c.axis(c.attributes().get_int("axis", -1), x->size());
  if (const dims* scale = c.shape(1)) c.broadcasts_to(*scale, *x);
  c.set(0, c.type(0), *x);
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

void add_neural_rules(shape_rule_table& table) {
  table["Conv"] = {2, 3, 1, conv};
  table["ConvTranspose"] = {2, 3, 1, conv_transpose};
  table["MaxPool"] = {1, 1, 2, pool};
  table["AveragePool"] = {1, 1, 1, pool};
  table["LpPool"] = {1, 1, 1, pool};
  for (const char* op : {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}) {
    table[op] = {1, 1, 1, global_pool};
  }
  table["Gemm"] = {2, 3, 1, gemm};
  table["MatMul"] = {2, 2, 1, matmul};
  table["BatchNormalization"] = {5, 5, 5, batch_normalization};
  table["InstanceNormalization"] = {3, 3, 1, instance_normalization};
  table["RMSNormalization"] = {2, 2, 1, rms_normalization};
  table["LayerNormalization"] = {2, 3, 3, layer_normalization};
  table["RMSNormalization"] = {2, 2, 1, layer_normalization};
  for (const char* op :
       {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}) {
    table[op] = {1, 2, 1, reduce};
  }
  table["ArgMax"] = {1, 1, 1, arg_reduce};
  table["ArgMin"] = {1, 1, 1, arg_reduce};
}

}  // namespace mizzen::inference::detail
