#include "inference/cpu/kernels/norm.hpp"

#include "inference/cpu/kernels/broadcast.hpp"

#include <algorithm>

namespace mizzen::inference::detail::cpu {
namespace {

// Softmax down the columns of an [n, width] block whose rows are `inner` apart.
void softmax_columns(const kernel_table& kernels, const float* x, float* y, std::size_t n,
                     std::size_t inner, std::size_t width, bool logarithm) {
  constexpr std::size_t most = 64;
  float largest[most];
  float total[most];
  float shifted[most];
  constexpr activation exponential{unary_op::exp};
  constexpr activation natural_log{unary_op::log};
  for (std::size_t c = 0; c < width; c += most) {
    const std::size_t m = std::min(most, width - c);
    const float* const from = x + c;
    float* const to = y + c;
    std::copy_n(from, m, largest);
    for (std::size_t i = 1; i < n; ++i) {
      kernels.accumulate(reduce_op::max, from + i * inner, largest, m);
    }
    std::fill_n(total, m, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
      float* const e = logarithm ? shifted : to + i * inner;
      kernels.binary(binary_op::sub, from + i * inner, 1, largest, 1, e, m);
      kernels.unary(exponential, e, e, m);
      kernels.accumulate(reduce_op::sum, e, total, m);
    }
    if (logarithm) kernels.unary(natural_log, total, total, m);
    for (std::size_t i = 0; i < n; ++i) {
      float* const row = to + i * inner;
      if (logarithm) {
        kernels.binary(binary_op::sub, from + i * inner, 1, largest, 1, row, m);
        kernels.binary(binary_op::sub, row, 1, total, 1, row, m);
      } else {
        kernels.binary(binary_op::div, row, 1, total, 1, row, m);
      }
    }
  }
}

std::size_t rows_worth_a_thread(std::size_t n) { return element_grain / 4 / (n + 1) + 1; }

}  // namespace

void softmax(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
             std::size_t outer, std::size_t n, std::size_t inner, bool logarithm) {
  if (outer == 0 || n == 0 || inner == 0) return;
  const std::size_t size = n * inner;
  pool.parallel_for(outer, rows_worth_a_thread(size), [&](std::size_t begin, std::size_t end) {
    for (std::size_t o = begin; o < end; ++o) {
      const float* const from = x + o * size;
      float* const to = y + o * size;
      if (inner != 1) {
        softmax_columns(kernels, from, to, n, inner, inner, logarithm);
      } else if (logarithm) {
        kernels.log_softmax(from, to, n);
      } else {
        kernels.softmax(from, to, n);
      }
    }
  });
}

void layer_norm(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
                std::size_t rows, std::size_t n, const layer_norm_options& options) {
  pool.parallel_for(rows, rows_worth_a_thread(n), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      kernels.layer_norm(
          x + r * n, options.gamma, options.beta, y + r * n, n, options.epsilon, options.centre,
          options.mean != nullptr ? options.mean + r : nullptr,
          options.inverse_deviation != nullptr ? options.inverse_deviation + r : nullptr);
    }
  });
}

void scale_channels(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
                    std::size_t batch, std::size_t channels, std::size_t inner, const float* scale,
                    const float* shift) {
  if (inner == 1) {
    pool.parallel_for(
        batch, element_grain / (channels + 1) + 1, [&](std::size_t begin, std::size_t end) {
          for (std::size_t b = begin; b < end; ++b) {
            kernels.scale_shift(x + b * channels, scale, shift, 1, y + b * channels, channels);
          }
        });
    return;
  }
  pool.parallel_for(
      batch * channels, element_grain / (inner + 1) + 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
          const std::size_t c = r % channels;
          kernels.scale_shift(x + r * inner, scale + c, shift + c, 0, y + r * inner, inner);
        }
      });
}

void instance_norm(const kernel_table& kernels, thread_pool& pool, const float* x, float* y,
                   std::size_t batch, std::size_t channels, std::size_t inner, const float* scale,
                   const float* shift, float epsilon) {
  pool.parallel_for(batch * channels, rows_worth_a_thread(inner),
                    [&](std::size_t begin, std::size_t end) {
                      for (std::size_t r = begin; r < end; ++r) {
                        const std::size_t c = r % channels;
                        float* const row = y + r * inner;
                        kernels.layer_norm(x + r * inner, nullptr, nullptr, row, inner, epsilon,
                                           true, nullptr, nullptr);
                        kernels.scale_shift(row, scale + c, shift + c, 0, row, inner);
                      }
                    });
}

}  // namespace mizzen::inference::detail::cpu
