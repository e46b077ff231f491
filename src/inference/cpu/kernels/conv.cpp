#include "inference/cpu/kernels/conv.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mizzen::inference::detail::cpu {
namespace {

struct conv_call {
  const conv_shape& shape;
  const float* weights;
  const float* bias;
  const float* x;
  float* y;

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
  o.a = {call.weights + call.group(i) * s.out_per_group() * depth,
         static_cast<std::ptrdiff_t>(depth), 1};
  o.b = {call.input(i), static_cast<std::ptrdiff_t>(s.window.in_size()), 1};
  o.c = call.y + call.output_offset(i);
  o.c_row = static_cast<std::ptrdiff_t>(s.window.out_size());
  if (call.bias != nullptr) o.row_bias = call.bias + call.group(i) * s.out_per_group();
  return o;
}

// A picture one pixel wide is a line: along it, packing copies runs instead of single pixels.
conv_shape lying_down(const conv_shape& shape) {
  const window_axis& a = shape.window.width;
  const bool is_line = a.in == 1 && a.out == 1 && a.kernel == 1 && a.pad_begin == 0;
  conv_shape result = shape;
  if (is_line) std::swap(result.window.width, result.window.height);
  return result;
}

}  // namespace

std::size_t conv_scratch(const kernel_table& kernels, unsigned threads) {
  return gemm_scratch(kernels, threads);
}

void conv(const kernel_table& kernels, thread_pool& pool, const conv_shape& given,
          const float* weights, const float* bias, const float* x, float* y, float* scratch) {
  const conv_shape shape = lying_down(given);
  const conv_call call{shape, weights, bias, x, y};
  gemm_problem p;
  p.batch = shape.batch * shape.groups;
  p.rows = shape.out_per_group();
  p.columns = shape.window.out_size();
  p.depth = shape.in_per_group() * shape.window.taps();
  p.context = &call;
  p.operands = operands_of;
  if (!is_pointwise(shape.window)) p.pack_b = pack_windows;
  gemm(kernels, pool, p, scratch);
}

}  // namespace mizzen::inference::detail::cpu
