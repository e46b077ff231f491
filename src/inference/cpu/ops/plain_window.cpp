// Convolutions and pools of any number of dimensions and any type.
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace mizzen::inference::detail {
namespace {

using point = std::array<integer, max_rank>;
using extents = std::span<const integer>;

integer volume(extents shape) noexcept {
  integer product = 1;
  for (const integer d : shape) product *= d;
  return product;
}

// A window that moves over the spatial dimensions, as the attributes say. Shape inference has
// checked them.
class window_nd {
 public:
  explicit window_nd(const compile_context& c)
      : kernel_(c.n.attributes.get_ints("kernel_shape")),
        strides_(c.n.attributes.get_ints("strides")),
        dilations_(c.n.attributes.get_ints("dilations")),
        pads_(c.n.attributes.get_ints("pads")) {
    const std::string automatic = c.n.attributes.get_string("auto_pad", "NOTSET");
    same_ = automatic.starts_with("SAME");
    upper_ = automatic == "SAME_UPPER";
    if (automatic == "VALID") pads_.clear();
  }

  // For sizes in front of (in) and behind (out) the window.
  struct placed {
    extents in, out, kernel;
    point stride{}, dilation{}, before{}, after{};

    // Where tap k of output o lies along dimension d; may be in the padding.
    integer at(std::size_t d, integer o, integer k) const noexcept {
      return o * stride[d] - before[d] + k * dilation[d];
    }
    // The same for all dimensions, as an index into a plane; -1 in the padding.
    integer offset(const point& o, const point& k) const noexcept {
      integer flat = 0;
      for (std::size_t d = 0; d < in.size(); ++d) {
        const integer i = at(d, o[d], k[d]);
        if (i < 0 || i >= in[d]) return -1;
        flat = flat * in[d] + i;
      }
      return flat;
    }
  };

  placed over(extents in, extents out, extents weights = {}) const {
    placed p{in, out, kernel_.empty() ? weights : extents(kernel_), {}, {}, {}, {}};
    for (std::size_t d = 0; d < in.size(); ++d) {
      p.stride[d] = strides_.empty() ? 1 : strides_[d];
      p.dilation[d] = dilations_.empty() ? 1 : dilations_[d];
      if (same_) {
        const integer reach = (p.kernel[d] - 1) * p.dilation[d] + 1;
        const integer total = std::max<integer>(0, (out[d] - 1) * p.stride[d] + reach - in[d]);
        p.before[d] = upper_ ? total / 2 : total - total / 2;
        p.after[d] = total - p.before[d];
      } else if (!pads_.empty()) {
        p.before[d] = pads_[d];
        p.after[d] = pads_[d + in.size()];
      }
    }
    return p;
  }

  bool same() const noexcept { return same_; }
  bool upper() const noexcept { return upper_; }

 private:
  std::vector<integer> kernel_, strides_, dilations_, pads_;
  bool same_ = false;
  bool upper_ = false;
};

// y[n, oc, o] = start(oc) + sum of x(n, ic, i) * w(oc, ic, k). x and w are asked by flat index.
template <class X, class W, class Start, class Finish>
void convolve(const plain_run& r, const plain_tensor& x, const plain_tensor& w, integer group,
              const window_nd& window, X x_at, W w_at, Start start, Finish finish) {
  const plain_tensor& y = r.out(0);
  const auto p = window.over(x.shape.subspan(2), y.shape.subspan(2), w.shape.subspan(2));
  const integer in_plane = volume(p.in);
  const integer out_plane = volume(p.out);
  const integer taps = volume(p.kernel);
  const integer per_group = w.dim(1);
  const integer outs = w.dim(0);
  r.pool.parallel_for(
      static_cast<std::size_t>(x.dim(0) * outs), 1, [&](std::size_t begin, std::size_t end) {
        patience left(r);
        for (auto plane = static_cast<integer>(begin); plane < static_cast<integer>(end); ++plane) {
          const integer n = plane / outs;
          const integer oc = plane % outs;
          const integer first = oc / (outs / group) * per_group;
          double* const out = y.data + plane * out_plane;
          std::fill_n(out, out_plane, start(oc));
          point o{};
          for (integer i = 0; i < out_plane; ++i, next_index(p.out, o.data())) {
            left.spend(taps * per_group);
            point k{};
            for (integer t = 0; t < taps; ++t, next_index(p.kernel, k.data())) {
              const integer at = p.offset(o, k);
              if (at < 0) continue;
              for (integer ic = 0; ic < per_group; ++ic) {
                out[i] += x_at((n * x.dim(1) + first + ic) * in_plane + at) *
                          w_at((oc * per_group + ic) * taps + t, oc);
              }
            }
            out[i] = finish(out[i], oc);
          }
        }
      });
}

class conv_op final : public plain_op {
 public:
  explicit conv_op(const compile_context& c)
      : window_(c), group_(c.n.attributes.get_int("group", 1)) {}

  void run(const plain_run& r) const override {
    const double* const x = r.in(0).data;
    const double* const w = r.in(1).data;
    const double* const bias = r.in(2).data;
    convolve(
        r, r.in(0), r.in(1), group_, window_, [&](integer i) { return x[i]; },
        [&](integer i, integer) { return w[i]; },
        [&](integer oc) { return bias != nullptr ? bias[oc] : 0.0; },
        [](double v, integer) { return v; });
  }

 private:
  window_nd window_;
  integer group_;
};

// A zero point or scale: one for all, or one for each channel; `otherwise` when it is left out.
double per_channel(const plain_tensor& t, integer channel, double otherwise) noexcept {
  if (!t.present()) return otherwise;
  return t.data[t.count == 1 ? 0 : channel];
}

class conv_integer_op final : public plain_op {
 public:
  explicit conv_integer_op(const compile_context& c)
      : window_(c), group_(c.n.attributes.get_int("group", 1)) {}

  void run(const plain_run& r) const override {
    const double* const x = r.in(0).data;
    const double* const w = r.in(1).data;
    const double zero = per_channel(r.in(2), 0, 0);
    convolve(
        r, r.in(0), r.in(1), group_, window_, [&](integer i) { return x[i] - zero; },
        [&](integer i, integer oc) { return w[i] - per_channel(r.in(3), oc, 0); },
        [](integer) { return 0.0; }, [](double v, integer) { return v; });
  }

 private:
  window_nd window_;
  integer group_;
};

// x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, B.
class qlinear_conv_op final : public plain_op {
 public:
  explicit qlinear_conv_op(const compile_context& c)
      : window_(c), group_(c.n.attributes.get_int("group", 1)) {}

  void run(const plain_run& r) const override {
    const double* const x = r.in(0).data;
    const double* const w = r.in(3).data;
    const double x_zero = per_channel(r.in(2), 0, 0);
    const double y_zero = per_channel(r.in(7), 0, 0);
    const double* const bias = r.in(8).data;
    convolve(
        r, r.in(0), r.in(3), group_, window_, [&](integer i) { return x[i] - x_zero; },
        [&](integer i, integer oc) { return w[i] - per_channel(r.in(5), oc, 0); },
        [&](integer oc) { return bias != nullptr ? bias[oc] : 0.0; },
        [&](double v, integer oc) {
          const double scale = r.in(1).data[0] * per_channel(r.in(4), oc, 1) / r.in(6).data[0];
          return std::nearbyint(v * scale) + y_zero;
        });
  }

 private:
  window_nd window_;
  integer group_;
};

class conv_transpose_op final : public plain_op {
 public:
  explicit conv_transpose_op(const compile_context& c)
      : window_(c),
        group_(c.n.attributes.get_int("group", 1)),
        extra_(c.n.attributes.get_ints("output_padding")),
        shaped_(c.n.attributes.has("output_shape")) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& w = r.in(1);
    const plain_tensor& y = r.out(0);
    // Seen from the output, which is the input of the convolution that this transposes.
    auto p = window_.over(y.shape.subspan(2), x.shape.subspan(2), w.shape.subspan(2));
    for (std::size_t d = 0; d < p.in.size(); ++d) {
      if (!window_.same() && !shaped_) continue;
      const integer whole = p.stride[d] * (p.out[d] - 1) + (extra_.empty() ? 0 : extra_[d]) +
                            (p.kernel[d] - 1) * p.dilation[d] + 1;
      const integer total = std::max<integer>(0, whole - p.in[d]);
      p.before[d] = window_.same() && !window_.upper() ? total - total / 2 : total / 2;
    }
    const integer in_plane = volume(p.out);
    const integer out_plane = volume(p.in);
    const integer taps = volume(p.kernel);
    const integer ins = x.dim(1) / group_;
    const integer outs = w.dim(1);
    for (integer plane = 0; plane < y.dim(0) * y.dim(1); ++plane) {
      std::fill_n(y.data + plane * out_plane, out_plane,
                  r.in(2).present() ? r.in(2).data[plane % y.dim(1)] : 0.0);
    }
    r.pool.parallel_for(static_cast<std::size_t>(y.dim(0) * y.dim(1)), 1,
                        [&](std::size_t begin, std::size_t end) {
                          patience left(r);
                          for (auto plane = static_cast<integer>(begin);
                               plane < static_cast<integer>(end); ++plane) {
                            const integer n = plane / y.dim(1);
                            const integer oc = plane % y.dim(1);
                            double* const out = y.data + plane * out_plane;
                            for (integer ic = oc / outs * ins; ic < (oc / outs + 1) * ins; ++ic) {
                              const double* const in = x.data + (n * x.dim(1) + ic) * in_plane;
                              const double* const kernel = w.data + (ic * outs + oc % outs) * taps;
                              point i{};
                              for (integer a = 0; a < in_plane; ++a, next_index(p.out, i.data())) {
                                left.spend(taps);
                                point k{};
                                for (integer t = 0; t < taps; ++t, next_index(p.kernel, k.data())) {
                                  const integer at = p.offset(i, k);
                                  if (at >= 0) out[at] += in[a] * kernel[t];
                                }
                              }
                            }
                          }
                        });
  }

 private:
  window_nd window_;
  integer group_;
  std::vector<integer> extra_;
  bool shaped_;
};

// Calls each(plane, output index in it, placed window, position) for all outputs of a pool.
template <class Each>
void for_each_window(const plain_run& r, const window_nd& window, Each each) {
  const plain_tensor& x = r.in(0);
  const plain_tensor& y = r.out(0);
  const auto p = window.over(x.shape.subspan(2), y.shape.subspan(2));
  const integer out_plane = volume(p.out);
  const integer taps = volume(p.kernel);
  patience left(r);
  for (integer plane = 0; plane < x.dim(0) * x.dim(1); ++plane) {
    point o{};
    for (integer i = 0; i < out_plane; ++i, next_index(p.out, o.data())) {
      left.spend(taps);
      each(plane, plane * out_plane + i, p, o);
    }
  }
}

class max_pool_op final : public plain_op {
 public:
  explicit max_pool_op(const compile_context& c)
      : window_(c), column_major_(c.n.attributes.get_int("storage_order", 0) != 0) {}

  void run(const plain_run& r) const override {
    for_each_window(r, window_, [&](integer plane, integer to, const auto& p, const point& o) {
      const integer size = volume(p.in);
      const double* const x = r.in(0).data + plane * size;
      double best = -std::numeric_limits<double>::infinity();
      integer from = -1;
      point k{};
      for (integer t = 0; t < volume(p.kernel); ++t, next_index(p.kernel, k.data())) {
        const integer at = p.offset(o, k);
        if (at < 0 || (from >= 0 && !(x[at] > best))) continue;
        best = x[at];
        from = at;
      }
      r.out(0).data[to] = best;
      if (!r.out(1).present()) return;
      r.out(1).data[to] = real(plane * size + (column_major_ ? transposed(p.in, from) : from));
    });
  }

 private:
  static integer transposed(extents shape, integer at) noexcept {
    integer result = 0;
    integer step = volume(shape);
    for (std::size_t d = shape.size(); d-- > 0;) {
      step /= shape[d];
      result += at % shape[d] * step;
      at /= shape[d];
    }
    return result;
  }

  window_nd window_;
  bool column_major_;
};

class average_pool_op final : public plain_op {
 public:
  explicit average_pool_op(const compile_context& c)
      : window_(c), count_padding_(c.n.attributes.get_int("count_include_pad", 0) != 0) {}

  void run(const plain_run& r) const override {
    for_each_window(r, window_, [&](integer plane, integer to, const auto& p, const point& o) {
      const double* const x = r.in(0).data + plane * volume(p.in);
      double sum = 0;
      integer count = 0;
      point k{};
      for (integer t = 0; t < volume(p.kernel); ++t, next_index(p.kernel, k.data())) {
        const integer at = p.offset(o, k);
        if (at >= 0) sum += x[at];
        if (at >= 0 || (count_padding_ && in_padding(p, o, k))) ++count;
      }
      r.out(0).data[to] = count == 0 ? 0 : sum / real(count);
    });
  }

 private:
  // Not behind the padding, where the last window of ceil_mode may reach.
  static bool in_padding(const window_nd::placed& p, const point& o, const point& k) noexcept {
    for (std::size_t d = 0; d < p.in.size(); ++d) {
      if (p.at(d, o[d], k[d]) >= p.in[d] + p.after[d]) return false;
    }
    return true;
  }

  window_nd window_;
  bool count_padding_;
};

class lp_pool_op final : public plain_op {
 public:
  explicit lp_pool_op(const compile_context& c)
      : window_(c), p_(real(c.n.attributes.get_int("p", 2))) {
    if (!(p_ >= 1)) c.invalid("attribute 'p' must be at least 1");
  }

  void run(const plain_run& r) const override {
    for_each_window(r, window_, [&](integer plane, integer to, const auto& p, const point& o) {
      const double* const x = r.in(0).data + plane * volume(p.in);
      double sum = 0;
      point k{};
      for (integer t = 0; t < volume(p.kernel); ++t, next_index(p.kernel, k.data())) {
        const integer at = p.offset(o, k);
        if (at >= 0) sum += std::pow(std::abs(x[at]), p_);
      }
      r.out(0).data[to] = std::pow(sum, 1 / p_);
    });
  }

 private:
  window_nd window_;
  double p_;
};

enum class global_pool { maximum, mean, norm };

template <global_pool Kind>
class global_pool_op final : public plain_op {
 public:
  explicit global_pool_op(const compile_context& c) : p_(real(c.n.attributes.get_int("p", 2))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const integer plane = x.extent(2, x.rank());
    for (integer i = 0; i < r.out(0).count; ++i) {
      const double* const from = x.data + i * plane;
      double v = Kind == global_pool::maximum ? -std::numeric_limits<double>::infinity() : 0;
      for (integer k = 0; k < plane; ++k) {
        if constexpr (Kind == global_pool::maximum) v = std::max(v, from[k]);
        if constexpr (Kind == global_pool::mean) v += from[k];
        if constexpr (Kind == global_pool::norm) v += std::pow(std::abs(from[k]), p_);
      }
      if constexpr (Kind == global_pool::mean) v /= real(plane);
      if constexpr (Kind == global_pool::norm) v = std::pow(v, 1 / p_);
      r.out(0).data[i] = v;
    }
  }

 private:
  double p_;
};

// Source: ONNX MaxUnpool: indices point into the output that the attributes imply; a larger
// output_shape pads behind it.
class max_unpool_op final : public plain_op {
 public:
  explicit max_unpool_op(const compile_context& c)
      : kernel_(c.n.attributes.get_ints("kernel_shape")),
        strides_(c.n.attributes.get_ints("strides", std::vector<integer>(kernel_.size(), 1))),
        pads_(c.n.attributes.get_ints("pads", std::vector<integer>(2 * kernel_.size(), 0))) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    std::fill_n(y.data, y.count, 0.0);
    point implied{};
    integer total = 1;
    for (std::size_t d = 0; d < x.shape.size(); ++d) {
      implied[d] = d < 2 ? x.shape[d]
                         : (x.shape[d] - 1) * strides_[d - 2] + kernel_[d - 2] - pads_[d - 2] -
                               pads_[d - 2 + kernel_.size()];
      total *= implied[d];
    }
    for (integer i = 0; i < x.count; ++i) {
      integer from = r.in(1).number(i, 0, total - 1, "indices");
      integer to = 0;
      integer step = 1;
      bool inside = true;
      for (std::size_t d = x.shape.size(); d-- > 0;) {
        const integer at = from % implied[d];
        from /= implied[d];
        inside = inside && at < y.shape[d];
        to += at * step;
        step *= y.shape[d];
      }
      if (inside) y.data[to] = x.data[i];
    }
  }

 private:
  std::vector<integer> kernel_, strides_, pads_;
};

// Source: ONNX Col2Im: each column goes back to where its window was taken, overlaps add up.
class col2im_op final : public plain_op {
 public:
  explicit col2im_op(const compile_context& c) : window_(c) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& y = r.out(0);
    std::fill_n(y.data, y.count, 0.0);
    const auto image = y.shape.subspan(2);
    point kernel{};
    for (std::size_t d = 0; d < image.size(); ++d) {
      kernel[d] =
          r.in(2).number(static_cast<integer>(d), 1, image[d] + max_dimension, "block_shape");
    }
    const extents block(kernel.data(), image.size());
    auto p = window_.over(image, image, block);
    point columns{};
    for (std::size_t d = 0; d < image.size(); ++d) {
      columns[d] = (image[d] + p.before[d] + p.after[d] - ((kernel[d] - 1) * p.dilation[d] + 1)) /
                       p.stride[d] +
                   1;
    }
    const extents grid(columns.data(), image.size());
    if (volume(grid) != x.dim(2)) {
      throw error(errc::invalid_argument, "input 0", "its columns do not fit the image");
    }
    const integer plane = volume(image);
    patience left(r);
    for (integer row = 0; row < x.dim(0) * x.dim(1); ++row) {
      left.spend(x.dim(2));
      const integer taps = volume(block);
      point k{};
      integer rest = row % taps;
      for (std::size_t d = image.size(); d-- > 0; rest /= kernel[d]) k[d] = rest % kernel[d];
      double* const to = y.data + row / taps * plane;
      point o{};
      for (integer i = 0; i < x.dim(2); ++i, next_index(grid, o.data())) {
        const integer at = p.offset(o, k);
        if (at >= 0) to[at] += x.data[row * x.dim(2) + i];
      }
    }
  }

 private:
  window_nd window_;
};

// Source: ONNX DeformConv. X, W, offset, B, mask; two spatial dimensions.
class deform_conv_op final : public plain_op {
 public:
  explicit deform_conv_op(const compile_context& c)
      : window_(c),
        group_(c.n.attributes.get_int("group", 1)),
        offset_group_(c.n.attributes.get_int("offset_group", 1)) {}

  void run(const plain_run& r) const override {
    const plain_tensor& x = r.in(0);
    const plain_tensor& w = r.in(1);
    const plain_tensor& offset = r.in(2);
    const plain_tensor& y = r.out(0);
    const auto p = window_.over(x.shape.subspan(2), y.shape.subspan(2), w.shape.subspan(2));
    const integer taps = volume(p.kernel);
    const integer out_plane = volume(p.out);
    const integer per_group = w.dim(1);
    const integer per_offset = x.dim(1) / offset_group_;
    patience left(r);
    for (integer plane = 0; plane < y.dim(0) * y.dim(1); ++plane) {
      const integer n = plane / y.dim(1);
      const integer oc = plane % y.dim(1);
      const integer first = oc / (y.dim(1) / group_) * per_group;
      point o{};
      for (integer i = 0; i < out_plane; ++i, next_index(p.out, o.data())) {
        left.spend(taps * per_group);
        double sum = r.in(3).present() ? r.in(3).data[oc] : 0.0;
        point k{};
        for (integer t = 0; t < taps; ++t, next_index(p.kernel, k.data())) {
          for (integer ic = 0; ic < per_group; ++ic) {
            const integer part = (n * offset_group_ + (first + ic) / per_offset) * taps + t;
            const double h = real(p.at(0, o[0], k[0])) + offset.data[(2 * part) * out_plane + i];
            const double v =
                real(p.at(1, o[1], k[1])) + offset.data[(2 * part + 1) * out_plane + i];
            double value = sample(x, n * x.dim(1) + first + ic, h, v);
            if (r.in(4).present()) value *= r.in(4).data[part * out_plane + i];
            sum += value * w.data[(oc * per_group + ic) * taps + t];
          }
        }
        y.data[plane * out_plane + i] = sum;
      }
    }
  }

 private:
  // Bilinear, 0 outside.
  static double sample(const plain_tensor& x, integer plane, double h, double v) noexcept {
    const integer rows = x.dim(2);
    const integer columns = x.dim(3);
    if (!(h > -1 && h < real(rows) && v > -1 && v < real(columns))) return 0;
    const double top = std::floor(h);
    const double left = std::floor(v);
    double sum = 0;
    for (const integer dh : {0, 1}) {
      for (const integer dv : {0, 1}) {
        const integer a = static_cast<integer>(top) + dh;
        const integer b = static_cast<integer>(left) + dv;
        if (a < 0 || a >= rows || b < 0 || b >= columns) continue;
        const double wh = dh == 0 ? 1 - (h - top) : h - top;
        const double wv = dv == 0 ? 1 - (v - left) : v - left;
        sum += wh * wv * x.data[(plane * rows + a) * columns + b];
      }
    }
    return sum;
  }

  window_nd window_;
  integer group_, offset_group_;
};

}  // namespace

void register_plain_window(op_registry& registry) {
  registry.add_plain("Conv", {compile_plain<conv_op>});
  registry.add_plain("ConvInteger", {compile_plain<conv_integer_op>}, 10);
  registry.add_plain("ConvTranspose", {compile_plain<conv_transpose_op>});
  registry.add_plain("QLinearConv", {compile_plain<qlinear_conv_op>}, 10);
  registry.add_plain("DeformConv", {compile_plain<deform_conv_op>}, 19);
  registry.add_plain("MaxPool", {compile_plain<max_pool_op>});
  registry.add_plain("AveragePool", {compile_plain<average_pool_op>});
  registry.add_plain("LpPool", {compile_plain<lp_pool_op>}, 2);
  registry.add_plain("GlobalMaxPool", {compile_plain<global_pool_op<global_pool::maximum>>});
  registry.add_plain("GlobalAveragePool", {compile_plain<global_pool_op<global_pool::mean>>});
  registry.add_plain("GlobalLpPool", {compile_plain<global_pool_op<global_pool::norm>>}, 2);
  registry.add_plain("MaxUnpool", {compile_plain<max_unpool_op>}, 9);
  registry.add_plain("Col2Im", {compile_plain<col2im_op>}, 18);
}

}  // namespace mizzen::inference::detail
