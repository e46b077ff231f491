#include "inference/cpu/kernels/conv_transpose.hpp"

#include "inference/cpu/kernels/broadcast.hpp"

#include <algorithm>

namespace mizzen::inference::detail::cpu {
namespace {

// For each image: columns = weights^T x, one row per (output channel, kh, kw), then each row is
// added to its channel where its tap lies.
std::size_t column_floats(const conv_shape& s) {
  return s.out_channels * s.window.taps() * s.window.out_size();
}

struct transpose_call {
  const conv_shape& shape;
  const float* weights;
  const float* x;  // of this image
  float* columns;
};

gemm_operands operands_of(const void* context, std::size_t group) {
  const auto& call = *static_cast<const transpose_call*>(context);
  const conv_shape& s = call.shape;
  const std::size_t rows = s.out_per_group() * s.window.taps();
  const std::size_t pixels = s.window.out_size();
  gemm_operands o;
  o.a = {call.weights + group * s.in_per_group() * rows, 1, static_cast<std::ptrdiff_t>(rows)};
  o.b = {call.x + group * s.in_per_group() * pixels, static_cast<std::ptrdiff_t>(pixels), 1};
  o.c = call.columns + group * rows * pixels;
  o.c_row = static_cast<std::ptrdiff_t>(pixels);
  return o;
}

void add_taps(const kernel_table& kernels, const window_2d& w, const float* columns, float* plane) {
  for (std::size_t kh = 0; kh < w.height.kernel; ++kh) {
    const auto [top, bottom] = w.height.outputs_inside(kh);
    for (std::size_t kw = 0; kw < w.width.kernel; ++kw, columns += w.out_size()) {
      const auto [left, right] = w.width.outputs_inside(kw);
      if (left == right) continue;
      for (std::size_t h = top; h < bottom; ++h) {
        float* const line = plane + static_cast<std::size_t>(w.height.input(h, kh)) * w.width.in;
        float* const to = line + w.width.input(left, kw);
        const float* const from = columns + h * w.width.out + left;
        if (w.width.stride == 1) {
          kernels.accumulate(reduce_op::sum, from, to, right - left);
        } else {
          for (std::size_t i = 0; i < right - left; ++i) to[i * w.width.stride] += from[i];
        }
      }
    }
  }
}

}  // namespace

std::size_t conv_transpose_scratch(const kernel_table& kernels, const conv_shape& shape,
                                   unsigned threads) {
  return gemm_scratch(kernels, threads) + column_floats(shape);
}

void conv_transpose(const kernel_table& kernels, thread_pool& pool, const conv_shape& s,
                    const float* weights, const float* x, const float* bias, float* y,
                    float* scratch) {
  float* const columns = scratch + gemm_scratch(kernels, pool.size());
  const window_2d& w = s.window;
  for (std::size_t image = 0; image < s.batch; ++image) {
    const transpose_call call{s, weights, x + image * s.in_channels * w.out_size(), columns};
    gemm_problem p;
    p.batch = s.groups;
    p.rows = s.out_per_group() * w.taps();
    p.columns = w.out_size();
    p.depth = s.in_per_group();
    p.context = &call;
    p.operands = operands_of;
    gemm(kernels, pool, p, scratch);
    pool.parallel_for(s.out_channels, element_grain / (w.out_size() * w.taps() + 1) + 1,
                      [&](std::size_t begin, std::size_t end) {
                        for (std::size_t c = begin; c < end; ++c) {
                          float* const plane = y + (image * s.out_channels + c) * w.in_size();
                          std::fill_n(plane, w.in_size(), bias != nullptr ? bias[c] : 0.0F);
                          add_taps(kernels, w, columns + c * w.taps() * w.out_size(), plane);
                        }
                      });
  }
}

}  // namespace mizzen::inference::detail::cpu
