// Graphs over 8-bit integers, against their definition.
#include "optimised.hpp"

#include <string>
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

// Expects bytes of the model as it is and with the passes that differ by one at most, and returns
// the graph that the passes left.
template <class T>
std::string nearly_the_same_bytes(const model_builder& m, const tensor& x) {
  const auto plain = session::load(m.bytes(), {.optimize = false});
  const auto fast = session::load(m.bytes());
  const auto expected = plain.run({{"x", x}});
  const auto actual = fast.run({{"x", x}});
  const auto a = actual.at("y").template data<T>();
  const auto b = expected.at("y").template data<T>();
  EXPECT_EQ(actual.at("y").shape(), expected.at("y").shape());
  std::size_t off = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    EXPECT_LE(std::abs(static_cast<int>(a[i]) - static_cast<int>(b[i])), 1) << i;
    off += a[i] != b[i] ? 1U : 0U;
  }
  EXPECT_LE(off, b.size() / 50 + 1);
  return fast.dump_graph();
}

// Two convolutions and a sum, written as operators on bytes.
template <class T>
std::string operators_on_bytes(bool per_channel, bool one_zero) {
  constexpr int middle = std::is_signed_v<T> ? 0 : 128;
  std::vector<int> numbers;
  for (int i = 0; i < 2 * 8 * 9 * 9; ++i) numbers.push_back(i * 73 % 256 - 128 + middle);
  std::vector<int> weights;
  for (int i = 0; i < 8 * 8 * 9; ++i) weights.push_back(i * 57 % 255 - 127);
  std::vector<float> scales;
  for (int i = 0; i < 8; ++i) scales.push_back(0.01F + 0.001F * static_cast<float>(i));
  tensor bias(element_type::int32, {8});
  for (int i = 0; i < 8; ++i)
    bias.data<std::int32_t>()[static_cast<std::size_t>(i)] = 300 * i - 1000;
  const tensor x = bytes_of<T>(numbers, {2, 8, 9, 9});
  model_builder m;
  m.input("x", x.type(), {2, 8, 9, 9})
      .initializer("xs", number(0.02F))
      .initializer("xz", bytes_of<T>({middle + 3}, {1}))
      .initializer("w", bytes_of<std::int8_t>(weights, {8, 8, 3, 3}))
      .initializer("ws", per_channel ? floats(scales) : number(0.013F))
      .initializer("wz", per_channel && !one_zero
                             ? bytes_of<std::int8_t>(std::vector<int>(8, 0), {8})
                             : bytes_of<std::int8_t>({0}, {}))
      .initializer("b", bias.clone())
      .initializer("ys", number(0.3F))
      .initializer("yz", bytes_of<T>({middle - 7}, {}))
      .node("QLinearConv", {"x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}, {"c"},
            {{"pads", {1, 1, 1, 1}}})
      .node("QLinearConv", {"c", "ys", "yz", "w", "ws", "wz", "xs", "xz"}, {"y"},
            {{"pads", {1, 1, 1, 1}}})
      .output("y", x.type(), {2, 8, 9, 9});
  return nearly_the_same_bytes<T>(m, x);
}

TEST(quantised, operators_on_bytes_are_as_fast_as_pairs_around_them) {
  for (const bool per_channel : {false, true}) {
    for (const bool one_zero : {false, true}) {
      const std::string graph = operators_on_bytes<std::uint8_t>(per_channel, one_zero);
      EXPECT_NE(graph.find("mizzen.channels_last.QLinearConv"), std::string::npos) << graph;
      EXPECT_EQ(graph.find("float32[2"), std::string::npos) << graph;
      operators_on_bytes<std::int8_t>(per_channel, one_zero);
    }
  }
}

TEST(quantised, a_product_on_bytes) {
  std::vector<int> numbers;
  for (int i = 0; i < 6 * 20; ++i) numbers.push_back(i * 73 % 256);
  std::vector<int> weights;
  for (int i = 0; i < 20 * 12; ++i) weights.push_back(i * 57 % 255 - 127);
  const tensor x = bytes_of<std::uint8_t>(numbers, {6, 20});
  model_builder m;
  m.input("x", x.type(), {6, 20})
      .initializer("xs", number(0.02F))
      .initializer("xz", bytes_of<std::uint8_t>({120}, {}))
      .initializer("w", bytes_of<std::int8_t>(weights, {20, 12}))
      .initializer("ws", number(0.01F))
      .initializer("wz", bytes_of<std::int8_t>({0}, {}))
      .initializer("ys", number(0.1F))
      .initializer("yz", bytes_of<std::uint8_t>({99}, {}))
      .node("QLinearMatMul", {"x", "xs", "xz", "w", "ws", "wz", "ys", "yz"}, {"y"})
      .output("y", x.type(), {6, 12});
  const std::string graph = nearly_the_same_bytes<std::uint8_t>(m, x);
  EXPECT_NE(graph.find("mizzen.QLinearMatMul"), std::string::npos) << graph;
}

TEST(quantised, a_gemm_on_bytes) {
  for (const bool per_channel : {false, true}) {
    for (const bool turned : {false, true}) {
      std::vector<int> numbers;
      for (int i = 0; i < 6 * 20; ++i) numbers.push_back(i * 73 % 256);
      std::vector<int> weights;
      for (int i = 0; i < 20 * 12; ++i) weights.push_back(i * 57 % 255 - 127);
      tensor bias(element_type::int32, {12});
      std::vector<float> scales;
      for (std::size_t i = 0; i < 12; ++i) {
        bias.data<std::int32_t>()[i] = 500 * static_cast<std::int32_t>(i) - 2000;
        scales.push_back(0.01F + 0.001F * static_cast<float>(i));
      }
      const tensor x = bytes_of<std::uint8_t>(numbers, {6, 20});
      model_builder m;
      m.opset(1, "com.microsoft")
          .input("x", x.type(), {6, 20})
          .initializer("xs", number(0.02F))
          .initializer("xz", bytes_of<std::uint8_t>({120}, {}))
          .initializer(
              "w", bytes_of<std::int8_t>(weights, turned ? shape_type{12, 20} : shape_type{20, 12}))
          .initializer("ws", per_channel ? floats(scales) : number(0.01F))
          .initializer("wz", per_channel ? bytes_of<std::int8_t>(std::vector<int>(12, 0), {12})
                                         : bytes_of<std::int8_t>({0}, {}))
          .initializer("b", bias.clone())
          .initializer("ys", number(0.1F))
          .initializer("yz", bytes_of<std::uint8_t>({99}, {}))
          .node("QGemm", {"x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"}, {"y"},
                {{"transB", turned ? 1 : 0}}, "", "com.microsoft")
          .output("y", x.type(), {6, 12});
      const std::string graph = nearly_the_same_bytes<std::uint8_t>(m, x);
      EXPECT_NE(graph.find("mizzen.QLinearMatMul"), std::string::npos) << graph;
    }
  }
}

// A network written in operators on bytes, those of com.microsoft among them.
TEST(quantised, sums_and_functions_of_bytes) {
  std::vector<int> numbers;
  for (int i = 0; i < 2 * 4 * 5 * 5; ++i) numbers.push_back(i * 73 % 256 - 128);
  const tensor x = bytes_of<std::int8_t>(numbers, {2, 4, 5, 5});
  model_builder m;
  m.input("x", x.type(), {2, 4, 5, 5})
      .initializer("s", number(0.05F))
      .initializer("z", bytes_of<std::int8_t>({-3}, {}))
      .initializer("s2", number(1.0F / 256))
      .initializer("z2", bytes_of<std::int8_t>({-128}, {}));
  const std::string microsoft = "com.microsoft";
  m.opset(1, microsoft)
      .node("QLinearSigmoid", {"x", "s", "z", "s2", "z2"}, {"a"}, {}, "", microsoft)
      .node("QLinearMul", {"a", "s2", "z2", "x", "s", "z", "s", "z"}, {"b"}, {}, "", microsoft)
      .node("QLinearAdd", {"b", "s", "z", "x", "s", "z", "s", "z"}, {"c"}, {}, "", microsoft)
      .node("QLinearLeakyRelu", {"c", "s", "z", "s", "z"}, {"d"}, {{"alpha", 0.1F}}, "", microsoft)
      .node("QLinearGlobalAveragePool", {"d", "s", "z", "s", "z"}, {"y"}, {}, "", microsoft)
      .output("y", x.type(), {2, 4, 1, 1})
      .output("d", x.type(), {2, 4, 5, 5});
  const std::string graph = nearly_the_same_bytes<std::int8_t>(m, x);
  EXPECT_EQ(graph.find(microsoft), std::string::npos) << graph;
}

// A product by itself, of each type of both sides, with zero points of each form.
template <class A, class B>
void multiplies_integers(bool zero_of_a, std::size_t zeros_of_b, bool constant) {
  std::vector<int> values;
  for (int i = 0; i < 2 * 3 * 7; ++i) values.push_back(i * 37 % 256 - 128);
  const int a_low = std::is_signed_v<A> ? 0 : 128;
  const int b_low = std::is_signed_v<B> ? 0 : 128;
  std::vector<int> a;
  std::vector<int> b;
  for (const int v : values) a.push_back(v + a_low);
  for (int i = 0; i < 7 * 5; ++i) b.push_back(values[static_cast<std::size_t>(i)] / 2 + b_low);
  std::vector<int> zeros;
  for (std::size_t i = 0; i < zeros_of_b; ++i)
    zeros.push_back(static_cast<int>(i) * 9 - 20 + b_low);
  const tensor left = bytes_of<A>(a, {2, 3, 7});
  const tensor right = bytes_of<B>(b, {7, 5});
  model_builder m;
  m.input("x", left.type(), {2, 3, 7});
  if (constant) {
    m.initializer("w", right.clone());
  } else {
    m.input("w", right.type(), {7, 5});
  }
  std::vector<std::string> inputs{"x", "w"};
  if (zero_of_a || zeros_of_b != 0) inputs.emplace_back(zero_of_a ? "xz" : "");
  if (zero_of_a) m.initializer("xz", bytes_of<A>({7 + a_low}, {}));
  if (zeros_of_b != 0) {
    inputs.emplace_back("wz");
    m.initializer("wz", bytes_of<B>(zeros, zeros_of_b == 1 ? shape_type{} : shape_type{5}));
  }
  m.node("MatMulInteger", inputs, {"y"}).output("y", element_type::int32, {2, 3, 5});
  const auto s = session::load(m.bytes());
  const auto out = constant ? s.run({{"x", left}}) : s.run({{"x", left}, {"w", right}});
  const auto y = out.at("y").data<std::int32_t>();
  for (std::size_t r = 0; r < 6; ++r) {
    for (std::size_t n = 0; n < 5; ++n) {
      int sum = 0;
      for (std::size_t k = 0; k < 7; ++k) {
        const int zero = zeros.empty() ? 0 : zeros[zeros.size() == 1 ? 0 : n];
        sum += (a[r * 7 + k] - (zero_of_a ? 7 + a_low : 0)) * (b[k * 5 + n] - zero);
      }
      ASSERT_EQ(y[r * 5 + n], sum) << r << ", " << n;
    }
  }
}

TEST(quantised, products_of_integers) {
  for (const bool constant : {true, false}) {
    for (const bool zero_of_a : {true, false}) {
      for (const std::size_t zeros_of_b : {0U, 1U, 5U}) {
        multiplies_integers<std::uint8_t, std::uint8_t>(zero_of_a, zeros_of_b, constant);
        multiplies_integers<std::uint8_t, std::int8_t>(zero_of_a, zeros_of_b, constant);
        multiplies_integers<std::int8_t, std::uint8_t>(zero_of_a, zeros_of_b, constant);
        multiplies_integers<std::int8_t, std::int8_t>(zero_of_a, zeros_of_b, constant);
      }
    }
  }
}

TEST(quantised, one_scale_or_one_for_each_index_of_an_axis) {
  quantises<std::uint8_t>({0.1F}, {128}, 1);
  quantises<std::int8_t>({0.1F}, {-3}, 1);
  quantises<std::uint8_t>({0.1F, 0.2F, 0.07F}, {128, 0, 255}, 1);
  quantises<std::int8_t>({0.1F, 0.2F, 0.07F}, {127, 0, -128}, 1);
  quantises<std::int8_t>(std::vector<float>(50, 0.3F), std::vector<int>(50, 5), -1);
}

// Builds graphs as static quantisation writes them.
class quantised_builder {
 public:
  explicit quantised_builder(bool is_signed = false) : signed_(is_signed) {}

  std::string bytes(const std::string& v, float scale, int zero) {
    const std::string name = fresh();
    parameters(name, scale, zero);
    model.node("QuantizeLinear", {v, name + ".scale", name + ".zero"}, {name + ".q"})
        .node("DequantizeLinear", {name + ".q", name + ".scale", name + ".zero"}, {name});
    return name;
  }

  // Weights per channel along an axis, with a bias where there are channels of one.
  std::string weights(shape_type shape, std::int64_t axis, std::string* bias = nullptr,
                      float input_scale = 1) {
    const std::string name = fresh();
    const std::int64_t channels = shape[static_cast<std::size_t>(axis)];
    const tensor values = noise(shape, static_cast<std::uint32_t>(count_));
    tensor w(element_type::int8, shape);
    for (std::size_t i = 0; i < w.size(); ++i) {
      w.data<std::int8_t>()[i] =
          static_cast<std::int8_t>(std::nearbyint(values.data<float>()[i] * 127.0F));
    }
    std::vector<float> scales;
    tensor b(element_type::int32, {channels});
    for (std::int64_t c = 0; c < channels; ++c) {
      scales.push_back(0.01F + 0.001F * static_cast<float>(c % 7));
      b.data<std::int32_t>()[static_cast<std::size_t>(c)] = static_cast<std::int32_t>(c * 37 - 100);
    }
    const std::vector<int> zeros(static_cast<std::size_t>(channels), 0);
    model.initializer(name + ".q", w)
        .initializer(name + ".scale", floats(scales))
        .initializer(name + ".zero", bytes_of<std::int8_t>(zeros, {channels}))
        .node("DequantizeLinear", {name + ".q", name + ".scale", name + ".zero"}, {name},
              {{"axis", axis}});
    if (bias != nullptr) {
      *bias = name + ".bias";
      for (float& s : scales) s *= input_scale;
      tensor none(element_type::int32, {channels});
      std::fill(none.data<std::int32_t>().begin(), none.data<std::int32_t>().end(), 0);
      model.initializer(*bias + ".q", b)
          .initializer(*bias + ".scale", floats(scales))
          .initializer(*bias + ".zero", none)
          .node("DequantizeLinear", {*bias + ".q", *bias + ".scale", *bias + ".zero"}, {*bias},
                {{"axis", 0}});
    }
    return name;
  }

  std::string op(const std::string& type, std::vector<std::string> inputs,
                 std::vector<node_attribute> attributes = {}) {
    const std::string name = fresh();
    model.node(type, std::move(inputs), {name}, std::move(attributes));
    return name;
  }

  model_builder model;

 private:
  std::string fresh() { return "v" + std::to_string(++count_); }
  void parameters(const std::string& name, float scale, int zero) {
    model.initializer(name + ".scale", number(scale));
    if (signed_) {
      model.initializer(name + ".zero", bytes_of<std::int8_t>({zero - 128}, {}));
    } else {
      model.initializer(name + ".zero", bytes_of<std::uint8_t>({zero}, {}));
    }
  }

  bool signed_;
  int count_ = 0;
};

// Runs with and without passes; "y" is a multiple of a step, off by at most one and seldom. Returns
// the graph that the passes left.
std::string same_bytes(quantised_builder& b, const std::string& result, const tensor& x, float step,
                       double seldom = 0.001) {
  std::vector<dimension> shape;
  for (std::size_t i = 0; i < x.rank(); ++i) shape.emplace_back("d" + std::to_string(i));
  b.model.node("Identity", {result}, {"y"}).output("y", f32, shape);
  const auto bytes = b.model.bytes();
  const auto plain = session::load(bytes, {.optimize = false});
  const auto fast = session::load(bytes);
  const auto expected = plain.run({{"x", x}});
  const auto actual = fast.run({{"x", x}});
  const auto e = expected.at("y").data<float>();
  const auto a = actual.at("y").data<float>();
  EXPECT_EQ(expected.at("y").shape(), actual.at("y").shape());
  std::size_t off = 0;
  for (std::size_t i = 0; i < std::min(e.size(), a.size()); ++i) {
    EXPECT_NEAR(a[i], e[i], step * 1.001F) << "element " << i;
    if (::testing::Test::HasFailure()) break;
    off += std::abs(a[i] - e[i]) > step / 2 ? 1U : 0U;
  }
  EXPECT_LE(static_cast<double>(off), seldom * static_cast<double>(e.size()));
  return fast.dump_graph();
}

bool has(const std::string& graph, const std::string& what) {
  return graph.find(what) != std::string::npos;
}

TEST(quantised, convolutions_with_bounds) {
  for (const bool is_signed : {false, true}) {
    for (const char* bound : {"", "Relu", "Clip"}) {
      quantised_builder b(is_signed);
      b.model.input("x", f32, {"n", 3, 17, 15});
      std::string v = b.bytes("x", 0.01F, 120);
      std::string bias;
      std::string w = b.weights({16, 3, 3, 3}, 0, &bias, 0.01F);
      v = b.op("Conv", {v, w, bias}, {{"strides", {2, 2}}, {"pads", {1, 1, 1, 1}}});
      if (*bound != 0) {
        b.model.initializer("low", number(-0.5F)).initializer("high", number(2.0F));
        v = *bound == 'R' ? b.op("Relu", {v}) : b.op("Clip", {v, "low", "high"});
      }
      v = b.bytes(v, 0.02F, 100);
      w = b.weights({16, 1, 3, 3}, 0, &bias, 0.02F);
      v = b.bytes(b.op("Conv", {v, w, bias}, {{"group", 16}, {"pads", {1, 1, 1, 1}}}), 0.03F, 90);
      w = b.weights({20, 16, 1, 1}, 0);
      v = b.bytes(b.op("Conv", {v, w}), 0.1F, 128);
      const std::string graph = same_bytes(b, v, noise({2, 3, 17, 15}), 0.1F, 0.02);
      EXPECT_TRUE(has(graph, "QLinearConv")) << graph;
      EXPECT_FALSE(has(graph, " Conv(")) << graph;
    }
  }
}

TEST(quantised, steps_from_one_value_are_a_table) {
  quantised_builder b;
  b.model.input("x", f32, {1, 8, 9, 9});
  std::string v = b.bytes("x", 0.01F, 128);
  v = b.bytes(b.op("Conv", {v, b.weights({16, 8, 1, 1}, 0)}), 0.05F, 110);
  const std::string gate = b.bytes(b.op("HardSigmoid", {v}), 1.0F / 255, 0);
  v = b.bytes(b.op("Mul", {v, gate}), 0.03F, 10);
  const std::string graph = same_bytes(b, v, noise({1, 8, 9, 9}), 0.03F);
  EXPECT_FALSE(has(graph, "HardSigmoid")) << graph;
  EXPECT_FALSE(has(graph, "ByteTable")) << graph;  // it is the convolution's
}

TEST(quantised, sums_products_and_pools) {
  quantised_builder b;
  b.model.input("x", f32, {2, 3, 20, 20});
  std::string v = b.bytes("x", 0.01F, 128);
  v = b.bytes(b.op("Conv", {v, b.weights({16, 3, 7, 7}, 0)}, {{"pads", {3, 3, 3, 3}}}), 0.05F, 128);
  v = b.bytes(
      b.op("MaxPool", {v}, {{"kernel_shape", {3, 3}}, {"strides", {2, 2}}, {"pads", {1, 1, 1, 1}}}),
      0.05F, 128);
  const std::string w = b.weights({16, 16, 3, 3}, 0);
  const std::string c = b.bytes(b.op("Conv", {v, w}, {{"pads", {1, 1, 1, 1}}}), 0.1F, 120);
  v = b.bytes(b.op("Relu", {b.op("Add", {c, v})}), 0.08F, 0);
  std::string scale = b.bytes(b.op("GlobalAveragePool", {v}), 0.02F, 0);
  scale = b.bytes(b.op("Sigmoid", {b.op("Conv", {scale, b.weights({16, 16, 1, 1}, 0)})}),
                  1.0F / 255, 0);
  v = b.bytes(b.op("Mul", {v, scale}), 0.05F, 0);
  v = b.bytes(b.op("Concat", {v, v}, {{"axis", 1}}), 0.05F, 0);
  const std::string graph = same_bytes(b, v, noise({2, 3, 20, 20}), 0.05F, 0.01);
  EXPECT_TRUE(has(graph, "QLinearAdd") && has(graph, "QLinearMul")) << graph;
}

TEST(quantised, products_of_matrices) {
  for (const bool turned : {false, true}) {
    quantised_builder b;
    b.model.input("x", f32, {"n", 30});
    std::string v = b.bytes("x", 0.01F, 128);
    std::string bias;
    std::string w =
        b.weights(turned ? shape_type{37, 30} : shape_type{30, 37}, turned ? 0 : 1, &bias, 0.01F);
    v = b.bytes(b.op("Gemm", {v, w, bias}, {{"transB", turned ? 1 : 0}}), 0.03F, 100);
    v = b.bytes(b.op("MatMul", {v, b.weights({37, 5}, 1)}), 0.05F, 128);
    const std::string graph = same_bytes(b, v, noise({7, 30}), 0.05F, 0.06);
    EXPECT_TRUE(has(graph, "QLinearMatMul")) << graph;
    EXPECT_FALSE(has(graph, "Gemm")) << graph;
  }
}

// As a model that is made to take long would have it.
TEST(quantised, long_chains_and_wide_ones) {
  quantised_builder b;
  b.model.input("x", f32, {1, 4});
  std::string v = b.bytes("x", 0.01F, 128);
  std::string w = b.bytes(b.op("Abs", {v}), 0.01F, 0);
  for (int i = 0; i < 40; ++i) {
    const std::string next = b.bytes(b.op("Max", {v, w, "x"}), 0.01F, 100);
    w = b.bytes(b.op("Min", {v, w, "x"}), 0.01F, 110);
    v = next;
  }
  for (int i = 0; i < 3000; ++i) v = b.op("Abs", {v});
  v = b.bytes(b.op("Add", {v, w}), 0.02F, 100);
  same_bytes(b, v, noise({1, 4}), 0.02F);
}

// What has no form for bytes stays right.
TEST(quantised, what_is_not_recognised) {
  quantised_builder b;
  b.model.input("x", f32, {1, 6, 8, 8});
  std::string v = b.bytes("x", 0.01F, 128);
  // Three channels of each group, and floats behind.
  v = b.bytes(b.op("Conv", {v, b.weights({4, 3, 3, 3}, 0)}, {{"group", 2}}), 0.05F, 128);
  v = b.bytes(b.op("Conv", {v, b.weights({4, 4, 1, 1}, 0)}), 0.05F, 128);
  v = b.bytes(b.op("Softmax", {v}, {{"axis", 1}}), 1.0F / 255, 0);
  same_bytes(b, v, noise({1, 6, 8, 8}), 1.0F / 255, 0.05);
}

}  // namespace
}  // namespace mizzen::inference
