#include "cpu_test.hpp"
#include "inference/cpu/kernels/elementwise.hpp"

#include <mizzen/core/error.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>

namespace mizzen::inference::detail::cpu {
namespace {

MIZZEN_EVERY_ISA(elementwise_kernels);

struct function_case {
  const char* name;
  activation f;
  std::function<double(double)> reference;
  double low, high;
  double ulps;      // relative error allowed, in units of 2^-23
  double absolute;  // plus this
};

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double clip01(double x) { return std::min(1.0, std::max(0.0, x)); }

const std::vector<function_case>& functions() {
  static const std::vector<function_case> all = {
      {"exp", {unary_op::exp}, [](double x) { return std::exp(x); }, -87, 88.7, 2, 0},
      {"log", {unary_op::log}, [](double x) { return std::log(x); }, 1e-38, 3e38, 2, 0},
      {"log_near_1", {unary_op::log}, [](double x) { return std::log(x); }, 0.5, 2, 2, 0},
      {"sqrt", {unary_op::sqrt}, [](double x) { return std::sqrt(x); }, 0, 1e30, 1, 0},
      {"reciprocal", {unary_op::reciprocal}, [](double x) { return 1 / x; }, 0.01, 90, 1, 0},
      {"erf", {unary_op::erf}, [](double x) { return std::erf(x); }, -5, 5, 3, 0},
      {"tanh", {unary_op::tanh}, [](double x) { return std::tanh(x); }, -11, 11, 3, 0},
      {"sigmoid", {unary_op::sigmoid}, sigmoid_of, -80, 80, 4, 0},
      {"softplus",
       {unary_op::softplus},
       [](double x) { return std::log1p(std::exp(x)); },
       -80,
       80,
       6,
       0},
      {"softsign",
       {unary_op::softsign},
       [](double x) { return x / (1 + std::abs(x)); },
       -9,
       9,
       2,
       0},
      {"relu", {unary_op::relu}, [](double x) { return std::max(0.0, x); }, -9, 9, 0, 0},
      {"leaky_relu",
       {unary_op::leaky_relu, 0.125F},
       [](double x) { return x < 0 ? 0.125 * x : x; },
       -9,
       9,
       1,
       0},
      {"elu",
       {unary_op::elu, 1.5F},
       [](double x) { return x < 0 ? 1.5 * std::expm1(x) : x; },
       -30,
       9,
       6,
       0},
      {"celu",
       {unary_op::celu, 2.0F},
       [](double x) { return x < 0 ? 2 * std::expm1(x / 2) : x; },
       -30,
       9,
       6,
       0},
      {"selu",
       {unary_op::selu, 1.5F, 1.25F},
       [](double x) { return 1.25 * (x < 0 ? 1.5 * std::expm1(x) : x); },
       -30,
       9,
       6,
       0},
      {"thresholded_relu",
       {unary_op::thresholded_relu, 1.0F},
       [](double x) { return x > 1 ? x : 0; },
       -9,
       9,
       0,
       0},
      {"clip",
       {unary_op::clip, -2.0F, 3.0F},
       [](double x) { return std::min(3.0, std::max(-2.0, x)); },
       -9,
       9,
       0,
       0},
      {"scale", {unary_op::scale, 0.5F, 3.0F}, [](double x) { return x / 2 + 3; }, -9, 9, 1, 1e-6},
      {"gelu",
       {unary_op::gelu},
       [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); },
       -8,
       8,
       2.1,
       1.4e-6},  // 2.5e-7 |x| where the result is next to 0, which is up to |x| = 5.6
      {"gelu_near_0",
       {unary_op::gelu},
       [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); },
       -1,
       1,
       2.1,
       2.5e-7},
      {"gelu_tanh",
       {unary_op::gelu_tanh},
       [](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
       },
       -8,
       8,
       4,
       6e-7},
      {"hard_sigmoid",
       {unary_op::hard_sigmoid, 0.25F, 0.5F},
       [](double x) { return clip01(0.25 * x + 0.5); },
       -9,
       9,
       2,
       0},
      {"hard_swish",
       {unary_op::hard_swish, 0.25F, 0.5F},
       [](double x) { return x * clip01(0.25 * x + 0.5); },
       -9,
       9,
       2,
       1e-7},
      {"hard_swish with a scale",
       {unary_op::hard_swish, 0.25F, 0.5F, -1.5F, 0.25F},
       [](double x) { return -1.5 * x * clip01(0.25 * x + 0.5) + 0.25; },
       -9,
       9,
       2,
       1e-7},
      {"swish",
       {unary_op::swish, 1.5F},
       [](double x) { return x * sigmoid_of(1.5 * x); },
       -10,
       50,
       10,
       0},
      {"mish",
       {unary_op::mish},
       [](double x) { return x * std::tanh(std::log1p(std::exp(x))); },
       -30,
       50,
       6,
       0},
      {"floor", {unary_op::floor}, [](double x) { return std::floor(x); }, -9, 9, 0, 0},
      {"ceil", {unary_op::ceil}, [](double x) { return std::ceil(x); }, -9, 9, 0, 0},
      {"round", {unary_op::round}, [](double x) { return std::nearbyint(x); }, -9, 9, 0, 0},
      {"abs", {unary_op::abs}, [](double x) { return std::abs(x); }, -9, 9, 0, 0},
      {"negative", {unary_op::negative}, [](double x) { return -x; }, -9, 9, 0, 0},
      {"identity", {unary_op::identity}, [](double x) { return x; }, -9, 9, 0, 0},
      {"sin", {unary_op::sin}, [](double x) { return std::sin(x); }, -9, 9, 1, 0},
      {"atanh", {unary_op::atanh}, [](double x) { return std::atanh(x); }, -0.99, 0.99, 2, 0},
  };
  return all;
}

TEST_P(elementwise_kernels, unary_functions_are_accurate) {
  for (const function_case& c : functions()) {
    std::vector<float> x(20011);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double t = static_cast<double>(i) / static_cast<double>(x.size() - 1);
      // Logarithms are asked at all magnitudes.
      x[i] = static_cast<float>(c.low > 0 && c.high > 100 ? c.low * std::pow(c.high / c.low, t)
                                                          : c.low + (c.high - c.low) * t);
    }
    std::vector<float> y(x.size());
    unary(kernels(), pool(), c.f, x.data(), y.data(), x.size());
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = c.reference(static_cast<double>(x[i]));
      const double excess = std::abs(static_cast<double>(y[i]) - want) - c.absolute;
      const double unit = std::abs(want) * std::ldexp(1.0, -23);
      const double ulps = excess <= 0 ? 0 : excess / std::max(unit, 1e-45);
      worst = std::max(worst, ulps);
      ASSERT_LE(ulps, std::max(c.ulps, 0.01))
          << c.name << "(" << x[i] << ") = " << y[i] << ", want " << want;
    }
    RecordProperty(c.name, std::to_string(worst));
  }
}

TEST_P(elementwise_kernels, unary_tails_write_nothing_beyond) {
  for (std::size_t n = 0; n < 70; ++n) {
    const std::vector<float> x = random_floats(n, 1);
    std::vector<float> y(n + 1, -5.0F);
    unary(kernels(), pool(), {unary_op::exp}, x.data(), y.data(), n);
    EXPECT_EQ(y[n], -5.0F);
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(y[i], std::exp(x[i]), 1e-6F);
  }
}

float apply(const kernel_table& kernels, activation f, float x) {
  // A whole vector and a tail must agree.
  std::vector<float> in(17, x);
  std::vector<float> out(17);
  unary_run(kernels, f, in.data(), out.data(), in.size());
  EXPECT_EQ(std::memcmp(&out.front(), &out.back(), sizeof(float)), 0) << x;
  return out.front();
}

TEST_P(elementwise_kernels, special_values) {
  const kernel_table& k = kernels();
  for (int op = 0; op <= static_cast<int>(unary_op::atanh); ++op) {
    const activation f{static_cast<unary_op>(op), 0.5F, 0.75F};
    EXPECT_TRUE(std::isnan(apply(k, f, nan))) << "op " << op;
  }
  EXPECT_EQ(apply(k, {unary_op::exp}, -inf), 0.0F);
  EXPECT_EQ(apply(k, {unary_op::exp}, inf), inf);
  EXPECT_EQ(apply(k, {unary_op::exp}, 0.0F), 1.0F);
  EXPECT_EQ(apply(k, {unary_op::exp}, 89.0F), inf);
  EXPECT_NEAR(apply(k, {unary_op::exp}, -100.0F), std::exp(-100.0F), 1.5e-45F);
  EXPECT_EQ(apply(k, {unary_op::log}, 0.0F), -inf);
  EXPECT_EQ(apply(k, {unary_op::log}, inf), inf);
  EXPECT_EQ(apply(k, {unary_op::log}, 1.0F), 0.0F);
  EXPECT_TRUE(std::isnan(apply(k, {unary_op::log}, -1.0F)));
  EXPECT_TRUE(std::isnan(apply(k, {unary_op::log}, -inf)));
  EXPECT_NEAR(apply(k, {unary_op::log}, 1e-42F), std::log(1e-42F), 1e-4F);
  EXPECT_EQ(apply(k, {unary_op::tanh}, inf), 1.0F);
  EXPECT_EQ(apply(k, {unary_op::tanh}, -inf), -1.0F);
  EXPECT_EQ(apply(k, {unary_op::erf}, -inf), -1.0F);
  EXPECT_EQ(apply(k, {unary_op::sigmoid}, inf), 1.0F);
  EXPECT_EQ(apply(k, {unary_op::sigmoid}, -inf), 0.0F);
  EXPECT_EQ(apply(k, {unary_op::sign}, -3.0F), -1.0F);
  EXPECT_EQ(apply(k, {unary_op::sign}, 0.0F), 0.0F);
  EXPECT_EQ(apply(k, {unary_op::sign}, inf), 1.0F);
  EXPECT_EQ(apply(k, {unary_op::round}, 2.5F), 2.0F);
  EXPECT_EQ(apply(k, {unary_op::round}, -1.5F), -2.0F);
  EXPECT_EQ(apply(k, {unary_op::round}, 1e10F), 1e10F);
  EXPECT_EQ(apply(k, {unary_op::softplus}, inf), inf);
  EXPECT_EQ(apply(k, {unary_op::relu}, -inf), 0.0F);
  EXPECT_EQ(apply(k, {unary_op::reciprocal}, 0.0F), inf);
  EXPECT_TRUE(std::isnan(apply(k, {unary_op::sqrt}, -1.0F)));
}

using shape = std::vector<std::int64_t>;

std::size_t count_of(const shape& s) {
  std::size_t n = 1;
  for (const std::int64_t d : s) n *= static_cast<std::size_t>(d);
  return n;
}

// Index into a tensor of the given shape below the output element i: NumPy's rule, spelled out.
std::size_t below(std::size_t i, const shape& output, const shape& input) {
  std::size_t offset = 0;
  std::size_t stride = 1;
  for (std::size_t back = 1; back <= output.size(); ++back) {
    const auto size = static_cast<std::size_t>(output[output.size() - back]);
    const std::size_t at = i % size;
    i /= size;
    if (back > input.size()) continue;
    const auto have = static_cast<std::size_t>(input[input.size() - back]);
    if (have != 1) offset += at * stride;
    stride *= have;
  }
  return offset;
}

TEST_P(elementwise_kernels, broadcasting) {
  const struct {
    shape a, b, y;
  } cases[] = {
      {{}, {}, {}},
      {{5}, {}, {5}},
      {{}, {3, 4}, {3, 4}},
      {{3, 4}, {4}, {3, 4}},
      {{3, 1}, {1, 4}, {3, 4}},
      {{2, 3, 4, 5}, {2, 3, 4, 5}, {2, 3, 4, 5}},
      {{2, 3, 4, 5}, {3, 1, 1}, {2, 3, 4, 5}},
      {{2, 3, 4, 5}, {2, 3, 1, 1}, {2, 3, 4, 5}},
      {{2, 3, 1, 1}, {2, 3, 4, 5}, {2, 3, 4, 5}},
      {{1, 3, 1, 5}, {2, 1, 4, 1}, {2, 3, 4, 5}},
      {{2, 1, 3, 1, 2, 1}, {1, 4, 1, 5, 1, 6}, {2, 4, 3, 5, 2, 6}},
      {{1, 1}, {1, 1, 1}, {1, 1, 1}},
      {{0, 3}, {3}, {0, 3}},
      {{3, 0}, {3, 1}, {3, 0}},
      {{40, 1, 50}, {33, 1}, {40, 33, 50}},
      {{70000}, {1}, {70000}},
  };
  for (const auto& c : cases) {
    const std::vector<float> a = random_floats(count_of(c.a), 1, 0.5F, 2);
    const std::vector<float> b = random_floats(count_of(c.b), 2, 0.5F, 2);
    for (const binary_op op : {binary_op::add, binary_op::sub, binary_op::mul, binary_op::div,
                               binary_op::min, binary_op::max, binary_op::pow, binary_op::fmod}) {
      std::vector<float> y(count_of(c.y));
      binary(kernels(), pool(), op, a.data(), c.a, b.data(), c.b, y.data(), c.y);
      std::vector<double> want(y.size());
      for (std::size_t i = 0; i < y.size(); ++i) {
        const double l = static_cast<double>(a[below(i, c.y, c.a)]);
        const double r = static_cast<double>(b[below(i, c.y, c.b)]);
        switch (op) {
          case binary_op::add:
            want[i] = l + r;
            break;
          case binary_op::sub:
            want[i] = l - r;
            break;
          case binary_op::mul:
            want[i] = l * r;
            break;
          case binary_op::div:
            want[i] = l / r;
            break;
          case binary_op::min:
            want[i] = std::min(l, r);
            break;
          case binary_op::max:
            want[i] = std::max(l, r);
            break;
          case binary_op::pow:
            want[i] = std::pow(l, r);
            break;
          default:
            want[i] = std::fmod(l, r);
            break;
        }
      }
      expect_close(y, want, 1e-6, "op " + std::to_string(static_cast<int>(op)));
    }
  }
}

TEST_P(elementwise_kernels, binary_propagates_nan) {
  const std::vector<float> a = {nan, 1, 2, inf};
  const std::vector<float> b = {1, nan, 3, -inf};
  const shape s = {4};
  std::vector<float> y(4);
  binary(kernels(), pool(), binary_op::max, a.data(), s, b.data(), s, y.data(), s);
  expect_close(y, {nan, nan, 3, inf}, 0);
  binary(kernels(), pool(), binary_op::min, a.data(), s, b.data(), s, y.data(), s);
  expect_close(y, {nan, nan, 2, -inf}, 0);
}

template <typename T>
std::vector<T> integers(every_isa&, const kernel_table& kernels, thread_pool& pool, binary_op op,
                        std::vector<T> a, std::vector<T> b) {
  const shape a_shape = {static_cast<std::int64_t>(a.size())};
  const shape b_shape = {static_cast<std::int64_t>(b.size())};
  std::vector<T> y(std::max(a.size(), b.size()));
  const shape y_shape = {static_cast<std::int64_t>(y.size())};
  binary(kernels, pool, op, a.data(), a_shape, b.data(), b_shape, y.data(), y_shape);
  return y;
}

TEST_P(elementwise_kernels, integer_arithmetic) {
  using i64 = std::int64_t;
  const auto run = [&](binary_op op, std::vector<i64> a, std::vector<i64> b) {
    return integers<i64>(*this, kernels(), pool(), op, std::move(a), std::move(b));
  };
  using v = std::vector<i64>;
  constexpr i64 least = std::numeric_limits<i64>::min();
  constexpr i64 most = std::numeric_limits<i64>::max();
  EXPECT_EQ(run(binary_op::add, {1, most}, {2, 1}), (v{3, least}));
  EXPECT_EQ(run(binary_op::sub, {1, least}, {2, 1}), (v{-1, most}));
  EXPECT_EQ(run(binary_op::mul, {-3, 5}, {7}), (v{-21, 35}));
  EXPECT_EQ(run(binary_op::div, {-7, 7, least}, {2, -2, -1}), (v{-3, -3, least}));
  EXPECT_EQ(run(binary_op::mod, {-7, 7, -7, 6, least}, {3, -3, -3, 3, -1}), (v{2, -2, -1, 0, 0}));
  EXPECT_EQ(run(binary_op::fmod, {-7, 7, -7, 6}, {3, -3, -3, 3}), (v{-1, 1, -1, 0}));
  EXPECT_EQ(run(binary_op::pow, {2, -3, 0, 1, -1, 5}, {10, 3, 0, -4, -3, -1}),
            (v{1024, -27, 1, 1, -1, 0}));
  EXPECT_EQ(run(binary_op::min, {1, 5}, {3}), (v{1, 3}));
  EXPECT_EQ(run(binary_op::max, {1, 5}, {3}), (v{3, 5}));
  for (const binary_op op : {binary_op::div, binary_op::mod, binary_op::fmod}) {
    EXPECT_THROW(run(op, {1}, {0}), error);
    EXPECT_THROW((integers<std::uint8_t>(*this, kernels(), pool(), op, {1}, {0})), error);
  }
  EXPECT_EQ((integers<std::int32_t>(*this, kernels(), pool(), binary_op::mul, {1 << 30}, {4})),
            std::vector<std::int32_t>{0});
}

TEST_P(elementwise_kernels, power_with_another_type_of_exponent) {
  const std::vector<float> x = {-3, 2, 0.5F, 4};
  const shape s = {4};
  const shape scalar = {};
  std::vector<float> y(4);
  const std::int64_t two = 2;
  power(kernels(), pool(), x.data(), s, &two, scalar, y.data(), s);
  expect_close(y, {9, 4, 0.25, 16}, 1e-7);
  const float half = 0.5F;
  power(kernels(), pool(), x.data(), s, &half, scalar, y.data(), s);
  expect_close(y, {nan, std::sqrt(2.0), std::sqrt(0.5), 2}, 1e-6);
  const std::vector<std::int32_t> base = {2, -2, 100, 3};
  const std::vector<float> exponent = {0.5F, 3, 10, -1};
  std::vector<std::int32_t> out(4);
  power(kernels(), pool(), base.data(), s, exponent.data(), s, out.data(), s);
  EXPECT_EQ(out, (std::vector<std::int32_t>{1, -8, std::numeric_limits<std::int32_t>::max(), 0}));
}

}  // namespace
}  // namespace mizzen::inference::detail::cpu
