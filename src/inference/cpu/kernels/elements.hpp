// Elements of every numeric type, read and written as doubles: what operators use that have no
// kernel of their own for a type.
#pragma once

#include <mizzen/inference/tensor.hpp>

#include <cstddef>
#include <cstdint>

namespace mizzen::inference::detail::cpu {

// Whether the functions below know the type: all but strings, complex numbers and undefined.
bool has_elements(element_type type) noexcept;

// Half-width floats. Source: IEEE 754 binary16; bfloat16 is the upper half of a binary32. To the
// narrower type they round to nearest, ties to even.
float to_float(float16 v) noexcept;
float to_float(bfloat16 v) noexcept;
float16 to_float16(float v) noexcept;
bfloat16 to_bfloat16(float v) noexcept;

// Element i of an array; 4- and 2-bit types are packed as in ONNX, the first element in the low
// bits. 64-bit integers lose what a double cannot hold.
double element_at(const void* data, element_type type, std::size_t i) noexcept;

// n elements from element `begin` on.
void read_elements(const void* from, element_type type, std::size_t begin, std::size_t n,
                   double* to) noexcept;

// Writes a whole array. Floats round to nearest, ties to even; integers too, and saturate (NaN
// becomes 0); bool is whether the number differs from 0.
void write_elements(const double* from, std::size_t n, void* to, element_type type) noexcept;

// How Cast rounds to the 8-bit types. Source: ONNX Cast, "saturate" and "round_mode".
struct cast_rules {
  bool saturate = true;
  enum class rounding { nearest, up, down } e8m0 = rounding::up;
};

// As Cast does: integers are cut off towards zero, those narrower than a byte keep their low bits.
void cast_elements(const void* from, element_type from_type, std::size_t n, void* to,
                   element_type to_type, const cast_rules& rules) noexcept;

}  // namespace mizzen::inference::detail::cpu
