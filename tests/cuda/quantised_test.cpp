// Numbers of 8 bits on the device, against the processor.
#include "device_test.hpp"

#include <mizzen/core/checked.hpp>

#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

namespace mizzen::inference {
namespace {

constexpr auto i8 = element_type::int8;
constexpr auto u8 = element_type::uint8;
constexpr auto e4m3 = element_type::float8_e4m3fn;
constexpr auto e5m2 = element_type::float8_e5m2;

tensor raw(element_type type, shape_type shape, const std::vector<int>& values) {
  std::vector<std::byte> bytes(checked_element_count(shape, "shape"));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(values[i % values.size()] & 255);
  }
  return tensor::view(type, std::span<const std::byte>(bytes), shape).clone();
}

// Bytes that look random.
[[maybe_unused]] tensor random_bytes(element_type type, shape_type shape, std::uint32_t seed = 1) {
  std::vector<int> list(checked_element_count(shape, "shape"));
  for (int& b : list) {
    seed = seed * 1664525U + 1013904223U;
    b = static_cast<int>(seed >> 24);
    // No NaN and no infinity among floats of 8 bits, and nothing that makes one in a sum.
    if (type == e4m3 || type == e5m2) b &= 0xbf;
  }
  return raw(type, std::move(shape), list);
}

tensor floats(const std::vector<float>& values) {
  return tensor::copy(values, {static_cast<std::int64_t>(values.size())});
}

tensor scaled(tensor t, float factor) {
  for (float& v : t.data<float>()) v *= factor;
  return t;
}

tensor_map inputs(std::string name, tensor t) {
  tensor_map map;
  map.emplace(std::move(name), std::move(t));
  return map;
}

template <class T>
std::vector<double> widened(const tensor& t) {
  std::vector<double> list;
  for (const T v : t.data<T>()) list.push_back(static_cast<double>(v));
  return list;
}

std::vector<double> numbers(const tensor& t) {
  switch (t.type()) {
    case element_type::float32:
      return widened<float>(t);
    case element_type::int32:
      return widened<std::int32_t>(t);
    case element_type::int8:
      return widened<std::int8_t>(t);
    case element_type::uint8:
      return widened<std::uint8_t>(t);
    default:
      break;
  }
  std::vector<double> list;  // bits
  const std::size_t width = bit_width(t.type()) / 8;
  for (std::size_t i = 0; i < t.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, t.bytes().data() + i * width, width);
    list.push_back(bits);
  }
  return list;
}

// Whole numbers and halves differ by so many steps, floats by so much of the largest.
struct most_off {
  double steps = 0;
  double floats = 0;
  double share = 0.02;  // of the elements that may be a step off
};

void expect_same(const tensor_map& actual, const tensor_map& expected, const most_off& most) {
  for (const auto& [name, t] : expected) {
    ASSERT_EQ(actual.at(name).shape(), t.shape()) << name;
    ASSERT_EQ(actual.at(name).type(), t.type()) << name;
    const std::vector<double> a = numbers(actual.at(name));
    const std::vector<double> b = numbers(t);
    const bool is_float = t.type() == f32;
    double largest = 1e-30;
    for (const double v : b) largest = std::max(largest, std::abs(v));
    std::size_t off = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (std::isnan(a[i]) && std::isnan(b[i])) continue;
      const double by = std::abs(a[i] - b[i]);
      off += by == 0 ? 0U : 1U;
      ASSERT_LE(by, is_float ? most.floats * largest : most.steps)
          << name << "[" << i << "]: " << a[i] << " where it is " << b[i];
    }
    if (is_float) continue;
    EXPECT_LE(static_cast<double>(off), most.share * static_cast<double>(b.size()) + 1) << name;
  }
}

// In one part; the reference is the processor with the model as it stands.
std::string same(const model_builder& model, const tensor_map& in, const most_off& most = {},
                 std::size_t nodes = 1) {
  const auto expected = session::load(model.bytes(), {.optimize = false}).run(in);
  const session device = on_device(model);
  const std::string graph = device.dump_graph();
  EXPECT_EQ(outer_nodes(graph), nodes) << graph;
  for (int round = 0; round < 2; ++round) expect_same(device.run(in), expected, most);
  return graph;
}

TEST(cuda_quantised, to_bytes_and_back) {
  for (const element_type type : {i8, u8}) {
    for (const std::int64_t axis : {1, -1}) {
      SCOPED_TRACE(std::string(to_string(type)) + std::to_string(axis));
      const std::size_t count = axis == 1 ? 3 : 5;
      std::vector<float> scales;
      std::vector<int> zeros;
      for (std::size_t i = 0; i < count; ++i) {
        scales.push_back(0.03F + 0.011F * static_cast<float>(i));
        zeros.push_back(static_cast<int>(i) * 17 - (type == i8 ? 20 : 0));
      }
      model_builder model;
      model.input("x", f32, {2, 3, 5})
          .initializer("scales", floats(scales))
          .initializer("zeros", raw(type, {static_cast<std::int64_t>(count)}, zeros))
          .initializer("scale", number(0.02F))
          .initializer("zero", raw(type, {}, {type == i8 ? -7 : 131}))
          .node("QuantizeLinear", {"x", "scales", "zeros"}, {"a"}, {{"axis", axis}})
          .node("DequantizeLinear", {"a", "scales", "zeros"}, {"b"}, {{"axis", axis}})
          .node("QuantizeLinear", {"x", "scale", "zero"}, {"c"})
          .node("DequantizeLinear", {"c", "scale", "zero"}, {"d"})
          .node("QuantizeLinear", {"x", "scale", "zero"}, {"between"})
          .node("DequantizeLinear", {"between", "scale", "zero"}, {"e"})
          .node("Add", {"e", "d"}, {"f"})
          .output("a", type, {2, 3, 5})
          .output("b", f32, {2, 3, 5})
          .output("c", type, {2, 3, 5})
          .output("d", f32, {2, 3, 5})
          .output("f", f32, {2, 3, 5});
      same(model, inputs("x", scaled(noise({2, 3, 5}), 5)), {.floats = 1e-7});
    }
  }
}

TEST(cuda_quantised, rounds_to_even_and_saturates) {
  model_builder model;
  model.input("x", f32, {10}).initializer("two", number(2));
  for (const element_type type : {i8, u8}) {
    const std::string name(to_string(type));
    model.initializer("zero" + name, raw(type, {}, {0}))
        .node("QuantizeLinear", {"x", "two", "zero" + name}, {name})
        .output(name, type, {10});
  }
  const tensor_map in =
      inputs("x", floats({1, 3, 5, -1, -3, 1e6F, -1e6F, 255, std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}));
  same(model, in);
}

TEST(cuda_quantised, float8_to_and_from_all_numbers) {
  std::vector<int> all;
  for (int i = 0; i < 256; ++i) all.push_back(i);
  for (const element_type type : {e4m3, e5m2}) {
    SCOPED_TRACE(to_string(type));
    model_builder model;
    model.opset(19)
        .ir_version(9)
        .input("q", type, {256})
        .input("x", f32, {4000})
        .initializer("scale", number(0.5F))
        .node("Cast", {"q"}, {"wide"}, {{"to", 1}})
        .node("DequantizeLinear", {"q", "scale"}, {"y"})
        .node("Cast", {"x"}, {"narrow"}, {{"to", static_cast<std::int64_t>(type)}})
        .initializer("zero", raw(type, {}, {0}))
        .node("QuantizeLinear", {"x", "scale", "zero"}, {"steps"})
        .node("DequantizeLinear", {"steps", "scale"}, {"back"})
        .output("wide", f32, {256})
        .output("y", f32, {256})
        .output("narrow", type, {4000})
        .output("steps", type, {4000})
        .output("back", f32, {4000});
    tensor_map in = inputs("q", raw(type, {256}, all));
    // Of all sizes, ties among them.
    tensor x = noise({4000});
    auto data = x.data<float>();
    for (std::size_t i = 0; i < data.size(); ++i) {
      data[i] = i % 3 == 0 ? std::round(data[i] * 512) : data[i];
      data[i] = std::ldexp(data[i], static_cast<int>(i % 40) - 25);
    }
    in.emplace("x", std::move(x));
    const auto expected = session::load(model.bytes(), {.optimize = false}).run(in);
    const session device = on_device(model);
    EXPECT_EQ(outer_nodes(device.dump_graph()), 1U) << device.dump_graph();
    for (const char* name : {"narrow", "steps"}) {
      const auto a = device.run(in);
      for (std::size_t i = 0; i < 4000; ++i) {
        ASSERT_EQ(a.at(name).bytes()[i], expected.at(name).bytes()[i])
            << name << i << ": " << in.at("x").data<float>()[i];
      }
    }
    expect_near(
        device.run(in),
        [&] {
          tensor_map some;
          for (const char* name : {"wide", "y", "back"}) {
            some.emplace(name, expected.at(name).clone());
          }
          return some;
        }(),
        0);
  }
}

TEST(cuda_quantised, half_width_scales) {
  for (const element_type half : {element_type::float16, element_type::bfloat16}) {
    SCOPED_TRACE(to_string(half));
    const auto to = static_cast<std::int64_t>(half);
    model_builder model;
    model.opset(21)
        .ir_version(10)
        .input("x", f32, {4, 33})
        .input("s", f32, {1})
        .initializer("zero", raw(i8, {}, {3}))
        .node("Cast", {"x"}, {"h"}, {{"to", to}})
        .node("Cast", {"s"}, {"sh"}, {{"to", to}})
        .node("Squeeze", {"sh"}, {"scale"})
        .node("QuantizeLinear", {"h", "scale", "zero"}, {"q"})
        .node("DequantizeLinear", {"q", "scale", "zero"}, {"d"})
        .node("Cast", {"d"}, {"y"}, {{"to", 1}})
        .output("q", i8, {4, 33})
        .output("y", f32, {4, 33});
    tensor_map in = inputs("x", scaled(noise({4, 33}), 3));
    in.emplace("s", floats({0.04F}));
    // Quotients are rounded to the half here, as the standard says, which the processor does not;
    // the product of step and scale is not rounded to one on the way to a float.
    same(model, in, {.steps = 1, .floats = 2e-2, .share = 0.2});
  }
}

TEST(cuda_quantised, casts_of_bytes) {
  model_builder model;
  model.input("x", f32, {9}).input("q", i8, {5}).input("u", u8, {5});
  const auto cast = [&](const char* from, const char* to, element_type type, std::int64_t n) {
    model.node("Cast", {from}, {to}, {{"to", static_cast<std::int64_t>(type)}})
        .output(to, type, {n});
  };
  cast("x", "xi", i8, 9);
  cast("x", "xu", u8, 9);
  cast("q", "qf", f32, 5);
  cast("u", "uf", f32, 5);
  cast("u", "uh", element_type::float16, 5);
  tensor_map in = inputs("x", floats({0.9F, -0.9F, 1.5F, -1.5F, 200, -200, 300, -300, NAN}));
  in.emplace("q", raw(i8, {5}, {0, 1, -1, -128, 127}));
  in.emplace("u", raw(u8, {5}, {0, 1, 128, 255, 127}));
  same(model, in);
}

TEST(cuda_quantised, dynamic) {
  for (const float shift : {0.0F, 3.0F, -3.0F}) {
    SCOPED_TRACE(shift);
    model_builder model;
    model.input("x", f32, {7, 45})
        .node("DynamicQuantizeLinear", {"x"}, {"q", "scale", "zero"})
        .output("q", u8, {7, 45})
        .output("scale", f32, {})
        .output("zero", u8, {});
    tensor x = noise({7, 45});
    for (float& v : x.data<float>()) v += shift;
    same(model, inputs("x", std::move(x)));
  }
}

}  // namespace
}  // namespace mizzen::inference
