#include "cpu_test.hpp"
#include "inference/cpu/kernels/int8_conv.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

window_axis axis(std::size_t in, std::size_t kernel, std::size_t stride = 1, std::size_t pad = 0,
                 std::size_t dilation = 1) {
  window_axis a;
  a.in = in;
  a.kernel = kernel;
  a.stride = stride;
  a.dilation = dilation;
  a.pad_begin = a.pad_end = pad;
  const std::size_t reach = (kernel - 1) * dilation + 1;
  a.out = (in + 2 * pad - reach) / stride + 1;
  return a;
}

channels_last_shape shape_of(std::size_t batch, std::size_t in, std::size_t out, std::size_t groups,
                             window_axis height, window_axis width, window_axis depth = {}) {
  channels_last_shape s;
  s.batch = batch;
  s.in_channels = in;
  s.out_channels = out;
  s.groups = groups;
  s.window.axes = {depth, height, width};
  return s;
}

struct steps {
  bool bias = true;
  bool bounds = false;
  bool table = false;
  float scale = 1;  // of the factors
};

void check(const int8_table& table, thread_pool& pool, const channels_last_shape& s, steps with) {
  std::mt19937 generator(static_cast<unsigned>(s.in_channels * 7 + s.out_channels));
  const auto byte = [&] { return static_cast<int>(generator() % 256); };
  const std::size_t taps = s.window.taps();
  const std::size_t each = s.in_per_group() * taps;
  std::vector<std::uint8_t> x(s.batch * s.window.in_size() * s.in_channels);
  for (auto& v : x) v = static_cast<std::uint8_t>(byte() < 40 ? 255 : byte());
  std::vector<std::int8_t> w(s.out_channels * each);
  for (auto& v : w)
    v = static_cast<std::int8_t>(byte() < 40 ? -128 : byte() < 40 ? 127 : byte() - 128);
  int8_requantise o;
  for (std::size_t c = 0; c < s.out_channels; ++c) {
    o.factors.push_back(static_cast<float>(1 + byte()) /
                        (2e5F * std::sqrt(static_cast<float>(each))) * with.scale);
    if (with.bias) o.bias.push_back(byte() * 20 - 2000);
  }
  o.x_zero = 117;
  o.zero = 60;
  if (with.bounds) {
    o.low = 60;
    o.high = 201;
  }
  if (with.table) {
    for (int i = 0; i < 256; ++i) o.table.push_back(static_cast<std::uint8_t>(i * 7 + 3));
  }
  const int8_convolution convolution(table, s, w.data(), o);
  const std::size_t count = s.batch * s.window.out_size() * s.out_channels;
  std::vector<std::uint8_t> y(count + 1, 77);
  std::vector<std::byte> scratch(convolution.scratch_bytes(s, pool.size()) + 64);
  convolution.run(pool, s, x.data(), y.data(), scratch.data());
  EXPECT_EQ(y[count], 77);

  const auto& [d, h, v] = s.window.axes;
  std::size_t different = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t c = i % s.out_channels;
    const std::size_t pixel = i / s.out_channels;
    const std::size_t image = pixel / s.window.out_size();
    std::int64_t sum = with.bias ? o.bias[c] : 0;
    for (std::size_t tap = 0; tap < taps; ++tap) {
      const auto id = d.input(pixel / v.out / h.out % d.out, tap / v.kernel / h.kernel);
      const auto ih = h.input(pixel / v.out % h.out, tap / v.kernel % h.kernel);
      const auto iw = v.input(pixel % v.out, tap % v.kernel);
      if (!d.inside(id) || !h.inside(ih) || !v.inside(iw)) continue;
      const std::size_t from =
          (((image * d.in + static_cast<std::size_t>(id)) * h.in + static_cast<std::size_t>(ih)) *
               v.in +
           static_cast<std::size_t>(iw)) *
              s.in_channels +
          c / s.out_per_group() * s.in_per_group();
      for (std::size_t k = 0; k < s.in_per_group(); ++k) {
        sum += (x[from + k] - o.x_zero) * w[(c * s.in_per_group() + k) * taps + tap];
      }
    }
    const double exact =
        std::nearbyint(static_cast<double>(sum) * static_cast<double>(o.factors[c]));
    int want = std::clamp(static_cast<int>(std::clamp(exact, -1e6, 1e6)) + o.zero, o.low, o.high);
    if (with.table) want = o.table[static_cast<std::size_t>(want)];
    if (want == y[i]) continue;
    ++different;
    if (!with.table) {
      ASSERT_LE(std::abs(want - static_cast<int>(y[i])), 1) << table.name << " at " << i;
    }
  }
  EXPECT_LE(different, count / 1000) << table.name << " of " << count;
}

TEST(int8_conv, pointwise) {
  thread_pool pool(2);
  for (const int8_table* table : int8_tables()) {
    for (const std::size_t out : {1U, 5U, 16U, 17U, 40U, 300U}) {
      check(*table, pool, shape_of(2, 12, out, 1, axis(3, 1), axis(5, 1)), {});
    }
    check(*table, pool, shape_of(1, 64, 64, 1, axis(15, 1), axis(17, 1)), {true, true, true});
    check(*table, pool, shape_of(1, 6, 9, 1, axis(5, 1), axis(5, 1)), {false, false, false});
    check(*table, pool, shape_of(3, 7, 4, 1, axis(1, 1), axis(1, 1)), {true, false, true});
    check(*table, pool, shape_of(1, 8, 300, 1, axis(4, 1, 2), axis(5, 1, 2)), {true, true, true});
  }
}

// Up to products that no integer holds.
TEST(int8_conv, far_beyond_the_bounds) {
  thread_pool pool(2);
  for (const int8_table* table : int8_tables()) {
    for (const float scale : {1e3F, 1e6F, 1e12F, 1e30F}) {
      check(*table, pool, shape_of(1, 64, 70, 1, axis(5, 1), axis(5, 1)), {.scale = scale});
      check(*table, pool, shape_of(1, 64, 64, 64, axis(5, 3, 1, 1), axis(5, 3, 1, 1)),
            {.bounds = true, .scale = scale});
    }
  }
}

TEST(int8_conv, windows) {
  thread_pool pool(2);
  for (const int8_table* table : int8_tables()) {
    check(*table, pool, shape_of(2, 3, 16, 1, axis(11, 3, 2, 1), axis(13, 3, 2, 1)), {});
    check(*table, pool, shape_of(1, 3, 33, 1, axis(20, 7, 2, 3), axis(21, 7, 2, 3)),
          {true, true, true});
    check(*table, pool, shape_of(2, 20, 24, 1, axis(9, 3, 1, 1), axis(8, 3, 1, 1)), {});
    check(*table, pool, shape_of(1, 16, 8, 1, axis(9, 3, 1, 2, 2), axis(12, 2, 1, 1, 3)), {});
    check(*table, pool, shape_of(1, 4, 6, 1, axis(6, 3, 1, 1), axis(7, 3, 2, 1), axis(5, 3, 1, 1)),
          {});
    check(*table, pool, shape_of(1, 16, 40, 2, axis(7, 3, 1, 1), axis(7, 3, 1, 1)),
          {true, false, true});
    check(*table, pool, shape_of(2, 5, 3, 1, axis(1, 1), axis(30, 4, 3, 2)), {});
  }
}

TEST(int8_conv, depthwise) {
  thread_pool pool(2);
  for (const int8_table* table : int8_tables()) {
    for (const std::size_t c : {2U, 16U, 17U, 24U, 33U, 64U, 70U, 96U, 130U, 144U}) {
      check(*table, pool, shape_of(1, c, c, c, axis(9, 3, 1, 1), axis(10, 3, 1, 1)), {});
      check(*table, pool, shape_of(1, c, c, c, axis(3, 5, 2, 2), axis(70, 3, 1, 1)),
            {true, true, true});
      check(*table, pool, shape_of(2, c, c, c, axis(9, 5, 2, 2), axis(12, 5, 2, 2)),
            {true, true, true});
    }
    check(*table, pool, shape_of(1, 24, 24, 24, axis(9, 3, 1, 2, 2), axis(3, 1)), {});
  }
}

TEST(int8, pairs) {
  std::mt19937 generator(3);
  for (const int8_table* table : int8_tables()) {
    for (const std::size_t n : {1U, 3U, 16U, 33U, 100U}) {
      for (const bool product : {false, true}) {
        for (const std::size_t b_step : {0U, 1U}) {
          std::vector<std::uint8_t> a(n);
          std::vector<std::uint8_t> b(n);
          for (auto& v : a) v = static_cast<std::uint8_t>(generator());
          for (auto& v : b) v = static_cast<std::uint8_t>(generator());
          int8_pair p;
          p.product = product;
          p.a_zero = 100;
          p.b_zero = 30;
          p.a_factor = product ? 0.01F : 0.7F;
          p.b_factor = 0.4F;
          p.out.low = -90;
          p.out.high = 150;
          p.out.zero = 90;
          std::vector<std::uint8_t> y(n + 1, 77);
          table->combine(p, a.data(), 1, b.data(), b_step, n, y.data());
          EXPECT_EQ(y[n], 77);
          for (std::size_t i = 0; i < n; ++i) {
            const double l = a[i] - 100;
            const double r = b[i * b_step] - 30;
            const double v = product ? l * r * 0.01 : l * 0.7 + r * 0.4;
            ASSERT_NEAR(std::clamp(v, -90.0, 150.0) + 90, y[i], 0.5001) << table->name << " " << i;
          }
        }
      }
    }
  }
}

TEST(int8, tables_and_maxima) {
  std::vector<std::uint8_t> map(256);
  std::mt19937 generator(4);
  for (auto& v : map) v = static_cast<std::uint8_t>(generator());
  for (const int8_table* table : int8_tables()) {
    for (const std::size_t n : {0U, 1U, 63U, 64U, 65U, 300U}) {
      std::vector<std::uint8_t> x(n);
      for (auto& v : x) v = static_cast<std::uint8_t>(generator());
      std::vector<std::uint8_t> y(n + 1, 77);
      table->look_up(map.data(), x.data(), n, y.data());
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], map[x[i]]) << table->name;
      EXPECT_EQ(y[n], 77);
      const std::vector<std::uint8_t> before = y;
      table->greatest(x.data(), n, y.data());
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], std::max(x[i], before[i]));
      EXPECT_EQ(y[n], 77);
    }
  }
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
