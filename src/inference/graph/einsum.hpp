// The equation of an Einsum node.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// Which dimensions of the operands and of the output are the same one.
struct einsum_terms {
  std::vector<std::vector<std::size_t>> operands;  // a label for each dimension
  std::vector<std::size_t> output;
  std::size_t labels = 0;  // they count from 0
};

// ranks: dimensions of the operands. Labels are letters; "..." stands for the leading dimensions,
// which broadcast. Without "->" the output has the labels that occur once, in alphabetical order.
// Throws error(invalid_argument) for an equation that does not parse or does not fit the ranks.
einsum_terms parse_einsum(std::string_view equation, const std::vector<std::size_t>& ranks);

}  // namespace mizzen::inference::detail
