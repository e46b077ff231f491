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
tensor random_bytes(element_type type, shape_type shape, std::uint32_t seed = 1) {
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
  // A row of many blocks, one as it lies transposed.
  for (const float shift : {0.0F, 3.0F, -3.0F}) {
    SCOPED_TRACE(shift);
    model_builder model;
    model.input("x", f32, {110, 45})
        .node("DynamicQuantizeLinear", {"x"}, {"q", "scale", "zero"})
        .node("Transpose", {"x"}, {"t"})
        .node("Slice", {"t", "one", "three", "one"}, {"part"})
        .initializer("one", tensor::copy({std::int64_t{1}}, {1}))
        .initializer("three", tensor::copy({std::int64_t{3}}, {1}))
        .node("DynamicQuantizeLinear", {"part"}, {"tq", "tscale", "tzero"})
        .output("q", u8, {110, 45})
        .output("scale", f32, {})
        .output("zero", u8, {})
        .output("tq", u8, {45, 2})
        .output("tscale", f32, {});
    tensor x = noise({110, 45});
    for (float& v : x.data<float>()) v += shift;
    same(model, inputs("x", std::move(x)));
  }
  model_builder zeros;
  zeros.input("x", f32, {3})
      .node("DynamicQuantizeLinear", {"x"}, {"q", "scale", "zero"})
      .output("q", u8, {3})
      .output("scale", f32, {});
  same(zeros, inputs("x", floats({0, 0, 0})));
}

// x → bytes → product with weights of bytes → bias, Relu → bytes, as quantisers write it.
struct layer {
  element_type activations = i8, weights = i8;
  bool per_channel = true, with_zeros = false;
};

std::string name_of(const layer& l) {
  return std::string(to_string(l.activations)) + " " + std::string(to_string(l.weights)) +
         (l.per_channel ? " per channel" : "") + (l.with_zeros ? " zeros" : "");
}

const std::vector<layer>& layers() {
  static const std::vector<layer> list = {{i8, i8, true, false},     {u8, i8, true, true},
                                          {i8, i8, false, true},     {u8, u8, false, true},
                                          {u8, u8, true, true},      {e4m3, e4m3, false, false},
                                          {e4m3, e5m2, true, false}, {e5m2, e4m3, true, false}};
  return list;
}

int zero_of(element_type type, bool with_zeros) {
  return type == u8 ? (with_zeros ? 117 : 128) : with_zeros ? -9 : 0;
}

// A model whose "xq" is quantised from "x", and "wd" weights of this shape, whose channels lie
// along the axis.
model_builder quantised_layer(const layer& l, const shape_type& x, const shape_type& w,
                              std::size_t axis) {
  const std::int64_t channels = l.per_channel ? w[axis] : 1;
  std::vector<float> scales;
  std::vector<int> zeros;
  for (std::int64_t i = 0; i < channels; ++i) {
    scales.push_back(0.004F + 0.001F * static_cast<float>(i % 7));
    const bool moves = l.with_zeros && (l.weights == u8 || !l.per_channel);
    zeros.push_back(zero_of(l.weights, l.with_zeros) + (moves ? static_cast<int>(i % 5) : 0));
    if (l.weights == i8 && l.per_channel) zeros.back() = 0;
  }
  const shape_type each = l.per_channel ? shape_type{channels} : shape_type{};
  model_builder model;
  model.opset(21)
      .ir_version(10)
      .input("x", f32, {x.begin(), x.end()})
      .initializer("xs", number(0.013F))
      .initializer("xz", raw(l.activations, {}, {zero_of(l.activations, l.with_zeros)}))
      .initializer("w", random_bytes(l.weights, w, 5))
      .initializer("ws", l.per_channel ? floats(scales) : number(scales[0]))
      .initializer("wz", raw(l.weights, each, zeros))
      .node("QuantizeLinear", {"x", "xs", "xz"}, {"xq"})
      .node("DequantizeLinear", {"xq", "xs", "xz"}, {"xd"})
      .node("DequantizeLinear", {"w", "ws", "wz"}, {"wd"},
            {{"axis", static_cast<std::int64_t>(axis)}});
  return model;
}

// Behind "p".
void end_layer(model_builder& model, element_type type, const shape_type& shape) {
  model.initializer("ys", number(0.11F))
      .initializer("yz", raw(type, {},
                             {type == u8   ? 4
                              : type == i8 ? -3
                                           : 0}))
      .node("Relu", {"p"}, {"r"})
      .node("QuantizeLinear", {"r", "ys", "yz"}, {"y"})
      .output("y", type, {shape.begin(), shape.end()})
      .output("r", f32, {shape.begin(), shape.end()});
}

// Sums of floats have another order and roundings: a step where one lies between two.
constexpr most_off near{.steps = 1, .floats = 1e-5, .share = 0.02};

tensor activations(const shape_type& shape) { return scaled(noise(shape, 3), 1.6F); }

TEST(cuda_quantised, products_of_bytes) {
  struct sizes {
    shape_type x, w, y;
  };
  const std::vector<sizes> shapes = {{{5, 16}, {16, 32}, {5, 32}},
                                     {{2, 3, 20}, {20, 7}, {2, 3, 7}},
                                     {{1, 13}, {13, 5}, {1, 5}},
                                     {{3, 600}, {600, 3}, {3, 3}}};
  for (const layer& l : layers()) {
    for (const sizes& s : shapes) {
      SCOPED_TRACE(name_of(l) + to_string(s.x));
      model_builder model = quantised_layer(l, s.x, s.w, 1);
      model.initializer("b", scaled(noise({s.w[1]}, 8), 2))
          .node("MatMul", {"xd", "wd"}, {"m"})
          .node("Add", {"m", "b"}, {"p"});
      end_layer(model, l.activations, s.y);
      const std::string graph = same(model, inputs("x", activations(s.x)), near);
    }
  }
}

TEST(cuda_quantised, gemm_with_transposed_weights_and_bias) {
  for (const layer& l : layers()) {
    SCOPED_TRACE(name_of(l));
    model_builder model = quantised_layer(l, {6, 24}, {10, 24}, 0);
    model
        .initializer(
            "b", tensor::copy(std::vector<std::int32_t>{-900, 5, 700, 0, 100, -3, 400, 3000, -7, 8},
                              {10}))
        .initializer("bs", number(0.001F))
        .node("DequantizeLinear", {"b", "bs"}, {"bd"})
        .node("Gemm", {"xd", "wd", "bd"}, {"p"}, {{"transB", 1}});
    end_layer(model, l.activations, {6, 10});
    same(model, inputs("x", activations({6, 24})), near);
  }
}

TEST(cuda_quantised, convolutions_of_bytes) {
  struct sizes {
    shape_type x, w, y;
    std::vector<node_attribute> attributes;
  };
  const std::vector<sizes> shapes = {
      {{2, 16, 5, 6}, {20, 16, 1, 1}, {2, 20, 5, 6}, {}},
      {{1, 6, 5, 5}, {7, 6, 1, 1}, {1, 7, 3, 3}, {{"strides", {2, 2}}}},
      {{2, 16, 7, 6}, {8, 16, 3, 3}, {2, 8, 7, 6}, {{"pads", {1, 1, 1, 1}}}},
      {{1, 3, 9, 8}, {5, 3, 3, 3}, {1, 5, 4, 4}, {{"strides", {2, 2}}, {"pads", {0, 1, 0, 0}}}},
      {{1, 4, 9}, {3, 4, 3}, {1, 3, 7}, {{"pads", {1, 1}}, {"dilations", {2}}}},
      {{1, 6, 7, 7}, {6, 1, 3, 3}, {1, 6, 7, 7}, {{"group", 6}, {"pads", {1, 1, 1, 1}}}},
      {{1, 8, 5, 5}, {4, 4, 3, 3}, {1, 4, 3, 3}, {{"group", 2}}}};
  std::size_t number_of_case = 0;
  for (const layer& l : layers()) {
    for (const sizes& s : shapes) {
      // Each costs a compiler run: every layer meets half of the shapes, in turn.
      if (number_of_case++ % 2 != 0) continue;
      SCOPED_TRACE(name_of(l) + to_string(s.x) + to_string(s.w));
      model_builder model = quantised_layer(l, s.x, s.w, 0);
      model.initializer("b", scaled(noise({s.w[0]}, 8), 2))
          .node("Conv", {"xd", "wd", "b"}, {"p"}, s.attributes);
      end_layer(model, l.activations, s.y);
      same(model, inputs("x", activations(s.x)), near);
    }
  }
}

// As ONNX Runtime's dynamic quantisation writes it.
TEST(cuda_quantised, integer_products_behind_dynamic_quantisation) {
  for (const layer& l : {layer{u8, i8, true, false}, layer{u8, i8, false, true},
                         layer{u8, u8, true, true}, layer{u8, u8, false, false}}) {
    SCOPED_TRACE(name_of(l));
    std::vector<int> zeros;
    for (int i = 0; i < 7; ++i) zeros.push_back(zero_of(l.weights, l.with_zeros) + i % 3);
    const shape_type each = l.per_channel ? shape_type{7} : shape_type{};
    model_builder model;
    model.input("x", f32, {2, 5, 36})
        .initializer("w", random_bytes(l.weights, {36, 7}, 5))
        .initializer("wz", raw(l.weights, each, zeros))
        .initializer("ws", number(0.01F))
        .initializer("b", noise({7}, 4))
        .node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"})
        .node("MatMulInteger", {"q", "w", "z", "wz"}, {"m"})
        .node("Cast", {"m"}, {"f"}, {{"to", 1}})
        .node("Mul", {"s", "ws"}, {"both"})
        .node("Mul", {"f", "both"}, {"scaled"})
        .node("Add", {"scaled", "b"}, {"y"})
        .node("MatMulInteger", {"q", "w", "z", "wz"}, {"whole"})
        .output("y", f32, {2, 5, 7})
        .output("whole", element_type::int32, {2, 5, 7});
    tensor x = noise({2, 5, 36});
    for (float& v : x.data<float>()) v = v * 3 + 1;
    same(model, inputs("x", std::move(x)), {.floats = 1e-6});
  }
}

TEST(cuda_quantised, integer_products_of_inputs) {
  model_builder model;
  model.input("a", u8, {4, 3000})
      .input("c", i8, {1, 4, 6, 6})
      .initializer("w", random_bytes(i8, {3000, 5}, 5))
      .initializer("az", raw(u8, {}, {3}))
      .initializer("v", random_bytes(u8, {5, 4, 3, 3}, 9))
      .initializer("cz", raw(i8, {}, {-7}))
      .initializer("vz", raw(u8, {}, {100}))
      .node("MatMulInteger", {"a", "w", "az"}, {"m"})
      .node("ConvInteger", {"c", "v", "cz", "vz"}, {"k"}, {{"pads", {1, 1, 1, 1}}})
      .output("m", element_type::int32, {4, 5})
      .output("k", element_type::int32, {1, 5, 6, 6});
  tensor_map in = inputs("a", random_bytes(u8, {4, 3000}, 3));
  in.emplace("c", random_bytes(i8, {1, 4, 6, 6}, 4));
  same(model, in);
}

TEST(cuda_quantised, moved_about) {
  model_builder model;
  model.input("x", f32, {2, 6, 5})
      .initializer("scale", number(0.02F))
      .initializer("zero", raw(u8, {}, {131}))
      .initializer("scales", floats({0.01F, 0.02F, 0.03F, 0.04F, 0.05F, 0.06F}))
      .initializer("zeros", raw(i8, {6}, {1, 2, 3, 4, 5, 6}))
      .initializer("shape", tensor::copy({std::int64_t{3}, std::int64_t{-1}}, {2}))
      .node("QuantizeLinear", {"x", "scale", "zero"}, {"q"})
      .node("DequantizeLinear", {"q", "scale", "zero"}, {"d"})
      .node("Transpose", {"d"}, {"t"}, {{"perm", {1, 2, 0}}})
      .node("Reshape", {"t", "shape"}, {"a"})
      .node("Reshape", {"d", "shape"}, {"b"})
      .node("Add", {"a", "b"}, {"y"})
      .node("QuantizeLinear", {"x", "scales", "zeros"}, {"qc"})
      .node("DequantizeLinear", {"qc", "scales", "zeros"}, {"dc"})
      .node("Reshape", {"dc", "shape"}, {"yc"})
      .node("Transpose", {"dc"}, {"tc"})
      .node("Concat", {"q", "q"}, {"both"}, {{"axis", 1}})
      .node("Transpose", {"both"}, {"bytes"}, {{"perm", {2, 0, 1}}})
      .output("y", f32, {3, 20})
      .output("yc", f32, {3, 20})
      .output("tc", f32, {5, 6, 2})
      .output("bytes", u8, {5, 2, 12});
  same(model, inputs("x", scaled(noise({2, 6, 5}), 2)), {.floats = 1e-7});
}

// Weights go as bytes into every part that uses them, and as floats to who else does.
TEST(cuda_quantised, weights_in_two_parts_and_outside) {
  model_builder model = quantised_layer({}, {6, 16}, {16, 16}, 1);
  model.node("MatMul", {"xd", "wd"}, {"m"})
      .node("Hardmax", {"m"}, {"h"})
      .node("Hardmax", {"wd"}, {"hw"})
      .node("QuantizeLinear", {"h", "xs", "xz"}, {"hq"})
      .node("DequantizeLinear", {"hq", "xs", "xz"}, {"hd"})
      .node("MatMul", {"hd", "wd"}, {"p"})
      .output("hw", f32, {16, 16});
  end_layer(model, i8, {6, 16});
  const std::string graph = same(model, inputs("x", activations({6, 16})), near, 3);
  for (const char* part : {"DevicePart(x:float32[6,16])", "DevicePart(h:float32[6,16])"}) {
    EXPECT_NE(graph.find(part), std::string::npos) << graph;
  }
}

// QLinearConv, QLinearMatMul, QGemm and their kin are expanded on the way.
TEST(cuda_quantised, operators_on_bytes) {
  model_builder model;
  model.opset(13)
      .opset(1, "com.microsoft")
      .input("x", u8, {1, 4, 6, 6})
      .initializer("xs", number(0.02F))
      .initializer("xz", raw(u8, {}, {120}))
      .initializer("w", random_bytes(i8, {8, 4, 3, 3}, 3))
      .initializer("ws", number(0.01F))
      .initializer("wz", raw(i8, {}, {0}))
      .initializer("ys", number(0.1F))
      .initializer("yz", raw(u8, {}, {128}))
      .initializer("shape", tensor::copy({std::int64_t{8}, std::int64_t{36}}, {2}))
      .initializer("v", random_bytes(i8, {36, 5}, 6))
      .node("QLinearConv", {"x", "xs", "xz", "w", "ws", "wz", "ys", "yz"}, {"c"},
            {{"pads", {1, 1, 1, 1}}})
      .node("QLinearAdd", {"c", "ys", "yz", "c", "ys", "yz", "xs", "xz"}, {"a"}, {}, "",
            "com.microsoft")
      .node("Reshape", {"a", "shape"}, {"r"})
      .node("QLinearMatMul", {"r", "xs", "xz", "v", "ws", "wz", "ys", "yz"}, {"y"})
      .output("y", u8, {8, 5});
  same(model, inputs("x", random_bytes(u8, {1, 4, 6, 6}, 2)), {.steps = 1, .share = 0.05});
}

// A GPU without products of float8 computes them as floats; MIZZEN_EMULATED_CAPABILITY says nothing
// to a real one.
TEST(cuda_quantised, float8_on_older_chips) {
  ::setenv("MIZZEN_EMULATED_CAPABILITY", "75", 1);
  model_builder model = quantised_layer({e4m3, e4m3, true, false}, {4, 24}, {24, 10}, 1);
  model.node("MatMul", {"xd", "wd"}, {"p"});
  end_layer(model, e4m3, {4, 10});
  same(model, inputs("x", activations({4, 24})), near);
  ::unsetenv("MIZZEN_EMULATED_CAPABILITY");
}

TEST(cuda_quantised, in_half_width) {
  const layer l{u8, i8, true, true};
  model_builder model = quantised_layer(l, {6, 24}, {24, 10}, 1);
  model.node("MatMul", {"xd", "wd"}, {"p"});
  end_layer(model, u8, {6, 10});
  const tensor_map in = inputs("x", activations({6, 24}));
  const auto expected = session::load(model.bytes(), {.optimize = false}).run(in);
  const session device = on_device(model, gpu_options::arithmetic::float16);
  expect_same(device.run(in), expected, {.steps = 1, .floats = 1e-3, .share = 0.1});
}

// Products of scales are below what a half holds.
TEST(cuda_quantised, small_scales_in_half_width) {
  model_builder model;
  model.input("x", f32, {4, 32})
      .initializer("w", random_bytes(i8, {32, 8}, 5))
      .initializer("ws", number(1e-6F))
      .initializer("many", number(1e6F))
      .node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"})
      .node("MatMulInteger", {"q", "w", "z"}, {"m"})
      .node("Cast", {"m"}, {"f"}, {{"to", 1}})
      .node("Mul", {"s", "ws"}, {"both"})
      .node("Mul", {"f", "both"}, {"p"})
      .node("Mul", {"p", "many"}, {"y"})
      .node("Relu", {"f"}, {"large"})
      .output("y", f32, {4, 8})
      .output("large", f32, {4, 8});
  const tensor_map in = inputs("x", noise({4, 32}));
  const auto expected = session::load(model.bytes(), {.optimize = false}).run(in);
  const session device = on_device(model, gpu_options::arithmetic::float16);
  expect_same(device.run(in), expected, {.floats = 1e-3});
}

}  // namespace
}  // namespace mizzen::inference
