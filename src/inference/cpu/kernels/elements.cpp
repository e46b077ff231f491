#include "inference/cpu/kernels/elements.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

namespace mizzen::inference::detail::cpu {
namespace {

// A float of 8 bits or less. Source: ONNX technical notes on float8 and float4.
struct small_float {
  int exponent_bits, mantissa_bits, bias;
  enum class special { ieee, one_nan, unsigned_zero, none } kind;
};

// Calls fn(format) for a small float type; false for the others.
template <class Fn>
bool with_small_float(element_type type, Fn&& fn) noexcept {
  using k = small_float::special;
  switch (type) {
    case element_type::float8_e4m3fn:
      fn(small_float{4, 3, 7, k::one_nan});
      return true;
    case element_type::float8_e4m3fnuz:
      fn(small_float{4, 3, 8, k::unsigned_zero});
      return true;
    case element_type::float8_e5m2:
      fn(small_float{5, 2, 15, k::ieee});
      return true;
    case element_type::float8_e5m2fnuz:
      fn(small_float{5, 2, 16, k::unsigned_zero});
      return true;
    case element_type::float4_e2m1:
      fn(small_float{2, 1, 1, k::none});
      return true;
    default:
      return false;
  }
}

double decode(unsigned bits, const small_float& f) noexcept {
  const int width = f.exponent_bits + f.mantissa_bits;
  const unsigned mantissa = bits & ((1U << f.mantissa_bits) - 1);
  const unsigned most = (1U << f.exponent_bits) - 1;
  const unsigned exponent = (bits >> f.mantissa_bits) & most;
  const bool negative = (bits >> width & 1U) != 0;
  const double sign = negative ? -1.0 : 1.0;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  using k = small_float::special;
  if (f.kind == k::unsigned_zero && negative && exponent == 0 && mantissa == 0) return nan;
  if (f.kind == k::one_nan && exponent == most && mantissa + 1 == 1U << f.mantissa_bits) return nan;
  if (f.kind == k::ieee && exponent == most) {
    return mantissa != 0 ? nan : sign * std::numeric_limits<double>::infinity();
  }
  const auto m = static_cast<double>(mantissa);
  if (exponent == 0) return sign * std::ldexp(m, 1 - f.bias - f.mantissa_bits);
  return sign * std::ldexp(m + static_cast<double>(1U << f.mantissa_bits),
                           static_cast<int>(exponent) - f.bias - f.mantissa_bits);
}

// The greatest finite number, as bits without a sign.
unsigned greatest(const small_float& f) noexcept {
  const unsigned all = (1U << (f.exponent_bits + f.mantissa_bits)) - 1;
  using k = small_float::special;
  if (f.kind == k::ieee) return all - (1U << f.mantissa_bits);
  return f.kind == k::one_nan ? all - 1 : all;
}

unsigned encode(double v, const small_float& f, bool saturate) noexcept {
  using k = small_float::special;
  const unsigned sign = std::signbit(v) ? 1U << (f.exponent_bits + f.mantissa_bits) : 0U;
  const unsigned sign_bit = 1U << (f.exponent_bits + f.mantissa_bits);
  const unsigned nan =
      f.kind == k::unsigned_zero || f.kind == k::none ? sign_bit : sign | (sign_bit - 1);
  // float4 has no NaN: it becomes the negative zero.
  if (std::isnan(v)) return nan;
  const double magnitude = std::abs(v);
  const unsigned top = greatest(f);
  const auto overflow = [&]() -> unsigned {
    if (saturate || f.kind == k::none) return sign | top;
    return f.kind == k::ieee ? sign | (top + 1) : nan;
  };
  if (std::isinf(magnitude)) return overflow();
  if (magnitude == 0) return f.kind == k::unsigned_zero ? 0U : sign;
  const int exponent = std::max(std::ilogb(magnitude), 1 - f.bias);
  // In units of the last place; a carry into the next power of two is the right bit pattern.
  const double units = std::nearbyint(std::ldexp(magnitude, f.mantissa_bits - exponent));
  const auto steps = static_cast<std::int64_t>(units);
  const std::int64_t bits =
      steps + (static_cast<std::int64_t>(exponent + f.bias - 1) << f.mantissa_bits);
  if (bits > static_cast<std::int64_t>(top)) return overflow();
  if (bits == 0) return f.kind == k::unsigned_zero ? 0U : sign;
  return sign | static_cast<unsigned>(bits);
}

unsigned to_e8m0(float v, const cast_rules& rules) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  const unsigned exponent = bits >> 23 & 0xFFU;
  const unsigned mantissa = bits & 0x7FFFFFU;
  if (exponent == 0xFF) return 0xFF;
  bool up = false;
  if (rules.e8m0 == cast_rules::rounding::up) up = mantissa != 0;
  // Halfway lies the greater power of two, but for the smallest one.
  if (rules.e8m0 == cast_rules::rounding::nearest) {
    up = mantissa > 0x400000U || (mantissa == 0x400000U && exponent > 0);
  }
  if (up && exponent == 0xFE && rules.saturate) up = false;
  return exponent + (up ? 1U : 0U);
}

// Calls fn with a value of the C++ type behind a whole-byte type; false for the others.
template <class Fn>
bool with_type(element_type type, Fn&& fn) noexcept {
  switch (type) {
    case element_type::float32:
      return fn(float{}), true;
    case element_type::float64:
      return fn(double{}), true;
    case element_type::float16:
      return fn(float16{}), true;
    case element_type::bfloat16:
      return fn(bfloat16{}), true;
    case element_type::boolean:
      return fn(bool{}), true;
    case element_type::int8:
      return fn(std::int8_t{}), true;
    case element_type::int16:
      return fn(std::int16_t{}), true;
    case element_type::int32:
      return fn(std::int32_t{}), true;
    case element_type::int64:
      return fn(std::int64_t{}), true;
    case element_type::uint8:
      return fn(std::uint8_t{}), true;
    case element_type::uint16:
      return fn(std::uint16_t{}), true;
    case element_type::uint32:
      return fn(std::uint32_t{}), true;
    case element_type::uint64:
      return fn(std::uint64_t{}), true;
    default:
      return false;
  }
}

// Bits of a type narrower than a byte, or of an 8-bit float.
unsigned bits_at(const void* data, std::size_t width, std::size_t i) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  if (width == 8) return bytes[i];
  const std::size_t per_byte = 8 / width;
  return static_cast<unsigned>(bytes[i / per_byte]) >> (i % per_byte * width) & ((1U << width) - 1);
}

// Sets bits that are zero so far.
void set_bits(void* data, std::size_t width, std::size_t i, unsigned bits) noexcept {
  auto* bytes = static_cast<std::uint8_t*>(data);
  const std::size_t per_byte = 8 / width;
  const unsigned mask = (1U << width) - 1;
  std::uint8_t& byte = bytes[i / per_byte];
  if (i % per_byte == 0) byte = 0;
  byte = static_cast<std::uint8_t>(byte | (bits & mask) << (i % per_byte * width));
}

bool is_signed(element_type type) noexcept {
  return type == element_type::int4 || type == element_type::int2;
}

template <class T>
T from_double(double v) noexcept {
  if constexpr (std::is_same_v<T, float16>) {
    return to_float16(static_cast<float>(v));
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16(static_cast<float>(v));
  } else if constexpr (std::is_same_v<T, bool>) {
    return v != 0;
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(v);
  } else {
    if (std::isnan(v)) return 0;
    const double rounded = std::nearbyint(v);
    if (rounded <= static_cast<double>(std::numeric_limits<T>::min())) {
      return std::numeric_limits<T>::min();
    }
    if (rounded >= static_cast<double>(std::numeric_limits<T>::max())) {
      return std::numeric_limits<T>::max();
    }
    return static_cast<T>(rounded);
  }
}

template <class T>
double to_double(T v) noexcept {
  if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
    return to_float(v);
  } else {
    return static_cast<double>(v);
  }
}

}  // namespace

bool has_elements(element_type type) noexcept {
  return bit_width(type) != 0 && type != element_type::complex64 &&
         type != element_type::complex128;
}

float to_float(bfloat16 v) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(v.bits) << 16);
}

float to_float(float16 v) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(v.bits & 0x8000U) << 16;
  const std::uint32_t exponent = (v.bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = v.bits & 0x3FFU;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

bfloat16 to_bfloat16(float v) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  if (std::isnan(v)) return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
  return {static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}

float16 to_float16(float v) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  const auto with_sign = [&](std::uint32_t m) {
    return float16{static_cast<std::uint16_t>(sign | m)};
  };
  if (magnitude > 0x7F800000U) return with_sign(0x7E00U);   // NaN
  if (magnitude >= 0x477FF000U) return with_sign(0x7C00U);  // rounds to infinity
  if (magnitude < 0x38800000U) {                            // subnormal: units of 2^-24
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return with_sign(static_cast<std::uint32_t>(std::nearbyint(scaled)));
  }
  const std::uint32_t rebased = magnitude - (112U << 23);
  return with_sign((rebased + 0xFFFU + ((rebased >> 13) & 1U)) >> 13);
}

double element_at(const void* data, element_type type, std::size_t i) noexcept {
  double v = 0;
  read_elements(data, type, i, 1, &v);
  return v;
}

void read_elements(const void* from, element_type type, std::size_t begin, std::size_t n,
                   double* to) noexcept {
  const bool whole = with_type(type, [&]<class T>(T) {
    const T* x = static_cast<const T*>(from) + begin;
    for (std::size_t i = 0; i < n; ++i) to[i] = to_double(x[i]);
  });
  if (whole) return;
  const std::size_t width = bit_width(type);
  const bool small = with_small_float(type, [&](const small_float& f) {
    for (std::size_t i = 0; i < n; ++i) to[i] = decode(bits_at(from, width, begin + i), f);
  });
  if (small) return;
  for (std::size_t i = 0; i < n; ++i) {
    const unsigned bits = bits_at(from, width, begin + i);
    if (type == element_type::float8_e8m0) {
      to[i] = bits == 0xFF ? std::numeric_limits<double>::quiet_NaN()
                           : std::ldexp(1.0, static_cast<int>(bits) - 127);
      continue;
    }
    const bool negative = is_signed(type) && (bits >> (width - 1)) != 0;
    to[i] = static_cast<double>(bits) - (negative ? static_cast<double>(1U << width) : 0.0);
  }
}

void write_elements(const double* from, std::size_t n, void* to, element_type type) noexcept {
  const bool whole = with_type(type, [&]<class T>(T) {
    T* y = static_cast<T*>(to);
    for (std::size_t i = 0; i < n; ++i) y[i] = from_double<T>(from[i]);
  });
  if (whole) return;
  const std::size_t width = bit_width(type);
  const bool small = with_small_float(type, [&](const small_float& f) {
    for (std::size_t i = 0; i < n; ++i) set_bits(to, width, i, encode(from[i], f, true));
  });
  if (small) return;
  for (std::size_t i = 0; i < n; ++i) {
    if (type == element_type::float8_e8m0) {
      set_bits(to, width, i, to_e8m0(static_cast<float>(from[i]), {}));
      continue;
    }
    const int half = 1 << (width - 1);
    const int low = is_signed(type) ? -half : 0;
    const int high = is_signed(type) ? half - 1 : 2 * half - 1;
    const double v = std::isnan(from[i]) ? 0 : std::nearbyint(from[i]);
    const double inside = std::clamp(v, static_cast<double>(low), static_cast<double>(high));
    set_bits(to, width, i, static_cast<unsigned>(static_cast<int>(inside)));
  }
}

void cast_elements(const void* from, element_type from_type, std::size_t n, void* to,
                   element_type to_type, const cast_rules& rules) noexcept {
  const std::size_t width = bit_width(to_type);
  for (std::size_t i = 0; i < n; ++i) {
    const double v = element_at(from, from_type, i);
    const bool small = with_small_float(to_type, [&](const small_float& f) {
      set_bits(to, width, i, encode(v, f, rules.saturate));
    });
    if (small) continue;
    if (to_type == element_type::float8_e8m0) {
      set_bits(to, width, i, to_e8m0(static_cast<float>(v), rules));
      continue;
    }
    const bool whole = with_type(to_type, [&]<class T>(T) {
      static_cast<T*>(to)[i] = from_double<T>(std::is_integral_v<T> ? std::trunc(v) : v);
      // trunc of 0.5 is 0, but as a bool it is true.
      if constexpr (std::is_same_v<T, bool>) static_cast<T*>(to)[i] = v != 0;
    });
    if (whole) continue;
    std::int64_t bits = 0;
    if (from_type == element_type::int64) {
      bits = static_cast<const std::int64_t*>(from)[i];
    } else if (from_type == element_type::uint64) {
      bits = static_cast<std::int64_t>(static_cast<const std::uint64_t*>(from)[i]);
    } else {
      bits = from_double<std::int64_t>(std::trunc(v));
    }
    set_bits(to, width, i, static_cast<unsigned>(bits & 0xFF));
  }
}

}  // namespace mizzen::inference::detail::cpu
