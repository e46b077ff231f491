// What the tests of passes share: small graphs with and without the passes.
#pragma once

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mizzen::inference {

inline constexpr auto f32 = element_type::float32;

// Numbers in [-1, 1) that look random and are the same each time.
inline tensor noise(shape_type shape, std::uint32_t seed = 1) {
  tensor t(f32, std::move(shape));
  for (float& v : t.data<float>()) {
    seed = seed * 1664525U + 1013904223U;
    v = static_cast<float>(seed >> 8) / static_cast<float>(1U << 23) - 1.0F;
  }
  return t;
}

inline tensor positive(shape_type shape) {
  tensor t = noise(std::move(shape), 7);
  for (float& v : t.data<float>()) v = 0.5F + v * v;
  return t;
}

inline tensor number(float v) { return tensor::scalar(v); }

inline tensor ints(const std::vector<std::int64_t>& values) {
  return tensor::copy(values, {static_cast<std::int64_t>(values.size())});
}

// Runs the model with and without passes on an input "x", expects the same output "y", and returns
// the graph that the passes left.
inline std::string optimised(const model_builder& model, const tensor& x, float tolerance = 1e-5F) {
  const auto bytes = model.bytes();
  const auto plain = session::load(bytes, {.optimize = false});
  const auto fast = session::load(bytes);
  const auto expected = plain.run({{"x", x}});
  const auto actual = fast.run({{"x", x}});
  const auto a = actual.at("y").data<float>();
  const auto b = expected.at("y").data<float>();
  EXPECT_EQ(actual.at("y").shape(), expected.at("y").shape());
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0F, std::abs(b[i]))) << "element " << i;
    if (::testing::Test::HasFailure()) break;
  }
  return fast.dump_graph();
}

inline std::size_t node_count(const std::string& graph) {
  // Every line but inputs, outputs is a node.
  return static_cast<std::size_t>(std::count(graph.begin(), graph.end(), '\n')) - 2;
}

}  // namespace mizzen::inference
