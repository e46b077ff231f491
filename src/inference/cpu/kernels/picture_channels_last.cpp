#include "inference/cpu/kernels/picture_channels_last.hpp"

#include "inference/cpu/kernels/broadcast.hpp"
#include "inference/cpu/kernels/divide_up.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mizzen::inference::detail::cpu {
namespace {

// Folds every window of one output line.
void fold_line(const kernel_table& kernels, reduce_op op, const window_3d& window, std::size_t line,
               std::size_t channels, const float* x, float* y) {
  const auto& [d, h, w] = window.axes;
  const std::size_t oh = line % h.out;
  const std::size_t od = line / h.out % d.out;
  const std::size_t image = line / h.out / d.out;
  const float start = op == reduce_op::max ? -std::numeric_limits<float>::infinity() : 0.0F;
  for (std::size_t ow = 0; ow < w.out; ++ow, y += channels) {
    bool first = true;
    for (std::size_t kd = 0; kd < d.kernel; ++kd) {
      const std::ptrdiff_t id = d.input(od, kd);
      if (!d.inside(id)) continue;
      for (std::size_t kh = 0; kh < h.kernel; ++kh) {
        const std::ptrdiff_t ih = h.input(oh, kh);
        if (!h.inside(ih)) continue;
        for (std::size_t kw = 0; kw < w.kernel; ++kw) {
          const std::ptrdiff_t iw = w.input(ow, kw);
          if (!w.inside(iw)) continue;
          const std::size_t pixel = ((image * d.in + static_cast<std::size_t>(id)) * h.in +
                                     static_cast<std::size_t>(ih)) *
                                        w.in +
                                    static_cast<std::size_t>(iw);
          if (first) {
            std::copy_n(x + pixel * channels, channels, y);
            first = false;
          } else {
            kernels.accumulate(op, x + pixel * channels, y, channels);
          }
        }
      }
    }
    if (first) std::fill_n(y, channels, start);
  }
}

template <class Function>
void for_each_line(thread_pool& pool, const window_3d& w, std::size_t batch, std::size_t channels,
                   Function&& f) {
  const std::size_t work = w.width().out * w.taps() * channels;
  pool.parallel_for(batch * w.depth().out * w.height().out, element_grain / (work + 1) + 1,
                    [&](std::size_t begin, std::size_t end) {
                      for (std::size_t i = begin; i < end; ++i) f(i);
                    });
}

// Runs this long hide the cost of calling a kernel.
constexpr std::size_t long_run = 512;
// Pixels are summed up in so many parts, however many threads there are: the rounding is the same.
constexpr std::size_t parts = 16;

std::size_t pixels_of_run(std::size_t channels) {
  return std::max<std::size_t>(1, long_run / std::max<std::size_t>(channels, 1));
}

// Mean and sum of squared differences from it, of each channel, over some pixels.
struct moments {
  float* mean;
  float* squares;
};

void moments_of(const kernel_table& kernels, const float* x, std::size_t pixels,
                std::size_t channels, const moments& result, float* scratch) {
  const std::size_t repeat = pixels_of_run(channels);
  const std::size_t run = repeat * channels;
  float* const total = scratch;
  float* const shift = total + run;
  float* const difference = shift + run;
  const auto fold = [&](float* to) {
    std::copy_n(total, channels, to);
    for (std::size_t r = 1; r < repeat; ++r) {
      kernels.accumulate(reduce_op::sum, total + r * channels, to, channels);
    }
  };
  const auto each_run = [&](auto&& f) {
    for (std::size_t p = 0; p < pixels; p += repeat) {
      f(x + p * channels, std::min(repeat, pixels - p) * channels);
    }
  };
  std::fill_n(total, run, 0.0F);
  each_run([&](const float* from, std::size_t n) {
    kernels.accumulate(reduce_op::sum, from, total, n);
  });
  fold(result.mean);
  for (std::size_t c = 0; c < channels; ++c) {
    result.mean[c] /= static_cast<float>(pixels);
    shift[c] = result.mean[c];
  }
  for (std::size_t r = 1; r < repeat; ++r) std::copy_n(shift, channels, shift + r * channels);
  std::fill_n(total, run, 0.0F);
  each_run([&](const float* from, std::size_t n) {
    kernels.binary(binary_op::sub, from, 1, shift, 1, difference, n);
    kernels.accumulate(reduce_op::sum_square, difference, total, n);
  });
  fold(result.squares);
}

}  // namespace

void max_pool_channels_last(const kernel_table& kernels, thread_pool& pool, const window_3d& w,
                            std::size_t batch, std::size_t channels, const float* x, float* y) {
  for_each_line(pool, w, batch, channels, [&](std::size_t i) {
    fold_line(kernels, reduce_op::max, w, i, channels, x, y + i * w.width().out * channels);
  });
}

void average_pool_channels_last(const kernel_table& kernels, thread_pool& pool, const window_3d& w,
                                std::size_t batch, std::size_t channels, const float* x, float* y,
                                bool count_padding) {
  for_each_line(pool, w, batch, channels, [&](std::size_t i) {
    float* const line = y + i * w.width().out * channels;
    fold_line(kernels, reduce_op::sum, w, i, channels, x, line);
    const std::size_t above =
        w.height().taps_counted(i % w.height().out, count_padding) *
        w.depth().taps_counted(i / w.height().out % w.depth().out, count_padding);
    for (std::size_t ow = 0; ow < w.width().out; ++ow) {
      const std::size_t count = above * w.width().taps_counted(ow, count_padding);
      float* const to = line + ow * channels;
      for (std::size_t c = 0; c < channels; ++c) to[c] /= static_cast<float>(count);
    }
  });
}

std::size_t instance_norm_channels_last_scratch(std::size_t channels) {
  const std::size_t run = pixels_of_run(channels) * channels;
  return parts * (2 * channels + 3 * run) + 2 * run;
}

void instance_norm_channels_last(const kernel_table& kernels, thread_pool& pool, std::size_t batch,
                                 std::size_t pixels, std::size_t channels, const float* x,
                                 const float* gamma, const float* beta, float epsilon, float* y,
                                 void (*finish)(const void*, std::size_t, float*, std::size_t),
                                 const void* context, float* scratch) {
  if (pixels == 0 || channels == 0) return;
  const std::size_t repeat = pixels_of_run(channels);
  const std::size_t run = repeat * channels;
  float* const scale = scratch;
  float* const shift = scale + run;
  float* const found = shift + run;  // of each part: means, squares, scratch
  const std::size_t per_part = 2 * channels + 3 * run;
  const std::size_t grain = element_grain / (pixels * channels / parts + 1) + 1;
  const auto bound = [&](std::size_t part) { return pixels * part / parts; };
  for (std::size_t image = 0; image < batch; ++image) {
    const std::size_t at = image * pixels * channels;
    pool.parallel_for(parts, grain, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        if (bound(i) == bound(i + 1)) continue;
        float* const own = found + i * per_part;
        moments_of(kernels, x + at + bound(i) * channels, bound(i + 1) - bound(i), channels,
                   {own, own + channels}, own + 2 * channels);
      }
    });
    for (std::size_t c = 0; c < channels; ++c) {
      // Source: Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing
      // Sample Variances, 1979.
      double count = 0;
      double mean = 0;
      double squares = 0;
      for (std::size_t i = 0; i < parts; ++i) {
        const auto more = static_cast<double>(bound(i + 1) - bound(i));
        if (bound(i) == bound(i + 1)) continue;
        const float* const own = found + i * per_part;
        const double apart = static_cast<double>(own[c]) - mean;
        const double all = count + more;
        squares += static_cast<double>(own[channels + c]) + apart * apart * count * more / all;
        mean += apart * more / all;
        count = all;
      }
      const double factor =
          static_cast<double>(gamma[c]) / std::sqrt(squares / count + static_cast<double>(epsilon));
      scale[c] = static_cast<float>(factor);
      shift[c] = static_cast<float>(static_cast<double>(beta[c]) - mean * factor);
    }
    for (std::size_t r = 1; r < repeat; ++r) {
      std::copy_n(scale, channels, scale + r * channels);
      std::copy_n(shift, channels, shift + r * channels);
    }
    pool.parallel_for(divide_up(pixels, repeat), element_grain / run + 1,
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t i = begin; i < end; ++i) {
                          const std::size_t first = i * repeat;
                          const std::size_t n = std::min(repeat, pixels - first) * channels;
                          const std::size_t place = at + first * channels;
                          kernels.scale_shift(x + place, scale, shift, 1, y + place, n);
                          if (finish != nullptr) finish(context, place, y + place, n);
                        }
                      });
  }
}

}  // namespace mizzen::inference::detail::cpu
