#include "conv_axis.hpp"
#include "cpu_test.hpp"
#include "inference/cpu/kernels/conv_channels_last.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(channels_last_kernels);

struct conv_data {
  explicit conv_data(const channels_last_shape& s)
      : shape(s),
        x(random_floats(s.batch * s.in_channels * s.window.in_size(), 1)),
        weights(random_floats(s.out_channels * s.in_per_group() * s.window.taps(), 2)),
        bias(random_floats(s.out_channels, 3)),
        residual(random_floats(s.batch * s.out_channels * s.window.out_size(), 4)),
        last(s.out_channels % 2 == 0
                 ? activation{unary_op::clip, -1, 2}
                 : activation{unary_op::hard_swish, 0.25F, 0.5F, 1.5F, -0.25F}) {}
  double last_of(double sum) const {
    if (last.op == unary_op::clip) return std::clamp(sum, -1.0, 2.0);
    return 1.5 * sum * std::clamp(0.25 * sum + 0.5, 0.0, 1.0) - 0.25;
  }

  channels_last_shape shape;
  std::vector<float> x, weights, bias, residual;
  activation last;
};

double sum_of(const conv_data& d, std::size_t n, const std::size_t (&o)[3], std::size_t m) {
  const channels_last_shape& s = d.shape;
  const auto& [depth, height, width] = s.window.axes;
  const std::size_t first = m / s.out_per_group() * s.in_per_group();
  double sum = 0;
  for (std::size_t c = 0; c < s.in_per_group(); ++c) {
    std::size_t tap = (m * s.in_per_group() + c) * s.window.taps();
    for (std::size_t kd = 0; kd < depth.kernel; ++kd) {
      for (std::size_t kh = 0; kh < height.kernel; ++kh) {
        for (std::size_t kw = 0; kw < width.kernel; ++kw, ++tap) {
          const std::ptrdiff_t id = depth.input(o[0], kd);
          const std::ptrdiff_t ih = height.input(o[1], kh);
          const std::ptrdiff_t iw = width.input(o[2], kw);
          if (!depth.inside(id) || !height.inside(ih) || !width.inside(iw)) continue;
          const std::size_t pixel = ((n * depth.in + static_cast<std::size_t>(id)) * height.in +
                                     static_cast<std::size_t>(ih)) *
                                        width.in +
                                    static_cast<std::size_t>(iw);
          sum += static_cast<double>(d.x[pixel * s.in_channels + first + c]) *
                 static_cast<double>(d.weights[tap]);
        }
      }
    }
  }
  return sum;
}

// last(conv + bias + residual) * 2, by the definition.
std::vector<double> reference(const conv_data& d) {
  const channels_last_shape& s = d.shape;
  const auto& [depth, height, width] = s.window.axes;
  std::vector<double> y;
  for (std::size_t n = 0; n < s.batch; ++n) {
    for (std::size_t od = 0; od < depth.out; ++od) {
      for (std::size_t oh = 0; oh < height.out; ++oh) {
        for (std::size_t ow = 0; ow < width.out; ++ow) {
          for (std::size_t m = 0; m < s.out_channels; ++m) {
            const double sum = sum_of(d, n, {od, oh, ow}, m) + static_cast<double>(d.bias[m]) +
                               static_cast<double>(d.residual[y.size()]);
            y.push_back(2 * d.last_of(sum));
          }
        }
      }
    }
  }
  return y;
}

std::vector<float> computed(const kernel_table& kernels, thread_pool& pool, const conv_data& d,
                            conv_method method) {
  const channels_last_weights weights(kernels, d.shape, method, d.weights.data());
  std::vector<float> y(d.residual.size(), nan);
  std::vector<float> scratch(conv_channels_last_scratch(kernels, d.shape, method, pool.size()),
                             nan);
  channels_last_epilogue epilogue;
  epilogue.bias = d.bias.data();
  epilogue.residual = d.residual.data();
  epilogue.last = d.last;
  epilogue.finish = [](const void*, std::size_t, float* run, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) run[i] *= 2;
  };
  conv_channels_last(kernels, pool, d.shape, weights, d.x.data(), y.data(), epilogue,
                     scratch.data());
  return y;
}

channels_last_shape picture(std::size_t batch, std::size_t in, std::size_t out, window_axis h,
                            window_axis w, std::size_t groups = 1) {
  return {batch, in, out, groups, {{window_axis{}, h, w}}};
}

TEST_P(channels_last_kernels, direct) {
  const channels_last_shape shapes[] = {
      picture(1, 16, 32, axis(5), axis(7)),
      picture(2, 3, 5, axis(6, 3, 1, 1, 1), axis(9, 3, 1, 1, 1)),
      picture(1, 17, 40, axis(9, 3, 2, 1, 1), axis(11, 3, 2, 1, 0)),
      picture(1, 8, 33, axis(12, 3, 1, 2, 2, 2), axis(10, 2, 3, 0, 1, 2)),
      picture(1, 12, 8, axis(5, 3, 1, 1, 1), axis(6, 3, 1, 1, 1), 4),
      picture(1, 300, 257, axis(3), axis(3)),
      picture(1, 64, 48, axis(1), axis(1)),
      picture(1, 1024, 96, axis(7, 1, 2), axis(9, 1, 2)),
      picture(1, 4, 6, axis(3, 5, 1, 4, 4), axis(2, 7, 1, 6, 6)),
      {1, 5, 7, 1, {{axis(4, 3, 1, 1, 1), axis(5, 3, 2, 1, 1), axis(6, 2, 1, 0, 1)}}},
  };
  for (const auto& s : shapes) {
    const conv_data d(s);
    expect_close(computed(kernels(), pool(), d, conv_method::direct), reference(d), 3e-5);
  }
}

TEST_P(channels_last_kernels, lines_of_few_channels) {
  const channels_last_shape shapes[] = {
      picture(1, 3, 20, axis(15, 7, 2, 3, 3), axis(17, 7, 2, 3, 3)),
      picture(2, 1, 16, axis(6, 3, 1, 1, 1), axis(9, 3, 1, 1, 1)),
      picture(1, 4, 6, axis(3, 5, 1, 4, 4), axis(2, 7, 1, 6, 6)),
      picture(1, 2, 3, axis(9, 3, 2, 0, 0, 2), axis(9, 2, 4, 0, 0)),
      {2, 1, 16, 1, {{axis(4, 3, 1, 1, 1), axis(5, 3, 1, 1, 1), axis(6, 3, 1, 1, 1)}}},
  };
  for (const auto& s : shapes) {
    const conv_data d(s);
    EXPECT_EQ(conv_method_for(s), conv_method::lines);
    const auto expected = reference(d);
    expect_close(computed(kernels(), pool(), d, conv_method::lines), expected, 1e-5);
    conv_data planes = d;
    const std::size_t pixels = s.window.in_size();
    for (std::size_t i = 0; i < d.x.size(); ++i) {
      const std::size_t image = i / pixels / s.in_channels;
      const std::size_t pixel = i / s.in_channels % pixels;
      planes.x[(image * s.in_channels + i % s.in_channels) * pixels + pixel] = d.x[i];
    }
    expect_close(computed(kernels(), pool(), planes, conv_method::planes), expected, 1e-5);
  }
}

TEST_P(channels_last_kernels, depthwise) {
  const channels_last_shape shapes[] = {
      picture(1, 32, 32, axis(7, 3, 1, 1, 1), axis(9, 3, 1, 1, 1), 32),
      picture(2, 19, 19, axis(8, 3, 2, 1, 1), axis(11, 3, 2, 1, 1), 19),
      picture(1, 50, 50, axis(5, 5, 1, 2, 2), axis(2, 5, 1, 2, 2), 50),
      picture(1, 70, 70, axis(6, 5, 1, 2, 2), axis(13, 5, 1, 2, 2), 70),
      picture(1, 21, 21, axis(9, 5, 2, 2, 2), axis(23, 5, 2, 2, 2), 21),
      picture(1, 3, 3, axis(9, 3, 1, 2, 2, 2), axis(4, 1), 3),
      {1, 17, 17, 17, {{axis(3, 3, 1, 1, 1), axis(4, 3, 1, 1, 1), axis(6, 3, 1, 1, 1)}}},
  };
  for (const auto& s : shapes) {
    const conv_data d(s);
    EXPECT_EQ(conv_method_for(s), conv_method::depthwise);
    expect_close(computed(kernels(), pool(), d, conv_method::depthwise), reference(d), 1e-5);
  }
}

TEST_P(channels_last_kernels, winograd) {
  const channels_last_shape shapes[] = {
      picture(1, 16, 32, axis(12, 3, 1, 1, 1), axis(12, 3, 1, 1, 1)),
      picture(2, 19, 37, axis(13, 3, 1, 1, 1), axis(15, 3, 1, 1, 1)),
      picture(1, 24, 16, axis(14, 3), axis(40, 3, 1, 2, 0)),
      picture(1, 64, 64, axis(56, 3, 1, 1, 1), axis(56, 3, 1, 1, 1)),
      // One block, whose channels the threads share.
      picture(1, 32, 100, axis(7, 3, 1, 1, 1), axis(7, 3, 1, 1, 1)),
      {1, 16, 17, 1, {{axis(5, 3, 1, 1, 1), axis(12, 3, 1, 1, 1), axis(12, 3, 1, 1, 1)}}},
      {2, 16, 16, 1, {{axis(2, 3, 1, 2, 2), axis(11, 3, 1, 1, 1), axis(11, 3, 1, 1, 1)}}},
  };
  for (const auto& s : shapes) {
    const conv_data d(s);
    EXPECT_EQ(conv_method_for(s), conv_method::winograd);
    expect_close(computed(kernels(), pool(), d, conv_method::winograd), reference(d), 1e-4);
  }
}

// One of a strip's convolutions, and its output when it is computed by itself.
struct strip_part {
  strip_part(const kernel_table& kernels, const channels_last_shape& shape, conv_method m)
      : data(shape), method(m), weights(kernels, shape, m, data.weights.data()) {
    epilogue.bias = data.bias.data();
    epilogue.last = {unary_op::clip, -0.5F, 1};
    epilogue.finish = [](const void*, std::size_t, float* run, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) run[i] *= 2;
    };
  }
  std::vector<float> alone(const kernel_table& kernels, const std::vector<float>& x) const {
    thread_pool one(1);
    std::vector<float> y(data.residual.size(), nan);
    std::vector<float> scratch(conv_channels_last_scratch(kernels, data.shape, method, 1), nan);
    conv_channels_last(kernels, one, data.shape, weights, x.data(), y.data(), epilogue,
                       scratch.data());
    return y;
  }
  // The window of a tail is a line.
  conv_part as_part(bool tail = false) const {
    conv_part part{data.shape, &weights, epilogue};
    if (tail) part.shape.batch = part.shape.window.axes[1].in = part.shape.window.axes[1].out = 1;
    return part;
  }

  conv_data data;
  conv_method method;
  channels_last_weights weights;
  channels_last_epilogue epilogue;
};

// Lines and channels are shared out otherwise for each number of threads.
TEST_P(channels_last_kernels, strips) {
  struct strip {
    channels_last_shape depthwise;
    window_axis head;  // of both dimensions; kernel 1: pointwise
  };
  const strip strips[] = {
      {picture(2, 96, 96, axis(9, 3, 1, 1, 1), axis(14, 3, 1, 1, 1), 96), {}},
      {picture(1, 200, 200, axis(11, 5, 2, 2, 2), axis(9, 5, 2, 2, 2), 200), {}},
      {picture(3, 20, 20, axis(7, 3, 2), axis(6, 2), 20), {}},
      {picture(2, 40, 40, axis(8, 3, 1, 1, 1), axis(8, 3, 1, 1, 1), 40), axis(16, 3, 2, 1, 1)},
  };
  for (const auto& [shape, over] : strips) {
    const bool planes = over.kernel > 1;
    const auto& [d, h, w] = shape.window.axes;
    const strip_part head(kernels(),
                          planes
                              ? picture(shape.batch, 3, shape.in_channels, over, over)
                              : picture(shape.batch, 7, shape.in_channels, axis(h.in), axis(w.in)),
                          planes ? conv_method::planes : conv_method::direct);
    const strip_part depthwise(kernels(), shape, conv_method::depthwise);
    strip_part tail(kernels(),
                    picture(shape.batch, shape.out_channels, 37, axis(h.out), axis(w.out)),
                    conv_method::direct);
    tail.epilogue.residual = tail.data.residual.data();
    for (const bool with_head : {true, false}) {
      for (const bool with_tail : {true, false}) {
        const std::vector<float>& x = with_head ? head.data.x : depthwise.data.x;
        std::vector<float> expected = with_head ? head.alone(kernels(), x) : x;
        expected = depthwise.alone(kernels(), expected);
        if (with_tail) expected = tail.alone(kernels(), expected);
        conv_strip_parts parts;
        if (with_head) parts.head = head.as_part();
        parts.depthwise = depthwise.as_part();
        if (with_tail) parts.tail = tail.as_part(true);
        for (const unsigned threads : {1U, 2U, 3U}) {
          thread_pool sharing(threads);
          std::vector<float> y(expected.size(), nan);
          std::vector<float> scratch(conv_strip_scratch(kernels(), parts, threads), nan);
          conv_strip(kernels(), sharing, parts, x.data(), y.data(), scratch.data());
          expect_close(y, std::vector<double>(expected.begin(), expected.end()), 1e-5,
                       std::to_string(threads) + " threads");
        }
      }
    }
  }
}

// By the definition: every pixel of x adds its window to y.
std::vector<double> transposed_reference(const channels_last_shape& s, const std::vector<float>& x,
                                         const std::vector<float>& weights,
                                         const std::vector<float>& bias) {
  const auto& [depth, height, width] = s.window.axes;
  std::vector<double> y(s.batch * s.window.in_size() * s.in_channels);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<double>(bias[i % s.in_channels]);
  std::size_t pixel = 0;
  for (std::size_t n = 0; n < s.batch; ++n) {
    for (std::size_t od = 0; od < depth.out; ++od) {
      for (std::size_t oh = 0; oh < height.out; ++oh) {
        for (std::size_t ow = 0; ow < width.out; ++ow, ++pixel) {
          for (std::size_t t = 0; t < s.window.taps(); ++t) {
            const std::ptrdiff_t id = depth.input(od, t / width.kernel / height.kernel);
            const std::ptrdiff_t ih = height.input(oh, t / width.kernel % height.kernel);
            const std::ptrdiff_t iw = width.input(ow, t % width.kernel);
            if (!depth.inside(id) || !height.inside(ih) || !width.inside(iw)) continue;
            const std::size_t to = ((n * depth.in + static_cast<std::size_t>(id)) * height.in +
                                    static_cast<std::size_t>(ih)) *
                                       width.in +
                                   static_cast<std::size_t>(iw);
            for (std::size_t o = 0; o < s.out_channels; ++o) {
              for (std::size_t c = 0; c < s.in_channels; ++c) {
                y[to * s.in_channels + c] +=
                    static_cast<double>(x[pixel * s.out_channels + o]) *
                    static_cast<double>(weights[(o * s.in_channels + c) * s.window.taps() + t]);
              }
            }
          }
        }
      }
    }
  }
  return y;
}

TEST_P(channels_last_kernels, transposed) {
  const channels_last_shape shapes[] = {
      picture(2, 24, 20, axis(10, 2, 2), axis(14, 2, 2)),
      picture(1, 1, 24, axis(12, 2, 2), axis(34, 2, 2)),
      picture(1, 3, 5, axis(11, 2, 2), axis(9, 2, 2)),  // a line and a column are left over
      picture(1, 40, 7, axis(9, 3, 2, 1, 1), axis(11, 3, 2, 1, 1)),
      picture(1, 5, 6, axis(8, 3, 1, 1, 1), axis(9, 4, 3, 0, 2, 2)),
      {1, 17, 19, 1, {{axis(4, 2, 2), axis(6, 2, 2), axis(8, 2, 2)}}},
  };
  for (const auto& s : shapes) {
    const auto x = random_floats(s.batch * s.out_channels * s.window.out_size(), 1);
    const auto w = random_floats(s.out_channels * s.in_channels * s.window.taps(), 2);
    const auto bias = random_floats(s.in_channels, 3);
    const conv_transpose_weights weights(kernels(), s, w.data());
    std::vector<float> y(s.batch * s.in_channels * s.window.in_size(), nan);
    conv_transpose_channels_last(kernels(), pool(), s, weights, x.data(), bias.data(), y.data());
    expect_close(y, transposed_reference(s, x, w, bias), 1e-5);
  }
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
