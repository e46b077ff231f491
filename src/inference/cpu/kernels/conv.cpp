#include "inference/cpu/kernels/conv.hpp"

#include "inference/cpu/kernels/broadcast.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::inference::detail::cpu {
namespace {

// With fewer outputs per group than this, a matrix tile would be mostly empty.
constexpr std::size_t least_gemm_rows = 4;

struct conv_call {
  const conv_shape& shape;
  const conv_weights& weights;
  const float* x;
  float* y;
  const conv_epilogue& epilogue;

  std::size_t image(std::size_t i) const { return i / shape.groups; }
  std::size_t group(std::size_t i) const { return i % shape.groups; }
  const float* input(std::size_t i) const {
    return x + i * shape.in_per_group() * shape.window.in_size();
  }
  std::size_t output_offset(std::size_t i) const {
    return i * shape.out_per_group() * shape.window.out_size();
  }
};

// One row of a window's tap over outputs [first, first + n) of one output line.
void copy_taps(const window_axis& w, std::size_t k, const float* line, std::size_t first,
               std::size_t n, float* to) {
  const window_axis::range valid = w.outputs_inside(k);
  const std::size_t begin = std::clamp(valid.first, first, first + n);
  const std::size_t end = std::clamp(valid.last, begin, first + n);
  std::fill(to, to + (begin - first), 0.0F);
  if (begin < end) {
    const float* const from = line + w.input(begin, k);
    if (w.stride == 1) {
      std::memcpy(to + (begin - first), from, (end - begin) * sizeof(float));
    } else {
      for (std::size_t i = 0; i < end - begin; ++i) {
        to[begin - first + i] = from[i * w.stride];
      }
    }
  }
  std::fill(to + (end - first), to + n, 0.0F);
}

// The windows of some output pixels as columns of a matrix whose rows are (channel, kh, kw).
void pack_windows(const void* context, std::size_t i, std::size_t k, std::size_t depth,
                  std::size_t n, std::size_t columns, std::size_t width, float* to) {
  const auto& call = *static_cast<const conv_call*>(context);
  const window_2d& w = call.shape.window;
  const float* const input = call.input(i);
  for (std::size_t d = 0; d < depth; ++d, to += width) {
    const std::size_t kw = (k + d) % w.width.kernel;
    const std::size_t kh = (k + d) / w.width.kernel % w.height.kernel;
    const float* const plane = input + (k + d) / w.taps() * w.in_size();
    std::size_t pixel = n;
    float* out = to;
    while (pixel < n + columns) {
      const std::size_t oh = pixel / w.width.out;
      const std::size_t ow = pixel % w.width.out;
      const std::size_t length = std::min(w.width.out - ow, n + columns - pixel);
      const std::ptrdiff_t ih = w.height.input(oh, kh);
      if (w.height.inside(ih)) {
        copy_taps(w.width, kw, plane + static_cast<std::size_t>(ih) * w.width.in, ow, length, out);
      } else {
        std::fill(out, out + length, 0.0F);
      }
      out += length;
      pixel += length;
    }
    std::fill(out, to + width, 0.0F);
  }
}

bool is_pointwise(const window_2d& w) {
  const auto plain = [](const window_axis& a) {
    return a.kernel == 1 && a.stride == 1 && a.pad_begin == 0 && a.pad_end == 0;
  };
  return plain(w.height) && plain(w.width);
}

gemm_operands operands_of(const void* context, std::size_t i) {
  const auto& call = *static_cast<const conv_call*>(context);
  const conv_shape& s = call.shape;
  gemm_operands o;
  const std::size_t depth = s.in_per_group() * s.window.taps();
  o.a_packed = call.weights.packed(call.group(i));
  if (o.a_packed == nullptr) {
    o.a = {call.weights.plain() + call.group(i) * s.out_per_group() * depth,
           static_cast<std::ptrdiff_t>(depth), 1};
  }
  o.b = {call.input(i), static_cast<std::ptrdiff_t>(s.window.in_size()), 1};
  o.c = call.y + call.output_offset(i);
  o.c_row = static_cast<std::ptrdiff_t>(s.window.out_size());
  if (call.epilogue.bias != nullptr) {
    o.row_bias = call.epilogue.bias + call.group(i) * s.out_per_group();
  }
  if (call.epilogue.residual != nullptr) {
    o.residual = call.epilogue.residual + call.output_offset(i);
  }
  return o;
}

void finish_run(const void* context, std::size_t i, std::size_t row, std::size_t column, float* c,
                std::size_t n) {
  const auto& call = *static_cast<const conv_call*>(context);
  call.epilogue.finish(call.epilogue.context, call.image(i),
                       call.group(i) * call.shape.out_per_group() + row, column, c, n);
}

// y[0, n) += weight * x[0, n * stride)
void add_scaled(const kernel_table& kernels, const float* x, std::size_t stride, float weight,
                float* y, std::size_t n) {
  if (stride != 1) {
    for (std::size_t i = 0; i < n; ++i) y[i] += weight * x[i * stride];
    return;
  }
  // A product of depth 1, accumulated: the tile kernel's own multiply-add.
  gemm_tile tile;
  tile.rows = 1;
  tile.depth = 1;
  tile.a = &weight;
  tile.a_row = 1;
  tile.accumulate = true;
  tile.c_vector = kernels.lanes;
  const std::size_t whole = n / kernels.tile_columns() * kernels.tile_columns();
  tile.columns = kernels.tile_columns();
  for (std::size_t i = 0; i < whole; i += kernels.tile_columns()) {
    tile.b = x + i;
    tile.c = y + i;
    kernels.gemm(tile);
  }
  for (std::size_t i = whole; i < n; ++i) y[i] += weight * x[i];
}

void convolve_row(const kernel_table& kernels, const conv_call& call, std::size_t image,
                  std::size_t channel, std::size_t oh, float* row) {
  const conv_shape& s = call.shape;
  const window_2d& w = s.window;
  const std::size_t group = channel / s.out_per_group();
  std::fill_n(row, w.width.out, call.epilogue.bias != nullptr ? call.epilogue.bias[channel] : 0.0F);
  for (std::size_t c = 0; c < s.in_per_group(); ++c) {
    const float* const plane =
        call.x + (image * s.in_channels + group * s.in_per_group() + c) * w.in_size();
    const float* const taps = call.weights.plain() + (channel * s.in_per_group() + c) * w.taps();
    for (std::size_t kh = 0; kh < w.height.kernel; ++kh) {
      const std::ptrdiff_t ih = w.height.input(oh, kh);
      if (!w.height.inside(ih)) continue;
      const float* const line = plane + static_cast<std::size_t>(ih) * w.width.in;
      for (std::size_t kw = 0; kw < w.width.kernel; ++kw) {
        const auto [first, last] = w.width.outputs_inside(kw);
        if (first == last) continue;
        add_scaled(kernels, line + w.width.input(first, kw), w.width.stride,
                   taps[kh * w.width.kernel + kw], row + first, last - first);
      }
    }
  }
}

void conv_by_rows(const kernel_table& kernels, thread_pool& pool, const conv_call& call) {
  const conv_shape& s = call.shape;
  const window_2d& w = s.window;
  const conv_epilogue& e = call.epilogue;
  const std::size_t work = w.out_size() * w.taps() * s.in_per_group();
  pool.parallel_for(
      s.batch * s.out_channels, element_grain / (work + 1) + 1,
      [&](std::size_t begin, std::size_t end) {
        for (std::size_t p = begin; p < end; ++p) {
          const std::size_t image = p / s.out_channels;
          const std::size_t channel = p % s.out_channels;
          float* const plane = call.y + p * w.out_size();
          for (std::size_t oh = 0; oh < w.height.out; ++oh) {
            convolve_row(kernels, call, image, channel, oh, plane + oh * w.width.out);
          }
          if (e.residual != nullptr) {
            kernels.accumulate(reduce_op::sum, e.residual + p * w.out_size(), plane, w.out_size());
          }
          if (e.clamp) {
            kernels.unary({unary_op::clip, e.low, e.high}, plane, plane, w.out_size());
          }
          if (e.finish != nullptr) {
            e.finish(e.context, image, channel, 0, plane, w.out_size());
          }
        }
      });
}

}  // namespace

conv_weights::conv_weights(const kernel_table& kernels, const conv_shape& shape,
                           const float* weights) {
  const std::size_t depth = shape.in_per_group() * shape.window.taps();
  if (shape.out_per_group() < least_gemm_rows) {
    rows_ = aligned_floats(shape.out_channels * depth);
    std::copy_n(weights, rows_.size(), rows_.data());
    plain_ = rows_.data();
    return;
  }
  groups_.reserve(shape.groups);
  for (std::size_t g = 0; g < shape.groups; ++g) {
    const matrix_view a{weights + g * shape.out_per_group() * depth,
                        static_cast<std::ptrdiff_t>(depth), 1};
    groups_.emplace_back(kernels, a, shape.out_per_group(), depth);
  }
}

conv_weights conv_weights::view(const float* weights) noexcept {
  conv_weights result;
  result.plain_ = weights;
  return result;
}

std::size_t conv_scratch(const kernel_table& kernels, unsigned threads) {
  return gemm_scratch(kernels, threads);
}

void conv(const kernel_table& kernels, thread_pool& pool, const conv_shape& shape,
          const conv_weights& weights, const float* x, float* y, const conv_epilogue& epilogue,
          float* scratch) {
  const conv_call call{shape, weights, x, y, epilogue};
  // Groups with few outputs (depthwise above all) are summed row by row.
  if (shape.out_per_group() < least_gemm_rows) return conv_by_rows(kernels, pool, call);
  gemm_problem p;
  p.batch = shape.batch * shape.groups;
  p.rows = shape.out_per_group();
  p.columns = shape.window.out_size();
  p.depth = shape.in_per_group() * shape.window.taps();
  p.clamp = epilogue.clamp;
  p.low = epilogue.low;
  p.high = epilogue.high;
  p.context = &call;
  p.operands = operands_of;
  if (!is_pointwise(shape.window)) p.pack_b = pack_windows;
  if (epilogue.finish != nullptr) p.finish = finish_run;
  gemm(kernels, pool, p, scratch);
}

}  // namespace mizzen::inference::detail::cpu
