#include "inference/cpu/kernels/elementwise.hpp"

#include "inference/cpu/kernels/saturate.hpp"

#include <cmath>
#include <type_traits>

namespace mizzen::inference::detail::cpu {
namespace {

template <typename F>
void map(const float* x, float* y, std::size_t n, F f) {
  for (std::size_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

template <typename T>
T power_of(T base, T exponent) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::pow(base, exponent);
  } else {
    using U = std::make_unsigned_t<T>;
    if constexpr (std::is_signed_v<T>) {
      // 1 / base^n is a fraction, which an integer cuts to zero, unless base is 1 or -1.
      if (exponent < 0) {
        if (base == 1) return 1;
        if (base == -1) return exponent % 2 == 0 ? T{1} : static_cast<T>(-1);
        if (base == 0) throw error(errc::invalid_argument, "Pow", "zero to a negative power");
        return 0;
      }
    }
    std::uint64_t result = 1;
    std::uint64_t square = static_cast<std::uint64_t>(base);
    for (auto e = static_cast<U>(exponent); e != 0; e = static_cast<U>(e >> 1U)) {
      if ((e & 1U) != 0) result *= square;
      square *= square;
    }
    return static_cast<T>(result);
  }
}

template <typename T>
void check_divisor(T divisor) {
  if constexpr (std::is_integral_v<T>) {
    if (divisor == 0) throw error(errc::invalid_argument, "divisor", "an integer divided by zero");
  }
}

template <typename T>
T quotient(T a, T b) {
  check_divisor(b);
  if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    // The quotient of the least integer and -1 wraps around instead of trapping.
    if (b == -1) return static_cast<T>(0U - static_cast<std::uint64_t>(a));
  }
  return static_cast<T>(a / b);
}

template <typename T>
T truncated_remainder(T a, T b) {
  check_divisor(b);
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmod(a, b);
  } else {
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return 0;
    }
    return static_cast<T>(a % b);
  }
}

template <typename T>
T floored_remainder(T a, T b) {
  const T r = truncated_remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
}

template <typename T>
bool unordered(T a) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(a);
  return false;
}

template <typename T, typename F>
void runs(thread_pool& pool, const broadcast_plan<2>& plan, const T* a, const T* b, T* y, F f) {
  for_each_run(pool, plan, [&](std::size_t to, const auto& at, const auto& steps, std::size_t n) {
    const T* const left = a + at[0];
    const T* const right = b + at[1];
    T* const out = y + to;
    if (steps[0] == 1 && steps[1] == 1) {
      for (std::size_t i = 0; i < n; ++i) out[i] = f(left[i], right[i]);
    } else {
      for (std::size_t i = 0; i < n; ++i) out[i] = f(left[i * steps[0]], right[i * steps[1]]);
    }
  });
}

// Arithmetic in an unsigned type, where wrapping around is defined.
template <typename T>
using wide = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;

}  // namespace

void unary_run(const kernel_table& kernels, const activation& f, const float* x, float* y,
               std::size_t n) {
  switch (f.op) {
    case unary_op::sin:
      return map(x, y, n, [](float v) { return std::sin(v); });
    case unary_op::cos:
      return map(x, y, n, [](float v) { return std::cos(v); });
    case unary_op::tan:
      return map(x, y, n, [](float v) { return std::tan(v); });
    case unary_op::asin:
      return map(x, y, n, [](float v) { return std::asin(v); });
    case unary_op::acos:
      return map(x, y, n, [](float v) { return std::acos(v); });
    case unary_op::atan:
      return map(x, y, n, [](float v) { return std::atan(v); });
    case unary_op::sinh:
      return map(x, y, n, [](float v) { return std::sinh(v); });
    case unary_op::cosh:
      return map(x, y, n, [](float v) { return std::cosh(v); });
    case unary_op::asinh:
      return map(x, y, n, [](float v) { return std::asinh(v); });
    case unary_op::acosh:
      return map(x, y, n, [](float v) { return std::acosh(v); });
    case unary_op::atanh:
      return map(x, y, n, [](float v) { return std::atanh(v); });
    default:
      return kernels.unary(f, x, y, n);
  }
}

void unary(const kernel_table& kernels, thread_pool& pool, const activation& f, const float* x,
           float* y, std::size_t n) {
  pool.parallel_for(n, element_grain, [&](std::size_t begin, std::size_t end) {
    unary_run(kernels, f, x + begin, y + begin, end - begin);
  });
}

template <typename T>
void binary(const kernel_table& kernels, thread_pool& pool, binary_op op, const T* a,
            std::span<const std::int64_t> a_shape, const T* b,
            std::span<const std::int64_t> b_shape, T* y, std::span<const std::int64_t> y_shape) {
  const broadcast_plan<2> plan(y_shape, {a_shape, b_shape});
  if constexpr (std::is_same_v<T, float>) {
    if (op <= binary_op::max) {
      for_each_run(pool, plan,
                   [&](std::size_t to, const auto& at, const auto& steps, std::size_t n) {
                     kernels.binary(op, a + at[0], static_cast<int>(steps[0]), b + at[1],
                                    static_cast<int>(steps[1]), y + to, n);
                   });
      return;
    }
    if (op == binary_op::pow) return power(kernels, pool, a, a_shape, b, b_shape, y, y_shape);
  }
  const auto run = [&](auto f) { runs(pool, plan, a, b, y, f); };
  switch (op) {
    case binary_op::add:
      return run([](T l, T r) { return static_cast<T>(wide<T>(l) + wide<T>(r)); });
    case binary_op::sub:
      return run([](T l, T r) { return static_cast<T>(wide<T>(l) - wide<T>(r)); });
    case binary_op::mul:
      return run([](T l, T r) { return static_cast<T>(wide<T>(l) * wide<T>(r)); });
    case binary_op::div:
      return run([](T l, T r) { return quotient(l, r); });
    case binary_op::min:
      return run([](T l, T r) { return l < r || unordered(l) ? l : r; });
    case binary_op::max:
      return run([](T l, T r) { return l > r || unordered(l) ? l : r; });
    case binary_op::pow:
      return run([](T l, T r) { return power_of(l, r); });
    case binary_op::mod:
      return run([](T l, T r) { return floored_remainder(l, r); });
    case binary_op::fmod:
      return run([](T l, T r) { return truncated_remainder(l, r); });
  }
}

template <typename T, typename E>
void power(const kernel_table& kernels, thread_pool& pool, const T* a,
           std::span<const std::int64_t> a_shape, const E* b, std::span<const std::int64_t> b_shape,
           T* y, std::span<const std::int64_t> y_shape) {
  const broadcast_plan<2> plan(y_shape, {a_shape, b_shape});
  for_each_run(pool, plan, [&](std::size_t to, const auto& at, const auto& steps, std::size_t n) {
    const T* const base = a + at[0];
    const E* const exponent = b + at[1];
    T* const out = y + to;
    if constexpr (std::is_same_v<T, float>) {
      // The exponents of the models' variances and norms.
      if (steps[1] == 0 && *exponent == E{2}) {
        kernels.binary(binary_op::mul, base, static_cast<int>(steps[0]), base,
                       static_cast<int>(steps[0]), out, n);
        return;
      }
      if (steps[1] == 0 && steps[0] == 1 && static_cast<double>(*exponent) == 0.5) {
        for (std::size_t i = 0; i < n; ++i) out[i] = std::pow(base[i], 0.5F);
        return;
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      const T l = base[i * steps[0]];
      const E r = exponent[i * steps[1]];
      if constexpr (std::is_same_v<T, E>) {
        out[i] = power_of(l, r);
      } else if constexpr (std::is_integral_v<T> && std::is_integral_v<E>) {
        out[i] =
            static_cast<T>(power_of(static_cast<std::int64_t>(l), static_cast<std::int64_t>(r)));
      } else {
        out[i] = saturate<T>(std::pow(static_cast<double>(l), static_cast<double>(r)));
      }
    }
  });
}

#define MIZZEN_BINARY(T)                                                                          \
  template void binary<T>(const kernel_table&, thread_pool&, binary_op, const T*,                 \
                          std::span<const std::int64_t>, const T*, std::span<const std::int64_t>, \
                          T*, std::span<const std::int64_t>);
MIZZEN_BINARY(float)
MIZZEN_BINARY(double)
MIZZEN_BINARY(std::int8_t)
MIZZEN_BINARY(std::int16_t)
MIZZEN_BINARY(std::int32_t)
MIZZEN_BINARY(std::int64_t)
MIZZEN_BINARY(std::uint8_t)
MIZZEN_BINARY(std::uint16_t)
MIZZEN_BINARY(std::uint32_t)
MIZZEN_BINARY(std::uint64_t)
#undef MIZZEN_BINARY

#define MIZZEN_POWER(T, E)                                               \
  template void power<T, E>(const kernel_table&, thread_pool&, const T*, \
                            std::span<const std::int64_t>, const E*,     \
                            std::span<const std::int64_t>, T*, std::span<const std::int64_t>);
#define MIZZEN_POWERS(T)        \
  MIZZEN_POWER(T, float)        \
  MIZZEN_POWER(T, double)       \
  MIZZEN_POWER(T, std::int32_t) \
  MIZZEN_POWER(T, std::int64_t)
MIZZEN_POWERS(float)
MIZZEN_POWERS(double)
MIZZEN_POWERS(std::int32_t)
MIZZEN_POWERS(std::int64_t)
#undef MIZZEN_POWERS
#undef MIZZEN_POWER

}  // namespace mizzen::inference::detail::cpu
