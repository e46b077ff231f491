#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {
namespace {

// Every output is made by exactly one tap, and all are: sums need not meet in memory.
bool tiles_exactly(const window_axis& a) {
  return a.kernel == a.stride && a.dilation == 1 && a.pad_begin == 0 && a.in == a.out * a.stride;
}

// The lines of x, a tap and some channels of y at a time.
class transposed_line {
 public:
  transposed_line(const kernel_table& kernels, const channels_last_shape& shape,
                  const conv_transpose_weights& weights, const float* x, const float* bias,
                  float* y, bool accumulate)
      : kernels_(kernels), s_(shape), weights_(weights), x_(x), bias_(bias), y_(y) {
    tile_.taps = 1;
    tile_.depth = s_.out_channels;
    tile_.x = rows_.data();
    tile_.x_taps = 1;
    tile_.accumulate = accumulate;
    tile_.y_row = static_cast<std::ptrdiff_t>(s_.window.width().stride * s_.in_channels);
  }

  void run(std::size_t line, std::size_t column, std::size_t end) {
    const auto& [d, h, w] = s_.window.axes;
    const std::size_t oh = line % h.out;
    const std::size_t od = line / h.out % d.out;
    const std::size_t image = line / h.out / d.out;
    std::size_t tap = 0;
    for (std::size_t kd = 0; kd < d.kernel; ++kd) {
      for (std::size_t kh = 0; kh < h.kernel; ++kh) {
        for (std::size_t kw = 0; kw < w.kernel; ++kw, ++tap) {
          const std::ptrdiff_t id = d.input(od, kd);
          const std::ptrdiff_t ih = h.input(oh, kh);
          if (!d.inside(id) || !h.inside(ih)) continue;
          const std::size_t to = ((image * d.in + static_cast<std::size_t>(id)) * h.in +
                                  static_cast<std::size_t>(ih)) *
                                 w.in;
          add_tap(tap, kw, line * w.out, to, column, end);
        }
      }
    }
  }

 private:
  void add_tap(std::size_t tap, std::size_t kw, std::size_t from, std::size_t to,
               std::size_t column, std::size_t end) {
    const window_axis& w = s_.window.width();
    const auto [first, last] = w.outputs_inside(kw);
    if (first == last) return;
    const std::size_t step = balanced_tile(kernels_, last - first);
    for (std::size_t n = column; n < end; n += kernels_.tile_columns()) {
      tile_.columns = std::min(kernels_.tile_columns(), end - n);
      tile_.weights = weights_.panel(tap, n);
      tile_.bias = bias_ != nullptr ? bias_ + n : nullptr;
      for (std::size_t ow = first; ow < last; ow += step) {
        tile_.rows = std::min(step, last - ow);
        for (std::size_t r = 0; r < tile_.rows; ++r) {
          rows_[r] = x_ + (from + ow + r) * s_.out_channels;
        }
        tile_.y = y_ + (to + static_cast<std::size_t>(w.input(ow, kw))) * s_.in_channels + n;
        kernels_.conv(tile_);
      }
    }
  }

  const kernel_table& kernels_;
  const channels_last_shape& s_;
  const conv_transpose_weights& weights_;
  const float* x_;
  const float* bias_;
  float* y_;
  std::array<const float*, 16> rows_{};
  conv_tile tile_;
};

}  // namespace

conv_transpose_weights::conv_transpose_weights(const kernel_table& kernels,
                                               const channels_last_shape& s, const float* weights)
    : depth_(s.out_channels), row_(round_up(s.in_channels, kernels.vector_size())) {
  const std::size_t taps = s.window.taps();
  const std::size_t width = kernels.tile_columns();
  data_ = aligned_floats(taps * depth_ * row_);
  float* to = data_.data();
  for (std::size_t t = 0; t < taps; ++t) {
    for (std::size_t n = 0; n < row_; n += width) {
      const std::size_t columns = std::min(width, row_ - n);
      for (std::size_t i = 0; i < depth_; ++i, to += columns) {
        for (std::size_t c = 0; c < columns && n + c < s.in_channels; ++c) {
          to[c] = weights[(i * s.in_channels + n + c) * taps + t];
        }
      }
    }
  }
}

void conv_transpose_channels_last(const kernel_table& kernels, thread_pool& pool,
                                  const channels_last_shape& s,
                                  const conv_transpose_weights& weights, const float* x,
                                  const float* bias, float* y) {
  const auto& [d, h, w] = s.window.axes;
  const std::size_t channels = s.in_channels;
  const std::size_t lines = s.batch * d.out * h.out;
  const std::size_t work = w.out * s.out_channels * channels * s.window.taps();
  if (tiles_exactly(d) && tiles_exactly(h) && tiles_exactly(w)) {
    pool.parallel_for(lines, (std::size_t{256} << 10) / (work + 1) + 1,
                      [&](std::size_t begin, std::size_t end) {
                        transposed_line each(kernels, s, weights, x, bias, y, false);
                        for (std::size_t i = begin; i < end; ++i) each.run(i, 0, channels);
                      });
    return;
  }
  // Lines overlap: a thread takes all of them, but only some channels.
  const std::size_t pixels = s.batch * s.window.in_size();
  const std::size_t width = kernels.tile_columns();
  pool.parallel_for(divide_up(channels, width), (std::size_t{256} << 10) / (lines * work + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      const std::size_t column = begin * width;
                      const std::size_t last = std::min(end * width, channels);
                      for (std::size_t p = 0; p < pixels; ++p) {
                        float* const to = y + p * channels;
                        if (bias != nullptr) {
                          std::copy(bias + column, bias + last, to + column);
                        } else {
                          std::fill(to + column, to + last, 0.0F);
                        }
                      }
                      transposed_line each(kernels, s, weights, x, nullptr, y, true);
                      for (std::size_t i = 0; i < lines; ++i) each.run(i, column, last);
                    });
}

}  // namespace mizzen::inference::detail::cpu
