#include "cpu_test.hpp"
#include "inference/cpu/kernels/norm.hpp"
#include "inference/cpu/kernels/pool.hpp"

#include <cstdint>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(norm_kernels);
MIZZEN_EVERY_ISA(pool_kernels);

TEST_P(norm_kernels, softmax_and_its_logarithm) {
  const struct {
    std::size_t outer, n, inner;
  } sizes[] = {{1, 1, 1}, {3, 5, 1},   {7, 100, 1},  {2, 33, 1},
               {2, 9, 4}, {3, 17, 70}, {50, 1000, 1}};
  for (const auto& s : sizes) {
    for (const bool logarithm : {false, true}) {
      std::vector<float> x = random_floats(s.outer * s.n * s.inner, 1, -20, 20);
      std::vector<double> want(x.size());
      for (std::size_t o = 0; o < s.outer; ++o) {
        for (std::size_t i = 0; i < s.inner; ++i) {
          const auto at = [&](std::size_t k) { return (o * s.n + k) * s.inner + i; };
          double total = 0;
          for (std::size_t k = 0; k < s.n; ++k) total += std::exp(static_cast<double>(x[at(k)]));
          for (std::size_t k = 0; k < s.n; ++k) {
            const double v = static_cast<double>(x[at(k)]);
            want[at(k)] = logarithm ? v - std::log(total) : std::exp(v) / total;
          }
        }
      }
      std::vector<float> y(x.size());
      softmax(kernels(), pool(), x.data(), y.data(), s.outer, s.n, s.inner, logarithm);
      expect_close(y, want, 1e-6);
      softmax(kernels(), pool(), x.data(), x.data(), s.outer, s.n, s.inner, logarithm);
      EXPECT_EQ(x, y) << "in place";
    }
  }
}

TEST_P(norm_kernels, softmax_of_extremes) {
  std::vector<float> x = {1000, 999, -inf, nan, 1, 2, -inf, 0, -inf};
  softmax(kernels(), pool(), x.data(), x.data(), 3, 3, 1, false);
  const double e = std::exp(-1.0);
  expect_close(x, {1 / (1 + e), e / (1 + e), 0, nan, nan, nan, 0, 1, 0}, 1e-6);
}

TEST_P(norm_kernels, layer_norm_with_and_without_its_parts) {
  for (const std::size_t n : {1U, 7U, 16U, 100U, 384U}) {
    const std::size_t rows = 5;
    const std::vector<float> x = random_floats(rows * n, 1, 4, 6);
    const std::vector<float> gamma = random_floats(n, 2);
    const std::vector<float> beta = random_floats(n, 3);
    for (const bool centre : {true, false}) {
      for (const bool affine : {true, false}) {
        std::vector<float> y(x.size()), mean(rows), inverse(rows);
        layer_norm_options o;
        o.gamma = affine ? gamma.data() : nullptr;
        o.beta = affine ? beta.data() : nullptr;
        o.epsilon = 1e-3F;
        o.centre = centre;
        o.mean = mean.data();
        o.inverse_deviation = inverse.data();
        layer_norm(kernels(), pool(), x.data(), y.data(), rows, n, o);
        std::vector<double> want(x.size()), want_mean(rows), want_inverse(rows);
        for (std::size_t r = 0; r < rows; ++r) {
          double sum = 0, squares = 0;
          for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[r * n + i]);
          want_mean[r] = centre ? sum / static_cast<double>(n) : 0;
          for (std::size_t i = 0; i < n; ++i) {
            squares += std::pow(static_cast<double>(x[r * n + i]) - want_mean[r], 2);
          }
          want_inverse[r] = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-3);
          for (std::size_t i = 0; i < n; ++i) {
            const double v = (static_cast<double>(x[r * n + i]) - want_mean[r]) * want_inverse[r];
            want[r * n + i] =
                affine ? v * static_cast<double>(gamma[i]) + static_cast<double>(beta[i]) : v;
          }
        }
        expect_close(y, want, 1e-5);
        expect_close(mean, want_mean, 1e-6);
        expect_close(inverse, want_inverse, 1e-5);
      }
    }
  }
}

TEST_P(norm_kernels, channels_scaled_and_normalised) {
  for (const std::size_t inner : {1U, 6U, 35U}) {
    const std::size_t batch = 2, channels = 19;
    const std::vector<float> x = random_floats(batch * channels * inner, 1);
    const std::vector<float> scale = random_floats(channels, 2);
    const std::vector<float> shift = random_floats(channels, 3);
    std::vector<float> y(x.size()), normal(x.size());
    scale_channels(kernels(), pool(), x.data(), y.data(), batch, channels, inner, scale.data(),
                   shift.data());
    instance_norm(kernels(), pool(), x.data(), normal.data(), batch, channels, inner, scale.data(),
                  shift.data(), 1e-3F);
    std::vector<double> want(x.size()), want_normal(x.size());
    for (std::size_t p = 0; p < batch * channels; ++p) {
      const double s = static_cast<double>(scale[p % channels]);
      const double b = static_cast<double>(shift[p % channels]);
      double mean = 0, variance = 0;
      for (std::size_t i = 0; i < inner; ++i) mean += static_cast<double>(x[p * inner + i]);
      mean /= static_cast<double>(inner);
      for (std::size_t i = 0; i < inner; ++i) {
        variance += std::pow(static_cast<double>(x[p * inner + i]) - mean, 2);
      }
      variance /= static_cast<double>(inner);
      for (std::size_t i = 0; i < inner; ++i) {
        const double v = static_cast<double>(x[p * inner + i]);
        want[p * inner + i] = v * s + b;
        want_normal[p * inner + i] = (v - mean) / std::sqrt(variance + 1e-3) * s + b;
      }
    }
    expect_close(y, want, 1e-6);
    expect_close(normal, want_normal, 1e-5);
  }
}

window_axis axis(std::size_t in, std::size_t kernel, std::size_t stride, std::size_t pad_begin,
                 std::size_t pad_end, bool ceil_mode, std::size_t dilation = 1) {
  window_axis a{in, 1, kernel, stride, dilation, pad_begin, pad_end};
  const std::size_t room = in + pad_begin + pad_end - dilation * (kernel - 1) - 1;
  a.out = (ceil_mode ? (room + stride - 1) / stride : room / stride) + 1;
  // A last window that would begin in the end padding is dropped (ONNX, as PyTorch).
  if (ceil_mode && (a.out - 1) * stride >= in + pad_begin) --a.out;
  return a;
}

TEST_P(pool_kernels, windows_of_all_kinds) {
  const window_2d windows[] = {
      {axis(8, 2, 2, 0, 0, false), axis(9, 2, 2, 0, 0, false)},
      {axis(8, 3, 2, 1, 1, true), axis(9, 2, 2, 0, 0, true)},
      {axis(6, 3, 3, 0, 0, false), axis(40, 2, 2, 0, 0, false)},
      {axis(7, 3, 1, 1, 1, false), axis(41, 3, 1, 1, 1, false)},
      {axis(9, 2, 1, 0, 1, false, 3), axis(12, 3, 2, 2, 2, true, 2)},
      {axis(1, 1, 1, 0, 0, false), axis(50, 4, 3, 1, 2, true)},
      {axis(5, 5, 1, 0, 0, false), axis(4, 4, 1, 0, 0, false)},
  };
  for (const window_2d& w : windows) {
    const std::size_t planes = 3;
    const std::vector<float> x = random_floats(planes * w.in_size(), 1);
    std::vector<double> largest, mean, mean_padded;
    std::vector<std::int64_t> where;
    for (std::size_t p = 0; p < planes; ++p) {
      for (std::size_t oh = 0; oh < w.height.out; ++oh) {
        for (std::size_t ow = 0; ow < w.width.out; ++ow) {
          double best = -HUGE_VAL, sum = 0, inside = 0, padded = 0;
          std::int64_t at = -1;
          for (std::size_t kh = 0; kh < w.height.kernel; ++kh) {
            for (std::size_t kw = 0; kw < w.width.kernel; ++kw) {
              const std::ptrdiff_t ih = w.height.input(oh, kh), iw = w.width.input(ow, kw);
              if (ih < static_cast<std::ptrdiff_t>(w.height.in + w.height.pad_end) &&
                  iw < static_cast<std::ptrdiff_t>(w.width.in + w.width.pad_end)) {
                ++padded;
              }
              if (!w.height.inside(ih) || !w.width.inside(iw)) continue;
              const std::size_t i = p * w.in_size() + static_cast<std::size_t>(ih) * w.width.in +
                                    static_cast<std::size_t>(iw);
              ++inside;
              sum += static_cast<double>(x[i]);
              if (static_cast<double>(x[i]) > best) {
                best = static_cast<double>(x[i]);
                at = static_cast<std::int64_t>(i);
              }
            }
          }
          largest.push_back(best);
          where.push_back(at);
          mean.push_back(sum / inside);
          mean_padded.push_back(sum / padded);
        }
      }
    }
    std::vector<float> y(largest.size());
    std::vector<std::int64_t> indices(y.size());
    max_pool(kernels(), pool(), w, planes, x.data(), y.data());
    expect_close(y, largest, 0);
    std::fill(y.begin(), y.end(), 0.0F);
    max_pool(kernels(), pool(), w, planes, x.data(), y.data(), indices.data());
    expect_close(y, largest, 0);
    EXPECT_EQ(indices, where);
    average_pool(kernels(), pool(), w, planes, x.data(), y.data(), false);
    expect_close(y, mean, 1e-6);
    average_pool(kernels(), pool(), w, planes, x.data(), y.data(), true);
    expect_close(y, mean_padded, 1e-6);
  }
}

TEST_P(pool_kernels, maximum_keeps_nan) {
  const window_2d w{axis(2, 2, 1, 0, 0, false), axis(6, 2, 2, 0, 0, false)};
  std::vector<float> x(12, 1.0F);
  x[9] = nan;
  std::vector<float> y(3);
  max_pool(kernels(), pool(), w, 1, x.data(), y.data());
  expect_close(y, {1, nan, 1}, 0);
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
