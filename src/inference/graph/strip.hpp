// mizzen.ConvStrip: a depthwise convolution with the one before it, the one behind it, or both,
// over pictures [N, H, W, C], without their values between:
//
//   mizzen.ConvStrip(x, head weights?, head bias?, weights, bias?, tail weights?, tail bias?)
//
// The attributes are those of the depthwise one, and those of the head with "head." before their
// names; the tail is pointwise. "steps" and "head.steps" are the post-ops between.
#pragma once

#include "inference/graph/ir.hpp"

#include <cstddef>
#include <vector>

namespace mizzen::inference::detail {

struct strip_input {
  static constexpr std::size_t head_weights = 1, weights = 3, tail_weights = 5, count = 7;
};

// Post-ops without an operand as an attribute: three numbers each.
inline std::vector<float> to_numbers(const std::vector<post_op>& steps) {
  std::vector<float> numbers;
  for (const post_op& s : steps) {
    numbers.insert(numbers.end(), {static_cast<float>(s.kind), s.alpha, s.beta});
  }
  return numbers;
}
inline std::vector<post_op> to_steps(const std::vector<float>& numbers) {
  std::vector<post_op> steps;
  for (std::size_t i = 0; i + 2 < numbers.size(); i += 3) {
    const auto kind = static_cast<post_op_kind>(static_cast<int>(numbers[i]));
    steps.push_back({kind, numbers[i + 1], numbers[i + 2]});
  }
  return steps;
}

}  // namespace mizzen::inference::detail
