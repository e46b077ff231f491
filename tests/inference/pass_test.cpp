// Each pass: what it makes of a small graph, and that the results stay the same.
#include "optimised.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::inference {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(passes, fold_constants) {
  model_builder m;
  m.input("x", f32, {"n", 6})
      .initializer("a", noise({2, 3}))
      .initializer("shape", tensor::copy<std::int64_t>({-1}, {1}))
      .node("Transpose", {"a"}, {"t"})
      .node("Reshape", {"t", "shape"}, {"flat"})
      .node("Relu", {"flat"}, {"r"})
      .node("Add", {"x", "r"}, {"y"})
      .output("y", f32, {"n", 6});
  EXPECT_EQ(node_count(optimised(m, noise({3, 6}))), 1U);
}

TEST(passes, fold_constants_stops_at_large_results) {
  model_builder m;
  m.input("x", f32, {1})
      .initializer("shape", tensor::copy<std::int64_t>({1 << 12, 1 << 12}, {2}))
      .node("ConstantOfShape", {"shape"}, {"zeros"})
      .node("Add", {"x", "zeros"}, {"y"})
      .output("y", f32, {1 << 12, 1 << 12});
  EXPECT_THAT(session::load(m.bytes()).dump_graph(), HasSubstr("ConstantOfShape"));
  // The memory of a run is limited too.
  const auto s = session::load(m.bytes(), {.memory_limit = 1 << 20});
  EXPECT_THROW(s.run({{"x", noise({1})}}), error);
}

TEST(passes, remove_identities) {
  model_builder m;
  m.input("x", f32, {"n", 4})
      .initializer("one", number(1))
      .initializer("zero", number(0))
      .node("Identity", {"x"}, {"a"})
      .node("Dropout", {"a"}, {"b"})
      .node("Cast", {"b"}, {"c"}, {{"to", 1}})
      .node("Mul", {"c", "one"}, {"d"})
      .node("Add", {"zero", "d"}, {"e"})
      .node("Transpose", {"e"}, {"f"}, {{"perm", {0, 1}}})
      .node("Neg", {"f"}, {"y"})
      .output("y", f32, {"n", 4});
  EXPECT_EQ(node_count(optimised(m, noise({3, 4}))), 1U);
}

TEST(passes, remove_identities_keeps_what_broadcasts) {
  model_builder m;
  m.input("x", f32, {"n"})
      .initializer("ones", tensor::copy<float>({1, 1}, {2, 1}))
      .node("Mul", {"x", "ones"}, {"y"})
      .output("y", f32, {2, "n"});
  EXPECT_EQ(node_count(optimised(m, noise({3}))), 1U);
}

TEST(passes, remove_dead_code) {
  model_builder m;
  m.input("x", f32, {"n", 4})
      .initializer("k", tensor::copy<std::int64_t>({2}, {1}))
      .node("Exp", {"x"}, {"unused"})
      .node("Neg", {"unused"}, {"unused2"})
      .node("TopK", {"x", "k"}, {"y", "indices"})
      .output("y", f32, {"n", 2});
  const std::string graph = optimised(m, noise({3, 4}));
  EXPECT_EQ(node_count(graph), 1U);
  EXPECT_THAT(graph, Not(HasSubstr("indices")));
}

TEST(passes, fold_into_conv) {
  for (const bool bias : {true, false}) {
    model_builder m;
    m.input("x", f32, {"n", 2, 5, 5}).initializer("w", noise({4, 2, 3, 3}));
    m.initializer("b", noise({4})).initializer("scale", noise({4}, 3));
    m.initializer("mean", noise({4}, 4)).initializer("var", positive({4}));
    m.initializer("per_channel", noise({4, 1, 1}, 5));
    m.node("Conv",
           bias ? std::vector<std::string>{"x", "w", "b"} : std::vector<std::string>{"x", "w"},
           {"c"}, {{"pads", {1, 1, 1, 1}}})
        .node("BatchNormalization", {"c", "scale", "b", "mean", "var"}, {"n1"})
        .node("Mul", {"n1", "per_channel"}, {"n2"})
        .node("Add", {"n2", "per_channel"}, {"n3"})
        .node("Relu", {"n3"}, {"y"})
        .output("y", f32, {"n", 4, 5, 5});
    const std::string graph = optimised(m, noise({2, 2, 5, 5}));
    EXPECT_EQ(node_count(graph), 2U) << graph;  // before a Transpose
    EXPECT_THAT(graph, HasSubstr("Conv+relu"));
  }
}

TEST(passes, fold_into_conv_only_along_channels) {
  model_builder m;
  m.input("x", f32, {"n", 2, 4, 4})
      .initializer("w", noise({4, 2, 1, 1}))
      .initializer("row", noise({4}))  // the last dimension, not the channels
      .node("Conv", {"x", "w"}, {"c"})
      .node("Mul", {"c", "row"}, {"y"})
      .output("y", f32, {"n", 4, 4, 4});
  optimised(m, noise({2, 2, 4, 4}));
}

TEST(passes, fuse_bias_residual_and_activation) {
  model_builder m;
  m.input("x", f32, {"n", 8})
      .initializer("w", noise({8, 8}))
      .initializer("b", noise({8}))
      .initializer("six", number(6))
      .initializer("zero", number(0))
      .node("MatMul", {"x", "w"}, {"m"})
      .node("Add", {"b", "m"}, {"biased"})
      .node("Add", {"biased", "x"}, {"residual"})
      .node("Clip", {"residual", "zero", "six"}, {"y"})
      .output("y", f32, {"n", 8});
  const std::string graph = optimised(m, noise({3, 8}));
  EXPECT_EQ(node_count(graph), 1U) << graph;
  EXPECT_THAT(graph, HasSubstr("MatMul+add+add+clip"));
}

TEST(passes, fuse_residual_of_rows_of_unknown_number) {
  // The rows of Slice are known in a run only, but both operands of the Add come from them.
  model_builder m;
  m.input("x", f32, {"n", 8})
      .initializer("starts", tensor::copy<std::int64_t>({1}, {1}))
      .initializer("ends", tensor::copy<std::int64_t>({1000}, {1}))
      .initializer("scale", noise({8}, 3))
      .initializer("w", noise({8, 8}))
      .initializer("b", noise({8}, 2))
      .node("Slice", {"x", "starts", "ends"}, {"s"})
      .node("LayerNormalization", {"s", "scale"}, {"l"})
      .node("MatMul", {"l", "w"}, {"p"})
      .node("Add", {"p", "b"}, {"biased"})
      .node("Add", {"biased", "l"}, {"r"})
      .node("Add", {"r", "s"}, {"y"})
      .output("y", f32, {"m", 8});
  const std::string graph = optimised(m, noise({5, 8}));
  EXPECT_THAT(graph, HasSubstr("MatMul+add+add+add"));
}

TEST(passes, fuse_waits_for_operands_made_later) {
  // The operand of the Add is computed after the MatMul it is fused with.
  model_builder m;
  m.input("x", f32, {4, 4})
      .initializer("w", noise({4, 4}))
      .node("MatMul", {"x", "w"}, {"m"})
      .node("Softmax", {"x"}, {"s"})
      .node("Add", {"m", "s"}, {"a"})
      .node("Softmax", {"a"}, {"y"})
      .output("y", f32, {4, 4});
  EXPECT_EQ(node_count(optimised(m, noise({4, 4}))), 3U);
}

TEST(passes, fuse_leaves_what_is_used_elsewhere) {
  model_builder m;
  m.input("x", f32, {"n", 4})
      .initializer("w", noise({4, 4}))
      .node("MatMul", {"x", "w"}, {"m"})
      .node("Relu", {"m"}, {"r"})
      .node("Concat", {"m", "r"}, {"y"}, {{"axis", 1}})
      .output("y", f32, {"n", 8});
  EXPECT_EQ(node_count(optimised(m, noise({3, 4}))), 3U);
}

TEST(passes, recognise_gelu_in_each_order) {
  for (int order = 0; order < 3; ++order) {
    model_builder m;
    m.input("x", f32, {"n", 4})
        .initializer("w", noise({4, 4}))
        .initializer("root", number(std::sqrt(2.0F)))
        .initializer("half", number(0.5F))
        .initializer("one", number(1))
        .node("MatMul", {"x", "w"}, {"v"})
        .node("Div", {"v", "root"}, {"d"})
        .node("Erf", {"d"}, {"e"})
        .node("Add", {"e", "one"}, {"t"});
    if (order == 0) m.node("Mul", {"v", "t"}, {"p"}).node("Mul", {"p", "half"}, {"y"});
    if (order == 1) m.node("Mul", {"v", "half"}, {"p"}).node("Mul", {"p", "t"}, {"y"});
    if (order == 2) m.node("Mul", {"half", "t"}, {"p"}).node("Mul", {"v", "p"}, {"y"});
    m.output("y", f32, {"n", 4});
    EXPECT_THAT(optimised(m, noise({3, 4})), HasSubstr("MatMul+gelu_erf")) << order;
  }
}

TEST(passes, recognise_hard_swish) {
  for (int form = 0; form < 2; ++form) {
    model_builder m;
    m.input("x", f32, {"n", 3, 4, 4})
        .initializer("w", noise({3, 3, 1, 1}))
        .initializer("three", number(3))
        .initializer("six", number(6))
        .initializer("zero", number(0))
        .node("Conv", {"x", "w"}, {"v"});
    if (form == 0) {
      m.node("Add", {"v", "three"}, {"a"})
          .node("Clip", {"a", "zero", "six"}, {"c"})
          .node("Mul", {"v", "c"}, {"p"})
          .node("Div", {"p", "six"}, {"y"});
    } else {
      m.node("HardSigmoid", {"v"}, {"h"}, {{"alpha", 1.0F / 6.0F}, {"beta", 0.5F}})
          .node("Mul", {"v", "h"}, {"y"});
    }
    m.output("y", f32, {"n", 3, 4, 4});
    tensor x = noise({2, 3, 4, 4});
    for (float& v : x.data<float>()) v *= 6.0F;
    EXPECT_THAT(optimised(m, x), HasSubstr("Conv+hard_swish")) << form;
  }
}

TEST(passes, recognise_layer_norm) {
  model_builder m;
  m.input("x", f32, {"n", 8})
      .initializer("two", number(2))
      .initializer("eps", number(1e-5F))
      .initializer("scale", noise({8}))
      .initializer("bias", noise({8}, 2))
      .node("ReduceMean", {"x"}, {"mean"}, {{"axes", {-1}}})
      .node("Sub", {"x", "mean"}, {"c"})
      .node("Pow", {"c", "two"}, {"q"})
      .node("ReduceMean", {"q"}, {"v"}, {{"axes", {-1}}})
      .node("Add", {"v", "eps"}, {"ve"})
      .node("Sqrt", {"ve"}, {"s"})
      .node("Div", {"c", "s"}, {"d"})
      .node("Mul", {"d", "scale"}, {"m"})
      .node("Add", {"m", "bias"}, {"y"})
      .output("y", f32, {"n", 8});
  const std::string graph = optimised(m, noise({3, 8}));
  EXPECT_EQ(node_count(graph), 1U) << graph;
  EXPECT_THAT(graph, HasSubstr("LayerNormalization"));
}

}  // namespace
}  // namespace mizzen::inference
