// Operators over pictures whose channels lie last. A pass writes a part of the graph in them, in
// which every value has the shape [N, ..., C] in place of [N, C, ...]; see
// passes/assign_layout.cpp.
#pragma once

#include "inference/graph/ir.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// Conv, ConvTranspose, MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool and
// InstanceNormalization as ONNX has them, but that input 0 and output 0 have their channels last.
inline constexpr std::string_view channels_last_domain = "mizzen.channels_last";

// Whether input 0 of a Conv of this domain is a picture as ONNX has it, of which it makes one with
// the channels last: the first convolution of a network does so as it reads.
inline bool has_planes(const node& n) { return n.attributes.get_int("planes", 0) == 1; }

// The perm of a Transpose of so many dimensions that moves the channels to the end, and back.
inline std::vector<std::int64_t> channels_to_last(std::size_t rank) {
  std::vector<std::int64_t> perm{0};
  for (std::size_t i = 2; i < rank; ++i) perm.push_back(static_cast<std::int64_t>(i));
  perm.push_back(1);
  return perm;
}
inline std::vector<std::int64_t> channels_to_second(std::size_t rank) {
  std::vector<std::int64_t> perm{0, static_cast<std::int64_t>(rank) - 1};
  for (std::size_t i = 1; i + 1 < rank; ++i) perm.push_back(static_cast<std::int64_t>(i));
  return perm;
}

inline dims permuted(const dims& shape, const std::vector<std::int64_t>& perm) {
  dims result;
  for (const std::int64_t i : perm) result.push_back(shape[static_cast<std::size_t>(i)]);
  return result;
}

// Whether weights are numbers of int8 about 0, or of uint8 about 128.
inline bool has_int8_weights(const tensor& weights, const tensor& zeros) {
  if (weights.type() != zeros.type()) return false;
  if (weights.type() == element_type::int8) {
    const auto z = zeros.data<std::int8_t>();
    return std::all_of(z.begin(), z.end(), [](std::int8_t v) { return v == 0; });
  }
  if (weights.type() != element_type::uint8) return false;
  const auto z = zeros.data<std::uint8_t>();
  return std::all_of(z.begin(), z.end(), [](std::uint8_t v) { return v == 128; });
}

// Whether there is a convolution of bytes for such weights: of depthwise ones, or with whole fours
// of channels, or whose lines can be copied.
inline bool takes_byte_conv(const node& n, const shape_type& weights) {
  if (weights.size() < 3 || weights.size() > 5) return false;
  if (std::any_of(weights.begin(), weights.end(), [](std::int64_t d) { return d < 1; }))
    return false;
  const std::int64_t groups = n.attributes.get_int("group", 1);
  if (groups < 1 || weights[0] % groups != 0) return false;
  if (weights[1] % 4 == 0 || (weights[1] == 1 && groups > 1 && groups == weights[0])) return true;
  const auto dilations = n.attributes.get_ints("dilations");
  return groups == 1 && (dilations.empty() || dilations.back() == 1);
}

// Whether a ConvTranspose says its pads itself, not by the shape of its output.
inline bool pads_are_given(const node& n) {
  return n.attributes.get_string("auto_pad", "NOTSET") == "NOTSET" &&
         !n.attributes.has("output_shape");
}

}  // namespace mizzen::inference::detail
