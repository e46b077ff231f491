// From floating point to any number type without undefined behaviour.
#pragma once

#include <limits>
#include <type_traits>

namespace mizzen::inference::detail::cpu {

// value cut towards zero; the nearest number of T where it is out of range, 0 for NaN.
template <typename T>
constexpr T saturate(double value) {
  if constexpr (std::is_integral_v<T>) {
    if (value != value) return 0;
    // As doubles these may round away from the range, hence the comparisons that exclude them.
    if (value <= static_cast<double>(std::numeric_limits<T>::min())) {
      return std::numeric_limits<T>::min();
    }
    if (value >= static_cast<double>(std::numeric_limits<T>::max())) {
      return std::numeric_limits<T>::max();
    }
  }
  return static_cast<T>(value);
}

}  // namespace mizzen::inference::detail::cpu
