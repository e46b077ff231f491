// What exporters write out, each form against the graph as it stands.
#include "optimised.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace mizzen::inference {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(patterns, gelu_by_tanh_in_many_forms) {
  for (int form = 0; form < 5; ++form) {
    model_builder m;
    m.input("x", f32, {"n", 4})
        .initializer("w", noise({4, 4}))
        .initializer("half", number(0.5F))
        .initializer("one", number(1))
        .initializer("three", number(3))
        .initializer("c", number(0.044715F))
        .initializer("root", number(std::sqrt(2 / 3.14159265358979F)))
        .initializer("both", number(std::sqrt(2 / 3.14159265358979F) * 0.044715F))
        .node("MatMul", {"x", "w"}, {"v"});
    if (form == 0) {  // x^3 by Pow
      m.node("Pow", {"v", "three"}, {"p"}).node("Mul", {"p", "c"}, {"cp"});
      m.node("Add", {"v", "cp"}, {"s"}).node("Mul", {"s", "root"}, {"i"});
    } else if (form == 1) {  // the constant first
      m.node("Mul", {"c", "v"}, {"a"})
          .node("Mul", {"v", "a"}, {"b"})
          .node("Mul", {"v", "b"}, {"d"});
      m.node("Add", {"v", "d"}, {"s"}).node("Mul", {"root", "s"}, {"i"});
    } else if (form == 2) {  // x (1 + c x^2)
      m.node("Mul", {"v", "v"}, {"q"}).node("Mul", {"q", "c"}, {"cq"});
      m.node("Add", {"cq", "one"}, {"u"}).node("Mul", {"u", "v"}, {"s"});
      m.node("Mul", {"s", "root"}, {"i"});
    } else {  // multiplied out
      m.node("Pow", {"v", "three"}, {"p"}).node("Mul", {"p", "both"}, {"a"});
      m.node("Mul", {"v", "root"}, {"b"}).node("Add", {"a", "b"}, {"i"});
    }
    m.node("Tanh", {"i"}, {"t"}).node("Add", {"t", "one"}, {"u1"});
    if (form % 2 == 0) m.node("Mul", {"half", "u1"}, {"h"}).node("Mul", {"v", "h"}, {"y"});
    if (form % 2 == 1) m.node("Mul", {"half", "v"}, {"h"}).node("Mul", {"h", "u1"}, {"y"});
    m.output("y", f32, {"n", 4});
    tensor x = noise({6, 4});
    for (float& v : x.data<float>()) v *= 4.0F;
    EXPECT_THAT(optimised(m, x), HasSubstr("MatMul+gelu_tanh")) << form;
  }
}

TEST(patterns, what_is_only_like_a_gelu_stays) {
  model_builder m;
  m.input("x", f32, {"n", 4})
      .initializer("half", number(0.5F))
      .initializer("one", number(1))
      .initializer("root", number(0.75F))
      .node("Mul", {"x", "root"}, {"i"})
      .node("Tanh", {"i"}, {"t"})
      .node("Add", {"t", "one"}, {"u"})
      .node("Mul", {"u", "half"}, {"h"})
      .node("Mul", {"x", "h"}, {"y"})
      .output("y", f32, {"n", 4});
  EXPECT_THAT(optimised(m, noise({3, 4})), Not(HasSubstr("Gelu")));
}

// A norm of [n, 24, 64] as TensorFlow writes it: sums, E[x^2] - E[x]^2, the shapes computed.
std::string tensorflow_norm(std::int64_t axis, bool clipped) {
  model_builder m;
  const std::int64_t size = axis == 1 ? 24 : 64;
  const shape_type parameter = axis == 1 ? shape_type{1, 24, 1} : shape_type{1, 1, 64};
  m.input("x", f32, {"n", 24, 64})
      .initializer("axes", ints({axis}))
      .initializer("part", number(1.0F / static_cast<float>(size)))
      .initializer("none", number(0))
      .initializer("eps", number(1e-6F))
      .initializer("scale", noise(parameter))
      .initializer("bias", noise(parameter, 2))
      .initializer("zero", ints({0}))
      .initializer("one", ints({1}))
      .initializer("rows", tensor::copy<std::int32_t>({axis == 1 ? 1 : 24}, {1}))
      .initializer("columns", tensor::copy<std::int32_t>({axis == 1 ? 64 : 1}, {1}));
  m.node("Shape", {"x"}, {"all"})
      .node("Cast", {"all"}, {"all32"}, {{"to", 6}})
      .node("Slice", {"all32", "zero", "one", "zero"}, {"n32"})
      .node("Concat", {"n32", "rows", "columns"}, {"kept32"}, {{"axis", 0}})
      .node("Cast", {"kept32"}, {"kept"}, {{"to", 7}});
  m.node("ReduceSum", {"x", "axes"}, {"sum"}, {{"keepdims", 0}})
      .node("Mul", {"sum", "part"}, {"mean"})
      .node("Mul", {"x", "x"}, {"square"})
      .node("ReduceSum", {"square", "axes"}, {"sums"}, {{"keepdims", 0}})
      .node("Mul", {"sums", "part"}, {"mean_square"})
      .node("Mul", {"mean", "mean"}, {"square_mean"})
      .node("Sub", {"mean_square", "square_mean"}, {clipped ? "difference" : "variance"});
  if (clipped) m.node("Max", {"none", "difference"}, {"variance"});
  m.node("Reshape", {"variance", "kept"}, {"variance3"})
      .node("Expand", {"variance3", "kept"}, {"variance4"})
      .node("Add", {"variance4", "eps"}, {"sum_eps"})
      .node("Sqrt", {"sum_eps"}, {"root"})
      .node("Reciprocal", {"root"}, {"inverse"})
      .node("Mul", {"inverse", "scale"}, {"factor"})
      .node("Reshape", {"mean", "kept"}, {"mean3"})
      .node("Sub", {"x", "mean3"}, {"centred"})
      .node("Mul", {"centred", "factor"}, {"scaled"})
      .node("Add", {"scaled", "bias"}, {"y"})
      .output("y", f32, {"n", 24, 64});
  return optimised(m, noise({3, 24, 64}), 3e-5F);
}

TEST(patterns, layer_norm_of_sums) {
  for (const bool clipped : {false, true}) {
    const std::string graph = tensorflow_norm(2, clipped);
    EXPECT_THAT(graph, HasSubstr("LayerNormalization"));
    EXPECT_EQ(node_count(graph), 1U) << graph;
  }
}

TEST(patterns, norm_over_the_middle) {
  const std::string graph = tensorflow_norm(1, true);
  EXPECT_THAT(graph, HasSubstr("InstanceNormalization"));
  EXPECT_THAT(graph, Not(HasSubstr("Reduce")));
}

TEST(patterns, layer_norm_by_reciprocals) {
  for (int form = 0; form < 3; ++form) {
    model_builder m;
    m.input("x", f32, {"a", "b", 8})
        .initializer("one", number(1))
        .initializer("power", number(-0.5F))
        .initializer("eps", number(1e-5F))
        .initializer("scale", noise({8}))
        .initializer("bias", noise({8}, 2))
        .node("ReduceMean", {"x"}, {"mean"}, {{"axes", {-1}}})
        .node("Sub", {"x", "mean"}, {"c"})
        .node("Mul", {"c", "c"}, {"q"})
        .node("ReduceMean", {"q"}, {"v"}, {{"axes", {2}}})
        .node("Add", {"eps", "v"}, {"ve"});
    if (form == 2) m.node("Pow", {"ve", "power"}, {"i"});
    if (form != 2) m.node("Sqrt", {"ve"}, {"s"});
    if (form == 0) m.node("Reciprocal", {"s"}, {"i"});
    if (form == 1) m.node("Div", {"one", "s"}, {"i"});
    m.node("Mul", {"i", "c"}, {"d"})
        .node("Mul", {"scale", "d"}, {"m"})
        .node("Add", {"bias", "m"}, {"y"})
        .output("y", f32, {"a", "b", 8});
    const std::string graph = optimised(m, noise({3, 2, 8}));
    EXPECT_EQ(node_count(graph), 1U) << graph;
  }
}

TEST(patterns, what_is_only_like_a_norm_stays) {
  // The mean of another value, and of another dimension: [8, 8] fits both.
  for (const bool other : {false, true}) {
    model_builder m;
    m.input("x", f32, {8, 8})
        .initializer("two", number(2))
        .initializer("eps", number(1e-5F))
        .initializer("scale", noise({8}))
        .initializer("bias", noise({8}, 2))
        .node("Abs", {"x"}, {"positive"})
        .node("ReduceMean", {other ? "positive" : "x"}, {"mean"}, {{"axes", {other ? -1 : 0}}})
        .node("Sub", {"x", "mean"}, {"c"})
        .node("Pow", {"c", "two"}, {"q"})
        .node("ReduceMean", {"q"}, {"v"}, {{"axes", {-1}}})
        .node("Add", {"v", "eps"}, {"ve"})
        .node("Sqrt", {"ve"}, {"s"})
        .node("Div", {"c", "s"}, {"d"})
        .node("Mul", {"d", "scale"}, {"m"})
        .node("Add", {"m", "bias"}, {"y"})
        .output("y", f32, {8, 8});
    EXPECT_THAT(optimised(m, noise({8, 8})), Not(HasSubstr("Normalization")));
  }
}

// Runs with and without the passes on integers "i".
std::string lookup(const model_builder& m, const tensor& i) {
  const auto bytes = m.bytes();
  const auto fast = session::load(bytes);
  const tensor_map expected = session::load(bytes, {.optimize = false}).run({{"i", i}});
  const tensor_map actual = fast.run({{"i", i}});
  EXPECT_EQ(actual.at("y").shape(), expected.at("y").shape());
  const auto a = actual.at("y").data<float>();
  const auto b = expected.at("y").data<float>();
  for (std::size_t k = 0; k < std::min(a.size(), b.size()); ++k)
    EXPECT_NEAR(a[k], b[k], 1e-5F) << k;
  return fast.dump_graph();
}

TEST(patterns, product_with_one_hot_rows_of_equal) {
  for (const std::int32_t first : {0, -2}) {
    for (const bool expanded : {false, true}) {
      model_builder m;
      m.input("i", element_type::int32, {"n", 3, 1})
          .initializer("numbers",
                       tensor::copy<std::int32_t>(
                           {first, first + 1, first + 2, first + 3, first + 4}, {1, 1, 5}))
          .initializer("w", noise({5, 4}))
          .initializer("b", noise({1, 1, 4}, 2))
          .initializer("zero", ints({0}))
          .initializer("three", ints({3}))
          .initializer("five", ints({5}));
      if (expanded) {
        m.node("Shape", {"i"}, {"all"})
            .node("Gather", {"all", "zero"}, {"n"})
            .node("Concat", {"n", "three", "five"}, {"wide"}, {{"axis", 0}})
            .node("Expand", {"i", "wide"}, {"x"});
      }
      m.node("Equal", {expanded ? "x" : "i", "numbers"}, {"e"})
          .node("Cast", {"e"}, {"hot"}, {{"to", 1}})
          .node("MatMul", {"hot", "w"}, {"p"})
          .node("Add", {"p", "b"}, {"q"})
          .node("Tanh", {"q"}, {"y"})
          .output("y", f32, {"n", 3, 4});
      const auto low = std::numeric_limits<std::int32_t>::min();
      const auto high = std::numeric_limits<std::int32_t>::max();
      const std::string graph = lookup(
          m, tensor::copy<std::int32_t>({low, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, high}, {4, 3, 1}));
      EXPECT_THAT(graph, HasSubstr("= Gather("));
      EXPECT_THAT(graph, Not(HasSubstr("MatMul")));
      // The table has them.
      EXPECT_THAT(graph, Not(HasSubstr("= Tanh")));
      EXPECT_THAT(graph, Not(HasSubstr("= Add")));
      EXPECT_NO_THROW(
          session::load(m.bytes()).run({{"i", tensor(element_type::int32, {0, 3, 1})}}));
    }
  }
}

TEST(patterns, product_with_one_hot_rows_of_the_operator) {
  model_builder m;
  m.input("i", element_type::int64, {"n"})
      .initializer("depth", ints({4}))
      .initializer("values", tensor::copy<float>({0, 1}, {2}))
      .initializer("w", noise({4, 3}))
      .node("OneHot", {"i", "depth", "values"}, {"hot"})
      .node("MatMul", {"hot", "w"}, {"y"})
      .output("y", f32, {"n", 3});
  const auto low = std::numeric_limits<std::int64_t>::min();
  EXPECT_THAT(lookup(m, ints({-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, low})),
              HasSubstr("= Gather("));
}

TEST(patterns, infinite_weights_are_multiplied) {
  model_builder m;
  tensor w = noise({4, 3});
  w.data<float>()[0] = std::numeric_limits<float>::infinity();
  m.input("i", element_type::int64, {"n"})
      .initializer("depth", ints({4}))
      .initializer("values", tensor::copy<float>({0, 1}, {2}))
      .initializer("w", w)
      .node("OneHot", {"i", "depth", "values"}, {"hot"})
      .node("MatMul", {"hot", "w"}, {"y"})
      .output("y", f32, {"n", 3});
  EXPECT_THAT(session::load(m.bytes()).dump_graph(), HasSubstr("MatMul"));
}

// A convolution over lines as one over pictures, the channels moved there and the line back.
TEST(patterns, lines_as_pictures) {
  model_builder m;
  m.input("x", f32, {"n", 12, 4})
      .initializer("three", ints({3}))
      .initializer("two", ints({2}))
      .initializer("starts", ints({0, 0, 0}))
      .initializer("ends", ints({std::numeric_limits<std::int64_t>::max(), 1 << 30, 1 << 30}))
      .initializer("w", noise({6, 4, 3, 1}))
      .initializer("b", noise({1, 6, 1}, 2))
      .node("Unsqueeze", {"x", "three"}, {"u"})
      .node("Transpose", {"u"}, {"t"}, {{"perm", {0, 2, 1, 3}}})
      .node("Conv", {"t", "w"}, {"c"})
      .node("Squeeze", {"c", "three"}, {"s"})
      .node("Slice", {"s", "starts", "ends"}, {"all"})
      .node("Add", {"all", "b"}, {"a"})
      .node("Relu", {"a"}, {"r"})
      .node("GlobalMaxPool", {"r"}, {"g"})
      .node("Squeeze", {"g", "two"}, {"y"})
      .output("y", f32, {"n", 6});
  const std::string graph = optimised(m, noise({3, 12, 4}));
  EXPECT_THAT(graph, HasSubstr("Conv+relu"));
  EXPECT_THAT(graph, Not(HasSubstr("Transpose")));
  EXPECT_THAT(graph, Not(HasSubstr("Slice")));
  EXPECT_NO_THROW(optimised(m, noise({0, 12, 4})));
}

TEST(patterns, a_slice_of_a_part_stays) {
  model_builder m;
  m.input("x", f32, {"n", 4})
      .initializer("starts", ints({0, 0}))
      .initializer("ends", ints({2, std::numeric_limits<std::int64_t>::max()}))
      .node("Slice", {"x", "starts", "ends"}, {"s"})
      .node("Neg", {"s"}, {"y"})
      .output("y", f32, {"m", 4});
  EXPECT_THAT(optimised(m, noise({3, 4})), HasSubstr("Slice"));
  // Backwards is not the same.
  model_builder r;
  r.input("x", f32, {3, 4})
      .initializer("starts", ints({-1}))
      .initializer("ends", ints({std::numeric_limits<std::int64_t>::min()}))
      .initializer("axes", ints({0}))
      .initializer("steps", ints({-1}))
      .node("Slice", {"x", "starts", "ends", "axes", "steps"}, {"s"})
      .node("Neg", {"s"}, {"y"})
      .output("y", f32, {3, 4});
  EXPECT_THAT(optimised(r, noise({3, 4})), HasSubstr("Slice"));
}

// A Reshape to [b, a] of [a, b] keeps what is 0 of its input: the shape is that of the input then.
TEST(patterns, computed_shapes_with_nothing) {
  model_builder m;
  m.input("x", f32, {"a", "b"})
      .initializer("swap", ints({1, 0}))
      .node("Shape", {"x"}, {"s"})
      .node("Gather", {"s", "swap"}, {"t"})
      .node("Reshape", {"x", "t"}, {"r"})
      .node("Neg", {"r"}, {"y"})
      .output("y", f32, {"c", "d"});
  optimised(m, noise({3, 4}));
  optimised(m, noise({0, 0}));
}

}  // namespace
}  // namespace mizzen::inference
