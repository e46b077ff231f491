// The plain operators where the cases of the onnx package leave an edge open: inputs that do not
// fit, indices out of range, nothing at all; post-ops; every code of the small floats.
#include "caught.hpp"
#include "inference/cpu/kernels/elements.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace mizzen::inference {
namespace {

using test::caught;

// One node whose inputs come at run time, so that nothing is folded.
struct one_node {
  std::string op;
  std::vector<const tensor*> inputs = {};
  std::vector<node_attribute> attributes = {};
  element_type type = element_type::float32;
  std::int64_t opset = 22;
  std::string domain = {};

  tensor_map run() const {
    model_builder model;
    model.opset(opset);
    if (!domain.empty()) model.opset(1, domain);
    tensor_map given;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      names.push_back(inputs[i] == nullptr ? "" : "x" + std::to_string(i));
      if (inputs[i] == nullptr) continue;
      std::vector<dimension> shape(inputs[i]->shape().begin(), inputs[i]->shape().end());
      model.input(names.back(), inputs[i]->type(), std::move(shape));
      given.emplace(names.back(), inputs[i]->clone());
    }
    model.node(op, names, {"y"}, attributes, "it", domain).output("y", type, {});
    const auto bytes = model.bytes();
    return session::load(bytes, {.threads = 1}).run(given);
  }
};

tensor zeros(shape_type shape, element_type type = element_type::float32) {
  return tensor(type, std::move(shape));
}

void expect_refused(const one_node& n, std::string_view word, errc code = errc::invalid_argument) {
  SCOPED_TRACE(n.op + ": " + std::string(word));
  const error e = caught([&] { n.run(); });
  EXPECT_EQ(e.code(), code) << e.what();
  EXPECT_NE(e.subject().find("'it'"), std::string::npos) << e.what();
  EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
}

TEST(plain_ops, refuses_shapes_that_do_not_fit) {
  const tensor x = zeros({2, 3, 4});
  const tensor y = zeros({2, 3, 5});
  const tensor matrix = zeros({3, 4});
  const tensor vector = zeros({5});
  expect_refused({"Attention", {&x, &y, &y}, {{"q_num_heads", 2}, {"kv_num_heads", 2}}, {}, 23},
                 "multiple");
  expect_refused({"LSTM", {&x, &x, &x}, {{"hidden_size", 4}}}, "directions");
  expect_refused({"GRU", {&x, &matrix, &x}}, "dimensions");
  expect_refused({"Det", {&x}}, "rows and columns");
  expect_refused({"Einsum", {&x, &y}, {{"equation", "abc,abc->a"}}}, "differ");
  expect_refused({"Einsum", {&x}, {{"equation", "ab->a"}}}, "rank");
  expect_refused({"Einsum", {&x}, {{"equation", "abc->ad"}}}, "in no input");
  expect_refused({"GridSample", {&x, &y}}, "dimension");
  expect_refused({"DequantizeLinear", {&matrix, &vector}}, "scale");
  expect_refused({"GroupNormalization", {&x, &vector, &vector}, {{"num_groups", 2}}}, "divide");
  expect_refused({"LRN", {&vector}, {{"size", 3}}}, "channels");
  expect_refused({"MatMulNBits",
                  {&x, &matrix, &vector},
                  {{"K", 4}, {"N", 1}, {"block_size", 16}},
                  {},
                  22,
                  "com.microsoft"},
                 "uint8");
}

TEST(plain_ops, checks_indices_in_the_data) {
  const tensor scores = tensor::copy<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const tensor classes = tensor::copy<std::int64_t>({0, 3}, {2});
  expect_refused({"NegativeLogLikelihoodLoss", {&scores, &classes}}, "element 1",
                 errc::out_of_range);
  const tensor indices = tensor::copy<std::int64_t>({0, -3, 1}, {1, 3});
  const tensor updates = zeros({1, 3});
  expect_refused({"ScatterElements", {&scores, &indices, &updates}}, "-3", errc::out_of_range);
  const tensor tuples = tensor::copy<std::int64_t>({2, 0}, {1, 2});
  const tensor one = zeros({1});
  expect_refused({"ScatterND", {&scores, &tuples, &one}}, "outside", errc::out_of_range);
  const tensor lengths = tensor::copy<std::int64_t>({1, 1, 9}, {3});
  expect_refused({"ReverseSequence", {&scores, &lengths}}, "9", errc::out_of_range);
  const tensor image = zeros({1, 1, 2, 2});
  const tensor pooled = zeros({1, 1, 1, 1});
  const tensor beyond = tensor::copy<std::int64_t>({4}, {1, 1, 1, 1});
  expect_refused({"MaxUnpool", {&pooled, &beyond}, {{"kernel_shape", {2, 2}}}}, "indices",
                 errc::out_of_range);
  const tensor rois = zeros({1, 4});
  const tensor batch = tensor::copy<std::int64_t>({1}, {1});
  expect_refused({"RoiAlign", {&image, &rois, &batch}}, "batch_indices", errc::out_of_range);
}

TEST(plain_ops, take_nothing) {
  const tensor none = zeros({0, 3});
  EXPECT_EQ(one_node({"Hardmax", {&none}}).run().size(), 1U);
  EXPECT_EQ(one_node({"IsNaN", {&none}, {}, element_type::boolean}).run().size(), 1U);
  const tensor image = zeros({1, 2, 0, 4});
  const tensor rois = zeros({1, 4});
  const tensor batch = tensor::copy<std::int64_t>({0}, {1});
  EXPECT_EQ(one_node({"RoiAlign", {&image, &rois, &batch}}).run().size(), 1U);
  const tensor no_classes = zeros({0}, element_type::int64);
  EXPECT_EQ(one_node({"NegativeLogLikelihoodLoss", {&none, &no_classes}}).run().size(), 1U);
}

// A convolution of three dimensions has no fast kernel, and still what was fused into it counts.
TEST(plain_ops, apply_post_ops) {
  model_builder model;
  model.input("x", element_type::float32, {1, 1, 1, 1, 2})
      .initializer("w", tensor::copy<float>({2}, {1, 1, 1, 1, 1}))
      .node("Conv", {"x", "w"}, {"c"})
      .node("Relu", {"c"}, {"y"})
      .output("y", element_type::float32, {1, 1, 1, 1, 2});
  const auto bytes = model.bytes();
  tensor_map inputs;
  inputs.emplace("x", tensor::copy<float>({-3, 4}, {1, 1, 1, 1, 2}));
  const auto outputs = session::load(bytes, {.threads = 1}).run(inputs);
  EXPECT_EQ(outputs.at("y").data<float>()[0], 0.0F);
  EXPECT_EQ(outputs.at("y").data<float>()[1], 8.0F);
}

TEST(plain_ops, draw_the_same_numbers_in_every_run) {
  const tensor p = tensor::copy<float>({0.1F, 0.5F, 0.5F, 0.5F, 0.9F}, {5});
  const one_node n{"Bernoulli", {&p}, {{"seed", 3.0F}}};
  const auto first = n.run();
  const auto second = n.run();
  EXPECT_TRUE(std::ranges::equal(first.at("y").data<float>(), second.at("y").data<float>()));
}

TEST(elements, every_code_of_a_small_float_comes_back) {
  using detail::cpu::element_at;
  for (const element_type type :
       {element_type::float8_e4m3fn, element_type::float8_e4m3fnuz, element_type::float8_e5m2,
        element_type::float8_e5m2fnuz, element_type::float8_e8m0}) {
    // Code 0 of e8m0 is a subnormal float, which rounds up to the next power of two.
    for (int code = type == element_type::float8_e8m0 ? 1 : 0; code < 256; ++code) {
      const auto byte = static_cast<std::uint8_t>(code);
      const double v = element_at(&byte, type, 0);
      std::uint8_t back = 0;
      detail::cpu::write_elements(&v, 1, &back, type);
      if (std::isnan(v)) {
        EXPECT_TRUE(std::isnan(element_at(&back, type, 0)));
      } else if (!std::isinf(v)) {
        EXPECT_EQ(back, byte) << to_string(type) << " " << v;
      }
    }
  }
}

TEST(elements, saturate_and_round_to_even) {
  const auto through = [](double v, element_type type) {
    std::array<std::byte, 8> memory{};
    detail::cpu::write_elements(&v, 1, memory.data(), type);
    return detail::cpu::element_at(memory.data(), type, 0);
  };
  EXPECT_EQ(through(2.5, element_type::int8), 2);
  EXPECT_EQ(through(3.5, element_type::uint4), 4);
  EXPECT_EQ(through(1e9, element_type::int4), 7);
  EXPECT_EQ(through(-1e9, element_type::int2), -2);
  EXPECT_EQ(through(std::nan(""), element_type::int32), 0);
  EXPECT_EQ(through(1e9, element_type::float8_e4m3fn), 448);
  EXPECT_EQ(through(2.5, element_type::float4_e2m1), 2);
  EXPECT_EQ(through(1e30, element_type::int64),
            static_cast<double>(std::numeric_limits<std::int64_t>::max()));
}

}  // namespace
}  // namespace mizzen::inference
