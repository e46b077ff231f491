#include "inference/cpu/kernels/conv_channels_last_parts.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {
namespace {

bool is_apart(const window_axis& a) {
  return a.kernel == a.stride && a.dilation == 1 && a.pad_begin == 0 && a.pad_end == 0;
}
bool is_apart(const window_3d& w) {
  return is_apart(w.depth()) && is_apart(w.height()) && is_apart(w.width());
}

// A line of x at a time.
class transposed_line {
 public:
  transposed_line(const kernel_table& kernels, const channels_last_shape& shape,
                  const conv_transpose_weights& weights, const float* x, float* y)
      : kernels_(kernels), s_(shape), weights_(weights), x_(x), y_(y) {
    tile_.taps = 1;
    tile_.depth = s_.out_channels;
    tile_.x = rows_.data();
    tile_.x_taps = 1;
    tile_.accumulate = !weights.apart();
    tile_.y_row = static_cast<std::ptrdiff_t>(s_.window.width().stride * s_.in_channels);
  }

  // Makes columns [column, end) of what the line makes; bias is for the channels of y, or null.
  void run(std::size_t line, std::size_t column, std::size_t end, const float* bias) {
    const auto& [d, h, w] = s_.window.axes;
    const std::size_t oh = line % h.out;
    const std::size_t od = line / h.out % d.out;
    const std::size_t image = line / h.out / d.out;
    const std::size_t width_taps = weights_.apart() ? 1 : w.kernel;
    std::size_t tap = 0;
    for (std::size_t kd = 0; kd < d.kernel; ++kd) {
      for (std::size_t kh = 0; kh < h.kernel; ++kh) {
        for (std::size_t kw = 0; kw < width_taps; ++kw, ++tap) {
          const std::ptrdiff_t id = d.input(od, kd);
          const std::ptrdiff_t ih = h.input(oh, kh);
          if (!d.inside(id) || !h.inside(ih)) continue;
          const std::size_t to = ((image * d.in + static_cast<std::size_t>(id)) * h.in +
                                  static_cast<std::size_t>(ih)) *
                                 w.in;
          add_tap(tap, kw, line * w.out, to, column, end, bias);
        }
      }
    }
  }

 private:
  void add_tap(std::size_t tap, std::size_t kw, std::size_t from, std::size_t to,
               std::size_t column, std::size_t end, const float* bias) {
    const window_axis& w = s_.window.width();
    const auto [first, last] = w.outputs_inside(kw);
    if (first == last) return;
    const std::size_t step = balanced_tile(kernels_, last - first);
    for (std::size_t n = column; n < end; n += kernels_.tile_columns()) {
      tile_.columns = std::min(kernels_.tile_columns(), end - n);
      tile_.weights = weights_.panel(tap, n);
      if (bias != nullptr) {
        for (std::size_t i = 0; i < tile_.columns; ++i) bias_[i] = bias[(n + i) % s_.in_channels];
        tile_.bias = bias_.data();
      }
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
  float* y_;
  std::array<const float*, 16> rows_{};  // of a tile
  std::array<float, 32> bias_{};         // of its columns
  conv_tile tile_;
};

void fill(float* y, std::size_t pixels, std::size_t channels, std::size_t first, std::size_t last,
          const float* bias) {
  for (std::size_t p = 0; p < pixels; ++p, y += channels) {
    if (bias != nullptr) {
      std::copy(bias + first, bias + last, y + first);
    } else {
      std::fill(y + first, y + last, 0.0F);
    }
  }
}

}  // namespace

conv_transpose_weights::conv_transpose_weights(const kernel_table& kernels,
                                               const channels_last_shape& s, const float* weights)
    : apart_(is_apart(s.window)), depth_(s.out_channels) {
  const std::size_t width_taps = s.window.width().kernel;
  const std::size_t merged = apart_ ? width_taps : 1;
  columns_ = merged * s.in_channels;
  row_ = round_up(columns_, kernels.vector_size());
  const std::size_t all_taps = s.window.taps();
  const std::size_t taps = all_taps / merged;
  const std::size_t width = kernels.tile_columns();
  data_ = aligned_floats(taps * depth_ * row_);
  float* to = data_.data();
  for (std::size_t t = 0; t < taps; ++t) {
    for (std::size_t n = 0; n < row_; n += width) {
      const std::size_t columns = std::min(width, row_ - n);
      for (std::size_t i = 0; i < depth_; ++i, to += columns) {
        for (std::size_t c = n; c < std::min(n + columns, columns_); ++c) {
          const std::size_t channel = c % s.in_channels;
          const std::size_t tap = t * merged + c / s.in_channels;
          to[c - n] = weights[(i * s.in_channels + channel) * all_taps + tap];
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
  const std::size_t pixels = s.batch * s.window.in_size();
  const std::size_t work = w.out * s.out_channels * channels * s.window.taps();
  constexpr std::size_t grain = std::size_t{256} << 10;
  if (weights.apart()) {
    const bool gaps = lines * w.out * s.window.taps() != pixels;
    if (gaps) fill(y, pixels, channels, 0, channels, bias);
    pool.parallel_for(lines, grain / (work + 1) + 1, [&](std::size_t begin, std::size_t end) {
      transposed_line each(kernels, s, weights, x, y);
      for (std::size_t i = begin; i < end; ++i) each.run(i, 0, weights.columns(), bias);
    });
    return;
  }
  // Lines overlap: a thread takes all of them, but only some channels.
  const std::size_t width = kernels.tile_columns();
  pool.parallel_for(divide_up(channels, width), grain / (lines * work + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      const std::size_t last = std::min(end * width, channels);
                      fill(y, pixels, channels, begin * width, last, bias);
                      transposed_line each(kernels, s, weights, x, y);
                      for (std::size_t i = 0; i < lines; ++i) {
                        each.run(i, begin * width, last, nullptr);
                      }
                    });
}

}  // namespace mizzen::inference::detail::cpu
