#include "cpu_test.hpp"
#include "inference/cpu/kernels/int8_gemm.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

struct int8_case {
  std::size_t rows, columns, depth;
  bool per_column = false;
  bool zeros = false;
  bool epilogue = false;
};

// Reference: quantised as ONNX DynamicQuantizeLinear-11 says, summed in integers.
void check(const int8_table& table, thread_pool& pool, const int8_case& size, float low = -2,
           float high = 3) {
  const std::string what = std::string(table.name) + " " + std::to_string(size.rows) + "x" +
                           std::to_string(size.columns) + "x" + std::to_string(size.depth);
  const std::vector<float> a = random_floats(size.rows * size.depth, 1, low, high);
  std::mt19937 generator(2);
  std::vector<std::int8_t> b(size.depth * size.columns);
  for (auto& v : b) v = static_cast<std::int8_t>(static_cast<int>(generator() % 256) - 128);
  // The extremes, where an instruction that saturates would show.
  for (std::size_t i = 0; i < b.size(); i += 3) b[i] = i % 2 == 0 ? 127 : -128;
  const std::vector<float> scales =
      random_floats(size.per_column ? size.columns : 1, 3, 0.01F, 0.1F);
  std::vector<std::int32_t> zeros(size.per_column ? size.columns : 1, 0);
  if (size.zeros) {
    for (auto& z : zeros) z = static_cast<int>(generator() % 256) - 128;
  }
  const std::vector<float> bias = random_floats(size.columns, 4);
  const std::vector<float> residual = random_floats(size.rows * size.columns, 5);
  const int8_weights weights(table, b.data(), size.depth, size.columns, scales, zeros);

  const kernel_table& kernels = kernels_for(isa::generic);
  std::vector<float> c(size.rows * size.columns + 1, -77.0F);
  int8_problem p;
  p.rows = size.rows;
  p.a = a.data();
  p.c = c.data();
  if (size.epilogue) {
    p.bias = bias.data();
    p.residual = residual.data();
    p.finish = [](const void*, std::size_t, std::size_t, float* x, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) x[i] += 100.0F;
    };
  }
  std::vector<std::byte> scratch(int8_scratch(weights, size.rows) + 64);
  multiply_int8(kernels, pool, weights, p, scratch.data());

  const byte_range range = range_of(kernels, a.data(), a.size());
  std::vector<double> want(c.size(), -77.0);
  for (std::size_t r = 0; r < size.rows; ++r) {
    for (std::size_t n = 0; n < size.columns; ++n) {
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < size.depth; ++k) {
        const float q = std::clamp(std::nearbyint(a[r * size.depth + k] / range.scale) + range.zero,
                                   0.0F, 255.0F);
        sum += (static_cast<std::int64_t>(q) - static_cast<std::int64_t>(range.zero)) *
               (b[k * size.columns + n] - zeros[size.per_column ? n : 0]);
      }
      double x = static_cast<double>(sum) * static_cast<double>(range.scale) *
                 static_cast<double>(scales[size.per_column ? n : 0]);
      if (size.epilogue) {
        x += static_cast<double>(bias[n]) + static_cast<double>(residual[r * size.columns + n]) +
             100;
      }
      want[r * size.columns + n] = x;
    }
  }
  // The 100 that is added takes digits.
  expect_close(c, want, size.epilogue ? 1e-4 : 1e-5, what);
}

TEST(int8_gemm, sizes_and_tails) {
  thread_pool pool(2);
  for (const int8_table* table : int8_tables()) {
    for (const std::size_t rows : {1U, 2U, 5U, 14U, 15U, 29U}) {
      for (const std::size_t columns : {1U, 4U, 7U, 16U, 17U, 33U, 70U}) {
        check(*table, pool, {rows, columns, 9, true, true, true});
        check(*table, pool, {rows, columns, 4, false, false, false});
      }
    }
  }
}

TEST(int8_gemm, several_blocks) {
  thread_pool pool(3);
  for (const int8_table* table : int8_tables()) {
    check(*table, pool, {300, 520, 70, true, false, true});
    check(*table, pool, {3, 40, 1001, false, true, false});
  }
}

TEST(int8_gemm, sums_at_the_extremes) {
  thread_pool pool(1);
  for (const int8_table* table : int8_tables()) {
    check(*table, pool, {4, 20, 2000, false, false, false}, 2.5F, 3);
    check(*table, pool, {4, 20, 64, false, true, false}, -3, -2.5F);
  }
}

TEST(int8_gemm, nothing_to_do) {
  thread_pool pool(1);
  for (const int8_table* table : int8_tables()) {
    check(*table, pool, {0, 3, 4});
    check(*table, pool, {3, 0, 4});
    check(*table, pool, {3, 5, 0, true, true, true});
  }
}

// Sums beyond what a float holds, and beyond 32 bits.
void check_integers(const int8_table& table, thread_pool& pool, std::size_t rows,
                    std::size_t columns, std::size_t depth, bool is_signed, bool zeros) {
  std::mt19937 generator(3);
  std::vector<std::uint8_t> a(rows * depth);
  for (auto& v : a) v = static_cast<std::uint8_t>(generator() % 4 == 0 ? 255 : generator() % 256);
  std::vector<std::int8_t> b(depth * columns);
  for (auto& v : b) v = static_cast<std::int8_t>(generator() % 4 == 0 ? -128 : generator() % 128);
  std::vector<std::int32_t> b_zeros(zeros ? columns : 1, 0);
  for (auto& z : b_zeros) z = zeros ? static_cast<int>(generator() % 256) - 128 : 0;
  const int8_weights weights(table, b.data(), depth, columns, {1.0F}, b_zeros);
  std::vector<std::int32_t> y(rows * columns + 1, -77);
  integer_problem p;
  p.rows = rows;
  p.a = a.data();
  p.is_signed = is_signed;
  p.a_zero = is_signed ? -5 : 201;
  p.y = y.data();
  std::vector<std::byte> scratch(int8_scratch(weights, rows) + 64);
  multiply_integers(pool, weights, p, scratch.data());
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t n = 0; n < columns; ++n) {
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < depth; ++k) {
        const int left = is_signed ? static_cast<std::int8_t>(a[r * depth + k]) : a[r * depth + k];
        sum += (left - p.a_zero) * (b[k * columns + n] - b_zeros[zeros ? n : 0]);
      }
      ASSERT_EQ(y[r * columns + n], static_cast<std::int32_t>(sum))
          << table.name << " " << rows << "x" << columns << "x" << depth << " at " << r << ", "
          << n;
    }
  }
  EXPECT_EQ(y.back(), -77);
}

TEST(int8_gemm, integers) {
  thread_pool pool(3);
  for (const int8_table* table : int8_tables()) {
    for (const bool is_signed : {false, true}) {
      for (const bool zeros : {false, true}) {
        for (const std::size_t columns : {1U, 16U, 33U}) {
          check_integers(*table, pool, 15, columns, 9, is_signed, zeros);
        }
        check_integers(*table, pool, 2, 5, 3000, is_signed, zeros);
      }
    }
    check_integers(*table, pool, 0, 3, 4, false, true);
    check_integers(*table, pool, 3, 3, 0, false, true);
  }
}

TEST(int8, quantises_and_back) {
  for (const int8_table* table : int8_tables()) {
    for (const std::size_t n : {0U, 1U, 3U, 4U, 15U, 16U, 17U, 100U}) {
      std::vector<float> x = random_floats(n, 7, -30, 40);
      if (n > 3) {
        x[0] = 0.5F;  // ties
        x[1] = -1.5F;
        x[2] = 1e30F;
        x[3] = -std::numeric_limits<float>::infinity();
      }
      std::vector<std::uint8_t> y(n + 1, 77);
      for (const float scale : {1.0F, 0.13F}) {
        std::int32_t sum = table->quantise(x.data(), n, scale, 20, y.data());
        for (std::size_t i = 0; i < n; ++i) {
          const float want = std::clamp(std::nearbyint(x[i] / scale) + 20.0F, 0.0F, 255.0F);
          ASSERT_EQ(y[i], static_cast<std::uint8_t>(want)) << table->name << " " << i;
          sum -= y[i];
        }
        EXPECT_EQ(sum, 0);
        EXPECT_EQ(y[n], 77);
      }
      std::vector<float> back(n + 1, -77.0F);
      table->dequantise(y.data(), n, 20, 0.13F, back.data());
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_EQ(back[i], (static_cast<float>(y[i]) - 20.0F) * 0.13F) << table->name << " " << i;
      }
      EXPECT_EQ(back[n], -77.0F);
    }
  }
}

TEST(int8_gemm, range_of_constants) {
  const kernel_table& kernels = kernels_for(detect_isa());
  const std::vector<float> zeros(7, 0.0F);
  EXPECT_EQ(range_of(kernels, zeros.data(), zeros.size()).scale, 1.0F / 255.0F);
  EXPECT_EQ(range_of(kernels, zeros.data(), 0).zero, 0.0F);
  const std::vector<float> below(7, -4.0F);
  EXPECT_EQ(range_of(kernels, below.data(), below.size()).zero, 255.0F);
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
