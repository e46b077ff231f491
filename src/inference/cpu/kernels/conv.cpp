#include "inference/cpu/kernels/conv.hpp"

#include "inference/cpu/kernels/broadcast.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

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

// An input plane laid out so that every tap of a window reads adjacent floats for adjacent outputs:
// lines with their padding, split by the remainder of the position divided by the stride.
struct tap_layout {
  explicit tap_layout(const window_2d& w)
      : in_place(w.width.stride == 1 && w.width.pad_begin == 0 &&
                 w.width.out + (w.width.kernel - 1) * w.width.dilation <= w.width.in),
        phases(w.width.stride),
        phase_width(w.width.out + (w.width.kernel - 1) * w.width.dilation / w.width.stride),
        line(in_place ? w.width.in : phases * phase_width),
        size(in_place ? 0 : w.height.in * line) {}

  std::ptrdiff_t offset(const window_axis& width, std::size_t kw) const {
    const std::size_t at = kw * width.dilation;
    return static_cast<std::ptrdiff_t>(in_place ? at : at % phases * phase_width + at / phases);
  }

  // plane must be used as it is where in_place.
  void copy(const window_2d& w, const float* plane, float* to) const {
    const window_axis& a = w.width;
    for (std::size_t h = 0; h < w.height.in; ++h) {
      for (std::size_t phase = 0; phase < phases; ++phase) {
        // Position i of this phase is the input i * stride + phase - pad_begin.
        window_axis taps = a;
        taps.kernel = 1;
        taps.dilation = 1;
        taps.out = phase_width;
        const std::size_t shift = std::min(phase, a.pad_begin);
        taps.pad_begin = a.pad_begin - shift;
        const std::size_t skip = phase - shift;
        taps.in = a.in > skip ? a.in - skip : 0;
        copy_taps(taps, 0, plane + h * a.in + skip, 0, phase_width, to);
        to += phase_width;
      }
    }
  }

  bool in_place;
  std::size_t phases;
  std::size_t phase_width;
  std::size_t line;
  std::size_t size;  // floats of the copy
};

// Adds one input plane's part to one output plane; the first one begins with the bias. The taps of
// one output line that lie inside the input are adjacent weights, since its lines follow each
// other.
class plane_sum {
 public:
  static constexpr std::size_t most_taps = 256;

  plane_sum(const kernel_table& kernels, const window_2d& window, const tap_layout& layout)
      : kernels_(kernels), w_(window), layout_(layout) {
    row_.offsets = offsets_;
    row_.n = w_.width.out;
  }

  void clamp(float low, float high) {
    row_.clamp = true;
    row_.low = low;
    row_.high = high;
  }

  // lines: the plane, or its copy.
  void add(const float* lines, const float* weights, float bias, bool first, float* y) {
    for (std::size_t oh = 0; oh < w_.height.out; ++oh) {
      row_.y = y + oh * w_.width.out;
      row_.start = first ? bias : 0.0F;
      row_.accumulate = !first;
      row_.x = lines;
      row_.taps = 0;
      std::size_t taps_from = 0;
      for (std::size_t kh = 0; kh < w_.height.kernel; ++kh) {
        const std::ptrdiff_t ih = w_.height.input(oh, kh);
        if (!w_.height.inside(ih)) continue;
        for (std::size_t kw = 0; kw < w_.width.kernel; ++kw) {
          if (row_.taps == most_taps) flush(weights + taps_from);
          if (row_.taps == 0) taps_from = kh * w_.width.kernel + kw;
          offsets_[row_.taps++] =
              ih * static_cast<std::ptrdiff_t>(layout_.line) + layout_.offset(w_.width, kw);
        }
      }
      row_.weights = weights + taps_from;
      kernels_.sum_weighted(row_);
    }
  }

 private:
  // A kernel of more taps than the list holds: the part so far, to be added to.
  void flush(const float* weights) {
    const bool clamps = row_.clamp;
    row_.clamp = false;
    row_.weights = weights;
    kernels_.sum_weighted(row_);
    row_.clamp = clamps;
    row_.start = 0;
    row_.accumulate = true;
    row_.taps = 0;
  }

  const kernel_table& kernels_;
  const window_2d& w_;
  const tap_layout& layout_;
  weighted_sum row_;
  std::ptrdiff_t offsets_[most_taps];
};

void conv_by_rows(const kernel_table& kernels, thread_pool& pool, const conv_call& call,
                  float* scratch) {
  const conv_shape& s = call.shape;
  const window_2d& w = s.window;
  const conv_epilogue& e = call.epilogue;
  const tap_layout layout(w);
  const std::size_t depth = s.in_per_group();
  const std::size_t work = w.out_size() * w.taps() * depth;
  pool.parallel_for(s.batch * s.out_channels, element_grain / (work + 1) + 1,
                    [&](std::size_t begin, std::size_t end, unsigned slot) {
                      float* const copy = scratch + slot * layout.size;
                      for (std::size_t p = begin; p < end; ++p) {
                        const std::size_t image = p / s.out_channels;
                        const std::size_t channel = p % s.out_channels;
                        const std::size_t first_input =
                            image * s.in_channels + channel / s.out_per_group() * depth;
                        float* const y = call.y + p * w.out_size();
                        plane_sum sum(kernels, w, layout);
                        for (std::size_t c = 0; c < depth; ++c) {
                          const float* const plane = call.x + (first_input + c) * w.in_size();
                          if (!layout.in_place) layout.copy(w, plane, copy);
                          if (e.clamp && e.residual == nullptr && c + 1 == depth)
                            sum.clamp(e.low, e.high);
                          sum.add(layout.in_place ? plane : copy,
                                  call.weights.plain() + (channel * depth + c) * w.taps(),
                                  e.bias != nullptr ? e.bias[channel] : 0.0F, c == 0, y);
                        }
                        if (e.residual != nullptr) {
                          kernels.accumulate(reduce_op::sum, e.residual + p * w.out_size(), y,
                                             w.out_size());
                          if (e.clamp)
                            kernels.unary({unary_op::clip, e.low, e.high}, y, y, w.out_size());
                        }
                        if (e.finish != nullptr)
                          e.finish(e.context, image, channel, 0, y, w.out_size());
                      }
                    });
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

std::size_t conv_scratch(const kernel_table& kernels, const conv_shape& shape, unsigned threads) {
  if (shape.out_per_group() >= least_gemm_rows) return gemm_scratch(kernels, threads);
  return tap_layout(lying_down(shape).window).size * threads;
}

void conv(const kernel_table& kernels, thread_pool& pool, const conv_shape& given,
          const conv_weights& weights, const float* x, float* y, const conv_epilogue& epilogue,
          float* scratch) {
  const conv_shape shape = lying_down(given);
  const conv_call call{shape, weights, x, y, epilogue};
  // Groups with few outputs (depthwise above all) are summed row by row.
  if (shape.out_per_group() < least_gemm_rows) {
    return conv_by_rows(kernels, pool, call, scratch);
  }
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
