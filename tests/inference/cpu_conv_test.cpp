#include "conv_axis.hpp"
#include "cpu_test.hpp"
#include "inference/cpu/kernels/conv.hpp"
#include "inference/cpu/kernels/conv_transpose.hpp"

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(conv_kernels);

struct conv_data {
  conv_shape shape;
  std::vector<float> x, weights, bias;
};

conv_data random_conv(const conv_shape& s) {
  conv_data d;
  d.shape = s;
  d.x = random_floats(s.batch * s.in_channels * s.window.in_size(), 1);
  d.weights = random_floats(s.out_channels * s.in_per_group() * s.window.taps(), 2);
  d.bias = random_floats(s.out_channels, 3);
  return d;
}

// By the definition.
std::vector<double> reference(const conv_data& d) {
  const conv_shape& s = d.shape;
  const window_2d& w = s.window;
  std::vector<double> y(s.batch * s.out_channels * w.out_size());
  std::size_t o = 0;
  for (std::size_t n = 0; n < s.batch; ++n) {
    for (std::size_t m = 0; m < s.out_channels; ++m) {
      const std::size_t g = m / s.out_per_group();
      for (std::size_t oh = 0; oh < w.height.out; ++oh) {
        for (std::size_t ow = 0; ow < w.width.out; ++ow, ++o) {
          double sum = static_cast<double>(d.bias[m]);
          for (std::size_t c = 0; c < s.in_per_group(); ++c) {
            for (std::size_t kh = 0; kh < w.height.kernel; ++kh) {
              for (std::size_t kw = 0; kw < w.width.kernel; ++kw) {
                const std::ptrdiff_t ih = w.height.input(oh, kh);
                const std::ptrdiff_t iw = w.width.input(ow, kw);
                if (!w.height.inside(ih) || !w.width.inside(iw)) continue;
                const std::size_t from =
                    ((n * s.in_channels + g * s.in_per_group() + c) * w.height.in +
                     static_cast<std::size_t>(ih)) *
                        w.width.in +
                    static_cast<std::size_t>(iw);
                sum += static_cast<double>(d.x[from]) *
                       static_cast<double>(
                           d.weights[((m * s.in_per_group() + c) * w.height.kernel + kh) *
                                         w.width.kernel +
                                     kw]);
              }
            }
          }
          y[o] = sum;
        }
      }
    }
  }
  return y;
}

std::string text(const conv_shape& s) {
  const auto a = [](const window_axis& w) {
    return std::to_string(w.in) + ",k" + std::to_string(w.kernel) + ",s" +
           std::to_string(w.stride) + ",d" + std::to_string(w.dilation) + ",p" +
           std::to_string(w.pad_begin) + "+" + std::to_string(w.pad_end);
  };
  return "n" + std::to_string(s.batch) + " " + std::to_string(s.in_channels) + "->" +
         std::to_string(s.out_channels) + " g" + std::to_string(s.groups) + " h(" +
         a(s.window.height) + ") w(" + a(s.window.width) + ")";
}

std::vector<conv_shape> shapes() {
  return {
      {1, 1, 1, 1, {axis(1, 1), axis(1, 1)}},
      {2, 3, 16, 1, {axis(9, 3, 2, 1, 1), axis(11, 3, 2, 1, 1)}},
      {1, 16, 32, 1, {axis(6, 1), axis(7, 1)}},
      {1, 24, 40, 1, {axis(5, 1, 2), axis(9, 1, 1)}},
      {1, 32, 17, 1, {axis(7, 3, 1, 1, 1), axis(19, 3, 1, 1, 1)}},
      {1, 20, 5, 1, {axis(8, 5, 1, 2, 2), axis(40, 5, 1, 2, 2)}},
      {1, 7, 9, 1, {axis(10, 3, 1, 2, 0, 2), axis(13, 2, 3, 0, 1, 3)}},
      {2, 8, 8, 8, {axis(9, 3, 1, 1, 1), axis(35, 3, 1, 1, 1)}},
      {1, 40, 40, 40, {axis(9, 5, 2, 2, 2), axis(21, 5, 1, 2, 2)}},
      {1, 6, 12, 6, {axis(5, 3, 2, 1, 1), axis(6, 3, 2, 1, 1)}},
      {2, 32, 64, 2, {axis(6, 3, 1, 1, 1), axis(5, 3, 1, 1, 1)}},
      {1, 12, 18, 3, {axis(4, 2), axis(5, 2)}},
      {2, 33, 20, 1, {axis(1, 1), axis(50, 5, 2, 4, 1)}},        // one dimension
      {1, 24, 48, 1, {axis(20, 5, 1, 0, 0), axis(1, 1)}},        // Magika's [5, 1]
      {1, 3, 8, 1, {axis(2, 5, 1, 2, 2), axis(2, 7, 1, 3, 3)}},  // kernel larger than the input
      {1, 2, 3, 1, {axis(4, 1, 1, 2, 3), axis(4, 1, 1, 1, 2)}},  // windows only on padding
      {1, 600, 6, 1, {axis(3, 1), axis(3, 1)}},
      {1, 130, 33, 1, {axis(4, 3, 1, 1, 1), axis(4, 3, 1, 1, 1)}},  // several depth blocks
      {1, 2, 2, 2, {axis(20, 17, 1, 8, 8), axis(40, 17, 1, 8, 8)}},
      {1, 9, 9, 9, {axis(7, 3, 3, 1, 1, 2), axis(90, 3, 3, 2, 1, 2)}},
      {1, 3, 3, 3, {axis(40, 4, 2, 1, 2), axis(1, 1)}},
      {0, 4, 4, 1, {axis(4, 3), axis(4, 3)}},
  };
}

TEST_P(conv_kernels, plain_layout) {
  for (const conv_shape& s : shapes()) {
    const conv_data d = random_conv(s);
    std::vector<float> scratch(conv_scratch(kernels(), pool().size()));
    std::vector<float> y(s.batch * s.out_channels * s.window.out_size() + 1, -77.0F);
    conv(kernels(), pool(), s, d.weights.data(), d.bias.data(), d.x.data(), y.data(),
         scratch.data());
    EXPECT_EQ(y.back(), -77.0F);
    y.pop_back();
    expect_close(y, reference(d), 2e-5, text(s));
  }
}

// Each input scattered over its window: what the convolution of the same shape gathers.
TEST_P(conv_kernels, transposed) {
  for (const conv_shape& s : shapes()) {
    conv_shape t = s;  // as the operator sees it: from the convolution's outputs to its inputs
    std::swap(t.in_channels, t.out_channels);
    const std::vector<float> x = random_floats(s.batch * s.out_channels * s.window.out_size(), 1);
    const std::vector<float> w =
        random_floats(s.out_channels * s.in_per_group() * s.window.taps(), 2);
    const std::vector<float> bias = random_floats(t.out_channels, 3);
    std::vector<float> y(s.batch * s.in_channels * s.window.in_size());
    std::vector<float> scratch(conv_transpose_scratch(kernels(), t, pool().size()));
    conv_transpose(kernels(), pool(), t, w.data(), x.data(), bias.data(), y.data(), scratch.data());

    std::vector<double> want(y.size());
    const window_2d& a = s.window;
    for (std::size_t i = 0; i < want.size(); ++i) {
      want[i] = static_cast<double>(bias[i / a.in_size() % t.out_channels]);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t ow = i % a.width.out;
      const std::size_t oh = i / a.width.out % a.height.out;
      const std::size_t m = i / a.out_size() % s.out_channels;
      const std::size_t n = i / a.out_size() / s.out_channels;
      for (std::size_t c = 0; c < s.in_per_group(); ++c) {
        for (std::size_t k = 0; k < a.taps(); ++k) {
          const std::ptrdiff_t ih = a.height.input(oh, k / a.width.kernel);
          const std::ptrdiff_t iw = a.width.input(ow, k % a.width.kernel);
          if (!a.height.inside(ih) || !a.width.inside(iw)) continue;
          const std::size_t channel = m / s.out_per_group() * s.in_per_group() + c;
          want[((n * s.in_channels + channel) * a.height.in + static_cast<std::size_t>(ih)) *
                   a.width.in +
               static_cast<std::size_t>(iw)] +=
              static_cast<double>(x[i]) *
              static_cast<double>(w[(m * s.in_per_group() + c) * a.taps() + k]);
        }
      }
    }
    expect_close(y, want, 3e-5, text(s));
  }
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
