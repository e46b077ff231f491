#include "emulated_math.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <vector>

namespace mizzen::cuda {

float from_half(std::uint16_t h) {
  const auto sign = static_cast<std::uint32_t>(h & 0x8000U) << 16U;
  const std::uint32_t exponent = h >> 10U & 31U;
  const std::uint32_t mantissa = h & 1023U;
  if (exponent == 0) {
    const float v = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -v : v;
  }
  const std::uint32_t bits =
      sign | (exponent == 31 ? 0x7f800000U : (exponent + 112U) << 23U) | mantissa << 13U;
  float f = 0;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

std::uint16_t to_half(float f) {
  if (std::isnan(f)) return 0x7e00;
  const std::uint16_t sign = std::signbit(f) ? 0x8000 : 0;
  const float a = std::abs(f);
  if (a == 0) return sign;
  if (a >= 65520.0F) return sign | 0x7c00;
  int exponent = 0;
  std::frexp(a, &exponent);
  const int unit = std::max(exponent - 11, -24);  // of the last place
  const auto steps = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(a, -unit)));
  if (unit == -24) return static_cast<std::uint16_t>(sign | steps);
  // 11 bits; one more where it was rounded up, which the sum below carries on.
  return static_cast<std::uint16_t>(sign | (static_cast<std::uint32_t>(unit + 24) * 1024U + steps));
}

namespace {

// Sign, exponent, mantissa, as float8's types have them.
float from_float8(std::uint8_t bits, int mantissa_bits, int bias, bool has_infinity) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int most = (1 << (7 - mantissa_bits)) - 1;
  const int exponent = bits >> mantissa_bits & most;
  const float sign = (bits & 128) != 0 ? -1.0F : 1.0F;
  if (has_infinity ? exponent == most : (bits & 127) == 127) {
    return has_infinity && mantissa == 0 ? sign * INFINITY : NAN;
  }
  const int implied = exponent == 0 ? 0 : 1 << mantissa_bits;
  return sign * std::ldexp(static_cast<float>(mantissa + implied),
                           std::max(exponent, 1) - bias - mantissa_bits);
}

float get(const void* memory, element_type type, std::int64_t i) {
  if (type == element_type::float8_e4m3fn)
    return from_float8(static_cast<const std::uint8_t*>(memory)[i], 3, 7, false);
  if (type == element_type::float8_e5m2)
    return from_float8(static_cast<const std::uint8_t*>(memory)[i], 2, 15, true);
  if (type == element_type::float32) return static_cast<const float*>(memory)[i];
  if (type == element_type::float16) return from_half(static_cast<const std::uint16_t*>(memory)[i]);
  if (type == element_type::bfloat16) {
    const auto bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(memory)[i])
                      << 16U;
    float f = 0;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  }
  throw error(errc::unimplemented, "emulated gpu", "a product of this type");
}

void put(void* memory, element_type type, std::int64_t i, float v) {
  if (type == element_type::float32) {
    static_cast<float*>(memory)[i] = v;
  } else if (type == element_type::bfloat16) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof bits);
    // To nearest, ties to even; a NaN keeps a bit.
    bits = std::isnan(v) ? bits | 0x400000U : bits + 0x7fffU + (bits >> 16U & 1U);
    static_cast<std::uint16_t*>(memory)[i] = static_cast<std::uint16_t>(bits >> 16U);
  } else {
    static_cast<std::uint16_t*>(memory)[i] = to_half(v);
  }
}

float act(activation a, float v) {
  if (a == activation::relu) return std::max(v, 0.0F);
  if (a == activation::gelu_tanh) {
    return 0.5F * v * (1.0F + std::tanh(0.7978845608F * (v + 0.044715F * v * v * v)));
  }
  return v;
}

// What cuBLASLt wants of factors of bytes.
void check_bytes(const gemm_step& g) {
  const std::int64_t unit = g.type_of_a() == element_type::int8 ? 4 : 16;
  const bool fits = !g.a.transposed && g.b.transposed && !g.out.transposed && g.n % unit == 0 &&
                    g.k % unit == 0 && g.a.lead % unit == 0 && g.b.lead % unit == 0 &&
                    g.out.lead % unit == 0 && g.a.offset % unit == 0 && g.b.offset % unit == 0 &&
                    g.a.batch_stride % unit == 0 && g.b.batch_stride % unit == 0 && !g.has_bias &&
                    g.act == activation::none;
  if (!fits) throw error(errc::internal, "emulated gpu", "a product of bytes that lies wrong");
}

// sums[j] = the sum over k of row[k] * columns[k][j]; columns are padded to a multiple of
// `lanes`, so that the compiler knows how long the innermost loop is.
constexpr std::size_t lanes = 16;
std::size_t padded(std::int64_t n) {
  return (static_cast<std::size_t>(n) + lanes - 1) / lanes * lanes;
}
void sums_of(const std::vector<float>& row, const std::vector<float>& columns,
             std::vector<float>& sums) {
  std::fill(sums.begin(), sums.end(), 0.0F);
  const float* c = columns.data();
  for (const float x : row) {
    for (std::size_t j = 0; j < sums.size(); j += lanes, c += lanes) {
      float* to = sums.data() + j;
      for (std::size_t l = 0; l < lanes; ++l) to[l] += x * c[l];
    }
  }
}

void multiply(const gemm_step& g, std::span<void* const> memory) {
  const bool whole = g.type_of_a() == element_type::int8;
  if (size_of(g.type_of_a()) == 1) check_bytes(g);
  const auto at = [](const gemm_step::matrix& m, std::int64_t b, std::int64_t row,
                     std::int64_t column) {
    return m.offset + b * m.batch_stride +
           (m.transposed ? column * m.lead + row : row * m.lead + column);
  };
  for (std::int64_t b = 0; b < g.batch && whole; ++b) {
    for (std::int64_t i = 0; i < g.m; ++i) {
      for (std::int64_t j = 0; j < g.n; ++j) {
        const auto* x = static_cast<const std::int8_t*>(memory[g.a.buffer]);
        const auto* y = static_cast<const std::int8_t*>(memory[g.b.buffer]);
        std::int32_t sum = 0;
        for (std::int64_t k = 0; k < g.k; ++k) sum += x[at(g.a, b, i, k)] * y[at(g.b, b, k, j)];
        static_cast<std::int32_t*>(memory[g.out.buffer])[at(g.out, b, i, j)] = sum;
      }
    }
  }
  if (whole) return;
  const std::size_t width = padded(g.n);
  std::vector<float> columns(static_cast<std::size_t>(g.k) * width);
  std::vector<float> row(static_cast<std::size_t>(g.k)), sums(width);
  for (std::int64_t b = 0; b < g.batch; ++b) {
    for (std::int64_t k = 0; k < g.k; ++k) {
      float* to = columns.data() + static_cast<std::size_t>(k) * width;
      for (std::int64_t j = 0; j < g.n; ++j) {
        to[j] = get(memory[g.b.buffer], g.type_of_b(), at(g.b, b, k, j));
      }
    }
    for (std::int64_t i = 0; i < g.m; ++i) {
      for (std::int64_t k = 0; k < g.k; ++k) {
        row[static_cast<std::size_t>(k)] = get(memory[g.a.buffer], g.type_of_a(), at(g.a, b, i, k));
      }
      sums_of(row, columns, sums);
      for (std::int64_t j = 0; j < g.n; ++j) {
        float s = sums[static_cast<std::size_t>(j)];
        if (g.has_bias) s += get(memory[g.bias_buffer], g.type, g.bias_offset + j);
        put(memory[g.out.buffer], g.type, at(g.out, b, i, j), act(g.act, s));
      }
    }
  }
}

// Every index below the shape, outermost first.
void for_each_index(const dims& shape, const std::function<void(const dims&)>& fn) {
  dims at(shape.size(), 0);
  for (const std::int64_t d : shape) {
    if (d == 0) return;
  }
  for (;;) {
    fn(at);
    std::size_t d = shape.size();
    while (d-- > 0) {
      if (++at[d] < shape[d]) break;
      at[d] = 0;
      if (d == 0) return;
    }
    if (shape.empty()) return;
  }
}

std::int64_t place(const view& v, const dims& at) {
  std::int64_t i = v.offset;
  for (std::size_t d = 0; d < at.size(); ++d) i += at[d] * v.strides[d];
  return i;
}

void check_aligned(std::initializer_list<const view*> views) {
  for (const view* v : views) {
    if (!is_aligned(*v)) throw error(errc::internal, "emulated gpu", "cuDNN wants 16 bytes");
  }
}

void convolve_transposed(const conv_step& c, std::span<void* const> memory) {
  check_aligned({&c.x, &c.w, &c.out});
  dims window(c.w.shape.begin() + 2, c.w.shape.end());
  window.insert(window.begin(), c.w.shape[0]);  // input channels, kernel…
  for_each_index(c.out.shape, [&](const dims& at) {
    float s = 0;
    for_each_index(window, [&](const dims& k) {
      dims x = {at[0], k[0]};
      dims w = {k[0], at[1]};
      for (std::size_t d = 1; d < k.size(); ++d) {
        const std::int64_t i = at[d + 1] + c.pads_begin[d - 1] - k[d] * c.dilations[d - 1];
        if (i < 0 || i % c.strides[d - 1] != 0) return;
        if (i / c.strides[d - 1] >= c.x.shape[d + 1]) return;
        x.push_back(i / c.strides[d - 1]);
        w.push_back(k[d]);
      }
      s += get(memory[c.x.buffer], c.type, place(c.x, x)) *
           get(memory[c.w.buffer], c.type, place(c.w, w));
    });
    put(memory[c.out.buffer], c.type, place(c.out, at), s);
  });
}

void convolve(const conv_step& c, std::span<void* const> memory) {
  check_aligned({&c.x, &c.w, &c.out});
  if (c.has_bias) check_aligned({&c.bias});
  if (c.has_residual) check_aligned({&c.residual});
  dims window(c.w.shape.begin() + 1, c.w.shape.end());  // channels, kernel…
  std::size_t size = 1;
  for (const std::int64_t d : window) size *= static_cast<std::size_t>(d);
  const std::int64_t wide = c.out.shape[1] / c.groups;  // output channels of a group
  std::vector<float> columns(size * padded(wide)), row(size), sums(padded(wide));
  for (std::int64_t group = 0; group < c.groups; ++group) {
    std::size_t n = 0;
    for_each_index(window, [&](const dims& k) {
      dims w = {0};
      w.insert(w.end(), k.begin(), k.end());
      for (std::int64_t o = 0; o < wide; ++o) {
        w[0] = group * wide + o;
        columns[n * sums.size() + static_cast<std::size_t>(o)] =
            get(memory[c.w.buffer], c.type, place(c.w, w));
      }
      ++n;
    });
    dims points = c.out.shape;
    points[1] = 1;
    for_each_index(points, [&](const dims& point) {
      n = 0;
      dims x(point.size());
      for_each_index(window, [&](const dims& k) {
        x[0] = point[0];
        x[1] = group * window[0] + k[0];
        bool inside = true;
        for (std::size_t d = 1; d < k.size(); ++d) {
          x[d + 1] =
              point[d + 1] * c.strides[d - 1] + k[d] * c.dilations[d - 1] - c.pads_begin[d - 1];
          inside = inside && x[d + 1] >= 0 && x[d + 1] < c.x.shape[d + 1];
        }
        row[n++] = inside ? get(memory[c.x.buffer], c.type, place(c.x, x)) : 0.0F;
      });
      sums_of(row, columns, sums);
      dims at = point;
      for (std::int64_t o = 0; o < wide; ++o) {
        at[1] = group * wide + o;
        float s = sums[static_cast<std::size_t>(o)];
        if (c.has_bias) s += get(memory[c.bias.buffer], c.type, place(c.bias, {at[1]}));
        if (c.has_residual) s += get(memory[c.residual.buffer], c.type, place(c.residual, at));
        put(memory[c.out.buffer], c.type, place(c.out, at), act(c.act, s));
      }
    });
  }
}

void attend(const attention_step& s, std::span<void* const> memory) {
  check_aligned({&s.q, &s.k, &s.v, &s.out});
  const auto read = [&](const view& v, const dims& at) {
    return get(memory[v.buffer], s.type, place(v, at));
  };
  const std::int64_t keys = s.k.shape[2];
  const std::int64_t group = s.q.shape[1] / s.k.shape[1];
  for_each_index({s.q.shape[0], s.q.shape[1], s.q.shape[2]}, [&](const dims& at) {
    const std::int64_t own = at[1] / group;
    std::vector<float> weights;
    float most = -INFINITY;
    for (std::int64_t j = 0; j < keys; ++j) {
      float score = 0;
      for (std::int64_t d = 0; d < s.q.shape[3]; ++d) {
        score += read(s.q, {at[0], at[1], at[2], d}) * read(s.k, {at[0], own, j, d});
      }
      score *= s.scale;
      if (s.has_mask) score += read(s.mask, {at[0], at[1], at[2], j});
      if (s.causal && j > at[2]) score = -INFINITY;
      weights.push_back(score);
      most = std::max(most, score);
    }
    float sum = 0;
    for (float& w : weights) sum += w = std::exp(w - most);
    for (std::int64_t d = 0; d < s.v.shape[3]; ++d) {
      float v = 0;
      for (std::int64_t j = 0; j < keys; ++j) {
        v += weights[static_cast<std::size_t>(j)] / sum * read(s.v, {at[0], own, j, d});
      }
      put(memory[s.out.buffer], s.type, place(s.out, {at[0], at[1], at[2], d}), v);
    }
  });
}

}  // namespace

bool compute(const step& s, std::span<void* const> memory) {
  if (const auto* g = std::get_if<gemm_step>(&s.what)) {
    multiply(*g, memory);
  } else if (const auto* c = std::get_if<conv_step>(&s.what)) {
    c->transposed ? convolve_transposed(*c, memory) : convolve(*c, memory);
  } else if (const auto* a = std::get_if<attention_step>(&s.what)) {
    attend(*a, memory);
  } else {
    return false;
  }
  return true;
}

}  // namespace mizzen::cuda
