// Graphs over 8-bit integers, against their definition.
#include "optimised.hpp"

#include <vector>

namespace mizzen::inference {
namespace {

template <class T>
tensor bytes_of(const std::vector<int>& values, shape_type shape) {
  tensor t(std::is_same_v<T, std::int8_t> ? element_type::int8 : element_type::uint8,
           std::move(shape));
  for (std::size_t i = 0; i < values.size(); ++i) t.data<T>()[i] = static_cast<T>(values[i]);
  return t;
}

tensor floats(const std::vector<float>& values) {
  return tensor::copy(values, {static_cast<std::int64_t>(values.size())});
}

template <class T>
void quantises(const std::vector<float>& scales, const std::vector<int>& zeros, std::int64_t axis) {
  const bool one = scales.size() == 1;
  const tensor zero =
      bytes_of<T>(zeros, one ? shape_type{} : shape_type{static_cast<std::int64_t>(zeros.size())});
  const tensor scale = one ? number(scales[0]) : floats(scales);
  model_builder model;
  model.input("x", f32, {2, 3, 50})
      .initializer("scale", scale)
      .initializer("zero", zero)
      .node("QuantizeLinear", {"x", "scale", "zero"}, {"q"}, {{"axis", axis}})
      .node("DequantizeLinear", {"q", "scale", "zero"}, {"y"}, {{"axis", axis}})
      .output("q", zero.type(), {2, 3, 50})
      .output("y", f32, {2, 3, 50});
  tensor x = noise({2, 3, 50});
  for (float& v : x.data<float>()) v *= 20;
  const auto s = session::load(model.bytes());
  const auto out = s.run({{"x", x}});
  const float low = std::numeric_limits<T>::min();
  const float high = std::numeric_limits<T>::max();
  const auto q = out.at("q").template data<T>();
  const auto y = out.at("y").template data<float>();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = one ? 0 : axis == 1 ? i / 50 % 3 : i % 50;
    const auto z = static_cast<float>(zeros[c]);
    const float want = std::clamp(std::nearbyint(x.data<float>()[i] / scales[c]) + z, low, high);
    ASSERT_EQ(static_cast<float>(q[i]), want) << i;
    ASSERT_EQ(y[i], (want - z) * scales[c]) << i;
  }
}

TEST(quantised, one_scale_or_one_for_each_index_of_an_axis) {
  quantises<std::uint8_t>({0.1F}, {128}, 1);
  quantises<std::int8_t>({0.1F}, {-3}, 1);
  quantises<std::uint8_t>({0.1F, 0.2F, 0.07F}, {128, 0, 255}, 1);
  quantises<std::int8_t>({0.1F, 0.2F, 0.07F}, {127, 0, -128}, 1);
  quantises<std::int8_t>(std::vector<float>(50, 0.3F), std::vector<int>(50, 5), -1);
}

}  // namespace
}  // namespace mizzen::inference
