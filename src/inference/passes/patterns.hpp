// The patterns of several nodes that recognise_patterns looks for, by what they end in.
#pragma once

#include "inference/passes/matcher.hpp"

#include <optional>
#include <string_view>

namespace mizzen::inference::detail {

// x (1 + erf(x / sqrt 2)) / 2, or its approximation by tanh, in any order and association.
struct gelu_match {
  value_id x = no_value;
  std::string_view approximate;  // as the attribute of Gelu
};
std::optional<gelu_match> match_gelu(const matcher& m, const node& n);

// (x - mean) / sqrt(variance + epsilon) scale + bias over one dimension of x, in the forms that
// exporters write. scale and bias have an element for each index of that dimension.
struct layer_norm_match {
  value_id x = no_value;
  value_id scale = no_value;
  value_id bias = no_value;
  float epsilon = 0;
  std::size_t axis = 0;
};
std::optional<layer_norm_match> match_layer_norm(const matcher& m, const node& n);

}  // namespace mizzen::inference::detail
