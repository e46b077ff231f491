// How far results of a device may lie from those of the processor: the one place that says so.
#pragma once

#include <mizzen/inference.hpp>

#include <string_view>

namespace mizzen::inference {

// |a - b| <= relative * |b| + of_greatest * the greatest |b| of that output.
struct tolerance {
  double relative = 0.0;
  double of_greatest = 0.0;
};

// Of an output of this type, computed with this arithmetic.
//
//  - float32: sums in another order.
//  - tf32: factors of products are rounded to 11 bits, sums are float32.
//  - float16: whatever is stored is rounded to 11 bits; bfloat16 to 8. Sums are float32.
//  - 8-bit integers: one step, as what lies in the middle of two may be rounded to either. With the
//    arithmetic of float32 too, since sums are in another order.
//  - other integers and truth values: none. What decides is compared before it is rounded.
constexpr tolerance tolerance_of(element_type type, std::string_view math) {
  switch (type) {
    case element_type::int8:
    case element_type::uint8:
      return {0.0, 0.0};  // and one_step()
    case element_type::float32:
    case element_type::float64:
      if (math == "float16") return {4e-3, 4e-3};
      if (math == "tf32") return {2e-3, 2e-3};
      return {1e-4, 1e-5};
    case element_type::float16:
      return {4e-3, 4e-3};
    case element_type::bfloat16:
      return {3e-2, 2e-2};
    case element_type::float8_e4m3fn:
      return {0.13, 1e-3};  // a step: 3 bits
    case element_type::float8_e5m2:
      return {0.26, 1e-3};  // 2 bits
    default:
      return {0.0, 0.0};
  }
}

constexpr double one_step(element_type type) {
  return type == element_type::int8 || type == element_type::uint8 ? 1.0 : 0.0;
}

}  // namespace mizzen::inference
