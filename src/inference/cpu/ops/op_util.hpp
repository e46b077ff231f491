// Small things that the operators share.
#pragma once

#include "inference/device/kernel.hpp"

#include <mizzen/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::inference::detail {

// Bytes of one element, for operators that only move data; strings and packed types are refused.
inline std::size_t movable_size(const compile_context& c, std::size_t input = 0) {
  const std::size_t bits = bit_width(c.input_type(input));
  if (bits < 8) c.unsupported("elements of type " + std::string(to_string(c.input_type(input))));
  return bits / 8;
}

// The axis in [0, rank); shape inference has checked it.
inline std::size_t resolve_axis(std::int64_t axis, std::size_t rank) noexcept {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

// Product of dimensions [begin, end) of a shape.
inline std::size_t extent(std::span<const std::int64_t> shape, std::size_t begin,
                          std::size_t end) noexcept {
  std::size_t product = 1;
  for (std::size_t i = begin; i < end; ++i) product *= static_cast<std::size_t>(shape[i]);
  return product;
}

// Element i of an int32 or int64 value.
inline std::int64_t int_at(const value_view& v, std::size_t i) noexcept {
  return v.type == element_type::int32 ? v.as<const std::int32_t>()[i]
                                       : v.as<const std::int64_t>()[i];
}

// Calls fn with a value of the C++ type behind an element type; false if it is none of Ts.
template <class... Ts, class Fn>
bool dispatch(element_type type, Fn&& fn) {
  return ((type == element_type_of<Ts>() ? (fn(Ts{}), true) : false) || ...);
}

}  // namespace mizzen::inference::detail
