// Arithmetic on untrusted numbers: overflow is an error that names its field, never a wrap-around.
#pragma once

#include <mizzen/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace mizzen {

// a + b, or error(out_of_range) naming the subject.
template <std::integral T>
constexpr T checked_add(T a, T b, std::string_view subject) {
  T result{};
  if (__builtin_add_overflow(a, b, &result)) {
    throw error(errc::out_of_range, subject, "the sum overflows its integer type");
  }
  return result;
}

// a * b, or error(out_of_range) naming the subject.
template <std::integral T>
constexpr T checked_mul(T a, T b, std::string_view subject) {
  T result{};
  if (__builtin_mul_overflow(a, b, &result)) {
    throw error(errc::out_of_range, subject, "the product overflows its integer type");
  }
  return result;
}

// The value as To, or error(out_of_range) naming the subject if To cannot hold it.
template <std::integral To, std::integral From>
constexpr To narrow(From value, std::string_view subject) {
  if (!std::in_range<To>(value)) {
    throw error(errc::out_of_range, subject, "the value does not fit its integer type");
  }
  return static_cast<To>(value);
}

// Number of elements of a tensor of the given dimensions (1 for a scalar, 0 if any dimension is 0).
// Throws error(invalid_argument) for a negative dimension and error(out_of_range) on overflow, also
// where a zero dimension would hide the overflow of the others.
std::size_t checked_element_count(std::span<const std::int64_t> dimensions,
                                  std::string_view subject);

}  // namespace mizzen
