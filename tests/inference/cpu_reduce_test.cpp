#include "cpu_test.hpp"
#include "inference/cpu/kernels/reduce.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(reduce_kernels);

using shape = std::vector<std::int64_t>;

constexpr reduction all_kinds[] = {reduction::sum,        reduction::mean,       reduction::max,
                                   reduction::min,        reduction::product,    reduction::l1,
                                   reduction::l2,         reduction::sum_square, reduction::log_sum,
                                   reduction::log_sum_exp};

double reduce_all(reduction kind, const std::vector<double>& x) {
  double sum = 0, squares = 0, magnitudes = 0, product = 1, exponentials = 0;
  double largest = -HUGE_VAL, smallest = HUGE_VAL;
  for (const double v : x) {
    sum += v;
    squares += v * v;
    magnitudes += std::abs(v);
    product *= v;
    exponentials += std::exp(v);
    largest = std::isnan(v) || v > largest ? v : largest;
    smallest = std::isnan(v) || v < smallest ? v : smallest;
  }
  switch (kind) {
    case reduction::sum:
      return sum;
    case reduction::mean:
      return sum / static_cast<double>(x.size());
    case reduction::max:
      return largest;
    case reduction::min:
      return smallest;
    case reduction::product:
      return product;
    case reduction::l1:
      return magnitudes;
    case reduction::l2:
      return std::sqrt(squares);
    case reduction::sum_square:
      return squares;
    case reduction::log_sum:
      return std::log(sum);
    case reduction::log_sum_exp:
      return std::log(exponentials);
  }
  return 0;
}

// Every subset of the axes of every shape, every kind.
template <typename T>
void check(const kernel_table& kernels, thread_pool& pool, const shape& s, const std::vector<T>& x,
           double tolerance) {
  for (unsigned subset = 0; subset < (1U << s.size()); ++subset) {
    std::array<bool, 8> reduced{};
    std::size_t kept = 1;
    for (std::size_t d = 0; d < s.size(); ++d) {
      reduced[d] = (subset >> d & 1U) != 0;
      if (!reduced[d]) kept *= static_cast<std::size_t>(s[d]);
    }
    std::vector<std::vector<double>> groups(kept);
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::size_t rest = i;
      std::size_t to = 0;
      std::size_t stride = 1;
      for (std::size_t d = s.size(); d-- > 0;) {
        const auto size = static_cast<std::size_t>(s[d]);
        if (!reduced[d]) {
          to += rest % size * stride;
          stride *= size;
        }
        rest /= size;
      }
      groups[to].push_back(static_cast<double>(x[i]));
    }
    for (const reduction kind : all_kinds) {
      std::vector<T> y(kept);
      reduce(kernels, pool, kind, x.data(), s, std::span(reduced.data(), s.size()), y.data());
      std::vector<float> got(y.begin(), y.end());
      std::vector<double> want;
      for (const auto& g : groups) want.push_back(reduce_all(kind, g));
      if (std::is_integral_v<T>) {
        for (double& v : want) v = std::trunc(v);
      }
      expect_close(
          got, want, tolerance,
          "kind " + std::to_string(static_cast<int>(kind)) + " subset " + std::to_string(subset));
    }
  }
}

std::size_t count_of(const shape& s) {
  std::size_t n = 1;
  for (const std::int64_t d : s) n *= static_cast<std::size_t>(d);
  return n;
}

TEST_P(reduce_kernels, any_axes_of_floats) {
  for (const shape& s :
       {shape{}, shape{1}, shape{7}, shape{300}, shape{5, 70}, shape{70, 5}, shape{3, 4, 5},
        shape{2, 3, 4, 5}, shape{1, 6, 1, 33}, shape{2, 1, 2, 3, 2}, shape{2, 1500}}) {
    // Around 1, so that products stay in range and sums positive for their logarithm.
    const std::vector<float> x = random_floats(count_of(s), 1, 0.95F, 1.05F);
    check(kernels(), pool(), s, x, 1e-5);
  }
}

TEST_P(reduce_kernels, other_types) {
  const shape s = {3, 4, 5};
  const std::vector<float> x = random_floats(60, 1, 0.9F, 1.1F);
  check(kernels(), pool(), s, std::vector<double>(x.begin(), x.end()), 1e-6);
  std::vector<std::int64_t> integers(60, 1);
  for (std::size_t i = 0; i < 60; i += 7) integers[i] = 2;
  check(kernels(), pool(), s, integers, 1e-6);
  check(kernels(), pool(), s, std::vector<std::int32_t>(integers.begin(), integers.end()), 1e-6);
}

TEST_P(reduce_kernels, of_nothing) {
  const shape s = {2, 0, 3};
  const std::array<bool, 3> reduced = {false, true, true};
  const auto run = [&](reduction kind) {
    std::vector<float> y(2, 5.0F);
    reduce<float>(kernels(), pool(), kind, nullptr, s, reduced, y.data());
    EXPECT_TRUE(y[0] == y[1] || std::isnan(y[0]));
    return y[0];
  };
  EXPECT_EQ(run(reduction::sum), 0.0F);
  EXPECT_EQ(run(reduction::product), 1.0F);
  EXPECT_EQ(run(reduction::max), -inf);
  EXPECT_EQ(run(reduction::min), inf);
  EXPECT_EQ(run(reduction::l2), 0.0F);
  EXPECT_EQ(run(reduction::log_sum_exp), -inf);
  EXPECT_TRUE(std::isnan(run(reduction::mean)));
  const std::array<bool, 3> outer = {true, true, false};
  std::vector<float> y(3, 5.0F);
  reduce<float>(kernels(), pool(), reduction::sum, nullptr, s, outer, y.data());
  EXPECT_EQ(y, std::vector<float>(3, 0.0F));
}

TEST_P(reduce_kernels, nan_and_infinity) {
  const shape s = {2, 40};
  const std::array<bool, 2> inner = {false, true};
  std::vector<float> x = random_floats(80, 1);
  x[5] = nan;
  x[47] = inf;
  std::vector<float> y(2);
  for (const reduction kind :
       {reduction::max, reduction::min, reduction::sum, reduction::log_sum_exp}) {
    reduce(kernels(), pool(), kind, x.data(), s, inner, y.data());
    EXPECT_TRUE(std::isnan(y[0]));
    if (kind != reduction::min) {
      EXPECT_EQ(y[1], inf);
    }
  }
  const std::array<bool, 2> outer = {true, false};
  std::vector<float> columns(40);
  reduce(kernels(), pool(), reduction::max, x.data(), s, outer, columns.data());
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(columns[i]), i == 5);
}

TEST_P(reduce_kernels, log_sum_exp_does_not_overflow) {
  const std::vector<float> x = {1000, 1000, -1000, -1000};
  const shape s = {2, 2};
  const std::array<bool, 2> inner = {false, true};
  std::vector<float> y(2);
  reduce(kernels(), pool(), reduction::log_sum_exp, x.data(), s, inner, y.data());
  expect_close(y, {1000 + std::log(2.0), -1000 + std::log(2.0)}, 1e-6);
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
