// How DynamicQuantizeLinear chooses, from the numbers themselves, what turns them into uint8.
#pragma once

#include "inference/cpu/ops/plain.hpp"

#include <algorithm>
#include <cmath>

namespace mizzen::inference::detail {

// In single precision, as the standard says. Source: ONNX DynamicQuantizeLinear-11.
struct dynamic_quantisation {
  float scale;
  float zero;  // a whole number in [0, 255]

  explicit dynamic_quantisation(const plain_tensor& x) {
    float low = 0;
    float high = 0;
    for (integer i = 0; i < x.count; ++i) {
      low = std::min(low, static_cast<float>(x.data[i]));
      high = std::max(high, static_cast<float>(x.data[i]));
    }
    scale = (high == low ? 1.0F : high - low) / 255.0F;
    zero = std::nearbyint(std::clamp(-low / scale, 0.0F, 255.0F));
  }

  // Not yet limited to [0, 255].
  float steps(double x) const noexcept {
    return std::nearbyint(static_cast<float>(x) / scale) + zero;
  }
};

}  // namespace mizzen::inference::detail
