// What is known, before any input is seen, of the elements of small integer tensors: exporters
// compute shapes with them.
#pragma once

#include "inference/graph/ir.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mizzen::inference::detail {

// One element: a number, or a dimension that has a symbol.
struct extent {
  std::int64_t value = unknown_dim;
  bool is_number = false;
  std::int64_t most = max_dimension;  // a dimension is never more than this

  // As a dimension: unknown_dim for a number that cannot be one.
  std::int64_t dimension() const noexcept { return is_number && value < 0 ? unknown_dim : value; }
};
using extents = std::vector<extent>;

// No tensor has more bytes: more than the memory of any machine.
inline constexpr std::int64_t most_bytes = std::int64_t{1} << 43;

// The greatest that dimension i of a shape can be, its other dimensions being what they are.
std::int64_t greatest_dimension(const dims& shape, std::size_t i, element_type type);

// The elements of a constant; nothing for one that is no small vector or scalar of integers.
std::optional<extents> extents_of(const tensor& t);

// Those of a node's output, from its inputs and what is known of their elements; nothing where that
// is too little.
struct extents_input {
  const value* v = nullptr;  // null for an input that is left out
  const extents* elements = nullptr;
};
std::optional<extents> infer_extents(const node& n, std::span<const extents_input> in);

}  // namespace mizzen::inference::detail
