// Rules of the operators whose windows go over pictures: convolution, pooling, and their inverses.
#include "inference/graph/shape_rules.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::inference::detail {
namespace {

constexpr std::int64_t max_window = std::int64_t{1} << 24;

struct window {
  std::vector<std::int64_t> kernel, strides, dilations, pads;
  std::string auto_pad;
};

// Attributes shared by convolutions and pools, checked, with ONNX's defaults. The names of those of
// a strip's head have a prefix.
window window_of(infer_context& c, std::size_t spatial, std::vector<std::int64_t> kernel,
                 const std::string& prefix = "") {
  const attribute_map& a = c.attributes();
  window w;
  w.kernel = a.get_ints(prefix + "kernel_shape", std::move(kernel));
  w.strides = a.get_ints(prefix + "strides", std::vector<std::int64_t>(spatial, 1));
  w.dilations = a.get_ints(prefix + "dilations", std::vector<std::int64_t>(spatial, 1));
  w.pads = a.get_ints(prefix + "pads", std::vector<std::int64_t>(2 * spatial, 0));
  w.auto_pad = a.get_string(prefix + "auto_pad", "NOTSET");
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
  if (w.kernel[i] < 0) return unknown_dim;
  const std::int64_t stride = w.strides[i];
  const bool same = w.auto_pad == "SAME_UPPER" || w.auto_pad == "SAME_LOWER";
  const bool padded = w.auto_pad == "NOTSET";
  const std::int64_t before = padded ? w.pads[i] : 0;
  const std::int64_t after = padded ? w.pads[i + w.kernel.size()] : 0;
  const std::int64_t reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
  // Whatever the size is, it stays.
  if (stride == 1 && (same || before + after == reach - 1)) return in;
  if (in < 0) return unknown_dim;
  if (same) return (in + stride - 1) / stride;
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

// Of a convolution: inputs x, w and bias by their number.
std::optional<dims> conv_shape(infer_context& c, std::size_t xi, std::size_t wi, std::size_t bi) {
  const dims* x = c.shape(xi);
  const dims* w = c.shape(wi);
  if (x == nullptr || w == nullptr) return std::nullopt;
  const auto [win, group] = convolution_window(c, *x, *w);
  const std::size_t spatial = x->size() - 2;
  if ((*w)[0] >= 0 && (*w)[0] % group != 0) c.fail("group does not divide the output channels");
  if ((*w)[1] >= 0) c.merge((*x)[1], dim_mul((*w)[1], group), "channels of input and weights");
  if (const dims* b = c.shape(bi)) {
    c.rank_is(bi, 1);
    c.merge((*b)[0], (*w)[0], "lengths of bias and output channels");
  }
  dims out{(*x)[0], (*w)[0]};
  for (std::size_t i = 0; i < spatial; ++i) {
    out.push_back(window_output(c, win, i, (*x)[i + 2], false));
  }
  return out;
}

void conv(infer_context& c) {
  c.same_type({0, 1, 2});
  c.set(0, c.type(0), conv_shape(c, 0, 1, 2));
}

// A scale or zero point: one number, or one for each of `channels`.
void one_or_per_channel(infer_context& c, std::size_t i, std::int64_t channels) {
  const dims* s = c.shape(i);
  if (s == nullptr || dim_product(*s) == 1) return;
  c.rank_is(i, 1);
  c.merge((*s)[0], channels, "channels and the length of input " + std::to_string(i));
}

constexpr std::size_t no_input = 64;

void conv_integer(infer_context& c) {
  const auto out = conv_shape(c, 0, 1, no_input);
  one_number(c, {2});
  if (out) one_or_per_channel(c, 3, (*out)[1]);
  c.set(0, element_type::int32, out);
}

}  // namespace

void qlinear_conv(infer_context& c) {
  const auto out = conv_shape(c, 0, 3, 8);
  one_number(c, {1, 2, 6, 7});
  if (out) {
    one_or_per_channel(c, 4, (*out)[1]);
    one_or_per_channel(c, 5, (*out)[1]);
  }
  c.set(0, c.type(7), out);
}

namespace {

// X, W, offset, B, mask.
void deform_conv(infer_context& c) {
  c.same_type({0, 1, 2, 3, 4});
  const auto out = conv_shape(c, 0, 1, 3);
  if (c.shape(0) != nullptr && c.shape(0)->size() != 4) c.unsupported("other than images");
  const std::int64_t groups = c.attributes().get_int("offset_group", 1);
  const dims* w = c.shape(1);
  if (out && w != nullptr) {
    if (groups < 1 || ((*c.shape(0))[1] >= 0 && (*c.shape(0))[1] % groups != 0)) {
      c.fail("offset_group does not divide the input channels");
    }
    const std::int64_t taps = dim_mul(dim_mul((*w)[2], (*w)[3]), groups);
    for (const std::size_t i : {2U, 4U}) {
      const dims* s = c.shape(i);
      if (s == nullptr) continue;
      c.rank_is(i, 4);
      c.merge((*s)[0], (*out)[0], "batches");
      c.merge((*s)[1], dim_mul(taps, i == 2 ? 2 : 1), "offsets or mask and the kernel");
      c.merge((*s)[2], (*out)[2], "heights of the output");
      c.merge((*s)[3], (*out)[3], "widths of the output");
    }
  }
  c.set(0, c.type(0), out);
}

void max_unpool(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  if (x->size() < 3) c.fail("its input must have a rank ≥ 3");
  if (!c.attributes().has("kernel_shape")) c.fail("attribute 'kernel_shape' is missing");
  const window win = window_of(c, x->size() - 2, {});
  if (const dims* indices = c.shape(1)) {
    c.rank_is(1, x->size());
    for (std::size_t i = 0; i < x->size(); ++i)
      c.merge((*x)[i], (*indices)[i], "indices and input");
  }
  dims out{(*x)[0], (*x)[1]};
  for (std::size_t i = 0; i + 2 < x->size(); ++i) {
    const std::int64_t in = (*x)[i + 2];
    out.push_back(in < 1 ? in
                         : dim_add(dim_mul(in - 1, win.strides[i]), win.kernel[i]) - win.pads[i] -
                               win.pads[i + win.kernel.size()]);
    if (in >= 1 && out.back() < 1) c.fail("its pads are larger than its output");
  }
  if (c.has(2)) {
    const auto given = c.ints(2);
    if (!given) return c.set(0, c.type(0), dims(x->size(), unknown_dim));
    if (given->size() != x->size()) c.fail("'output_shape' does not fit the input");
    for (std::size_t i = 0; i < out.size(); ++i) {
      if ((*given)[i] < 0 || (out[i] >= 0 && (*given)[i] < out[i])) {
        c.fail("'output_shape' is smaller than what is unpooled");
      }
      out[i] = (*given)[i];
    }
  }
  c.set(0, c.type(0), out);
}

void col2im(infer_context& c) {
  const auto image = c.ints(1);
  const auto block = c.ints(2);
  const dims* x = c.shape(0);
  c.rank_is(0, 3);
  if (!image) {
    const std::int64_t spatial = c.length(1);
    if (spatial < 0 || spatial + 2 > static_cast<std::int64_t>(max_rank))
      return c.set(0, c.type(0));
    return c.set(0, c.type(0), dims(static_cast<std::size_t>(spatial) + 2, unknown_dim));
  }
  if (image->empty() || image->size() + 2 > max_rank) c.fail("'image_shape' has a wrong length");
  dims out{unknown_dim, unknown_dim};
  for (const std::int64_t d : *image) {
    if (d < 1) c.fail("'image_shape' must be at least 1");
    out.push_back(d);
  }
  window_of(c, image->size(), dims(image->size(), 1));
  if (x != nullptr) out[0] = (*x)[0];
  if (x != nullptr && block) {
    if (block->size() != image->size()) c.fail("'block_shape' and 'image_shape' differ in length");
    std::int64_t taps = 1;
    for (const std::int64_t d : *block) {
      if (d < 1 || d > max_window) c.fail("'block_shape' must be at least 1");
      taps = dim_mul(taps, d);
    }
    if ((*x)[1] >= 0 && (*x)[1] % taps != 0) c.fail("'block_shape' does not divide its rows");
    out[1] = (*x)[1] < 0 ? unknown_dim : (*x)[1] / taps;
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

}  // namespace

// passes/fuse_strips.cpp says what the inputs are.
void conv_strip(infer_context& c) {
  const dims* x = c.shape(0);
  if (x == nullptr) return c.set(0, c.type(0));
  c.rank_is(0, 4);
  const bool planes = c.attributes().get_int("head.planes", 0) == 1;
  dims out{(*x)[0], (*x)[planes ? 2 : 1], (*x)[planes ? 3 : 2], (*x)[planes ? 1 : 3]};
  const auto convolve = [&](std::size_t weights, const std::string& prefix) {
    const dims* w = c.shape(weights);
    if (w == nullptr) return;
    c.rank_is(weights, 4);
    const window win = window_of(c, 2, {w->begin() + 2, w->end()}, prefix);
    out[1] = window_output(c, win, 0, out[1], false);
    out[2] = window_output(c, win, 1, out[2], false);
    out[3] = (*w)[0];
  };
  convolve(1, "head.");
  convolve(3, "");
  // The tail is pointwise.
  if (const dims* w = c.shape(5)) out[3] = (*w)[0];
  c.set(0, c.type(0), out);
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

void add_window_rules(shape_rule_table& table) {
  table["Conv"] = {2, 3, 1, conv};
  table["ConvTranspose"] = {2, 3, 1, conv_transpose};
  table["MaxPool"] = {1, 1, 2, pool};
  table["AveragePool"] = {1, 1, 1, pool};
  table["LpPool"] = {1, 1, 1, pool};
  for (const char* op : {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}) {
    table[op] = {1, 1, 1, global_pool};
  }
  table["ConvInteger"] = {2, 4, 1, conv_integer};
  table["QLinearConv"] = {8, 9, 1, qlinear_conv};
  table["DeformConv"] = {3, 5, 1, deform_conv};
  table["MaxUnpool"] = {2, 3, 1, max_unpool};
  table["Col2Im"] = {3, 3, 1, col2im};
}

}  // namespace mizzen::inference::detail
