// Networks of convolutions over channels that lie last, against the same ones without passes.
#include "optimised.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace mizzen::inference {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t transposes(const std::string& graph) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = graph.find("= Transpose(", at)) != std::string::npos; ++at)
    ++count;
  return count;
}

// A convolution of the value x to so many channels, and what the test adds behind its output "c".
model_builder behind_conv(std::int64_t channels = 18) {
  model_builder m;
  m.input("x", f32, {"n", 3, "h", "w"}).initializer("k", noise({channels, 3, 3, 3}, 9));
  m.node("Conv", {"x", "k"}, {"c"}, {{"pads", {1, 1, 1, 1}}});
  return m;
}

TEST(layout, the_first_convolution_reads_few_planes_as_they_are) {
  for (const auto& [channels, expected] : {std::pair(4, 1U), std::pair(5, 2U)}) {
    model_builder m;
    m.input("x", f32, {"n", channels, "h", "w"}).initializer("k", noise({18, channels, 3, 2}, 9));
    m.node("Conv", {"x", "k"}, {"y"}, {{"pads", {1, 0, 1, 1}}, {"strides", {1, 2}}})
        .output("y", f32, {"n", 18, "oh", "ow"});
    EXPECT_EQ(transposes(optimised(m, noise({2, channels, 6, 7}))), expected);
  }
}

TEST(layout, residual_block) {
  model_builder m = behind_conv(24);
  m.initializer("w1", noise({24, 24, 3, 3}, 2)).initializer("w2", noise({24, 24, 1, 1}, 3));
  m.initializer("per_channel", noise({24, 1, 1}, 4));
  m.node("Relu", {"c"}, {"r"})
      .node("Conv", {"r", "w1"}, {"a"}, {{"pads", {1, 1, 1, 1}}})
      .node("Add", {"a", "per_channel"}, {"b"})
      .node("Conv", {"b", "w2"}, {"d"})
      .node("Add", {"d", "r"}, {"e"})
      .node("Relu", {"e"}, {"y"})
      .output("y", f32, {"n", 24, "h", "w"});
  const std::string graph = optimised(m, noise({2, 3, 14, 13}), 1e-4F);
  EXPECT_EQ(transposes(graph), 1U) << graph;
  EXPECT_THAT(graph, HasSubstr("mizzen.channels_last.Conv+add+relu"));
}

TEST(layout, squeeze_and_excite) {
  model_builder m = behind_conv();
  m.initializer("down", noise({4, 18, 1, 1}, 2)).initializer("up", noise({18, 4, 1, 1}, 3));
  m.node("GlobalAveragePool", {"c"}, {"g"})
      .node("Conv", {"g", "down"}, {"d"})
      .node("Relu", {"d"}, {"dr"})
      .node("Conv", {"dr", "up"}, {"u"})
      .node("HardSigmoid", {"u"}, {"s"})
      .node("Mul", {"c", "s"}, {"y"})
      .output("y", f32, {"n", 18, "h", "w"});
  const std::string graph = optimised(m, noise({2, 3, 5, 6}));
  EXPECT_EQ(transposes(graph), 1U) << graph;
}

TEST(layout, pools) {
  const std::vector<std::vector<node_attribute>> windows = {
      {{"kernel_shape", {3, 3}}, {"strides", {2, 2}}, {"pads", {1, 1, 1, 1}}},
      {{"kernel_shape", {2, 3}}, {"strides", {2, 3}}, {"ceil_mode", 1}},
      {{"kernel_shape", {3, 2}}, {"auto_pad", "SAME_UPPER"}, {"strides", {2, 1}}},
  };
  for (const auto& window : windows) {
    for (const char* op : {"MaxPool", "AveragePool"}) {
      model_builder m = behind_conv();
      m.node(op, {"c"}, {"y"}, window).output("y", f32, {"n", 18, "oh", "ow"});
      const std::string graph = optimised(m, noise({2, 3, 8, 11}));
      EXPECT_THAT(graph, HasSubstr(std::string("mizzen.channels_last.") + op));
    }
  }
  model_builder counted = behind_conv();
  counted
      .node("AveragePool", {"c"}, {"y"},
            {{"kernel_shape", {3, 3}}, {"pads", {1, 1, 1, 1}}, {"count_include_pad", 1}})
      .output("y", f32, {"n", 18, "oh", "ow"});
  optimised(counted, noise({1, 3, 5, 6}));
  for (const char* op : {"GlobalMaxPool", "GlobalAveragePool"}) {
    model_builder m = behind_conv();
    m.node(op, {"c"}, {"p"}).node("Flatten", {"p"}, {"y"}).output("y", f32, {"n", 18});
    optimised(m, noise({2, 3, 5, 6}));
  }
}

TEST(layout, concat_resize_and_transposed_convolution) {
  model_builder m = behind_conv();
  tensor scales(f32, {4});
  const float wanted[] = {1, 1, 2, 3};
  std::copy(std::begin(wanted), std::end(wanted), scales.data<float>().begin());
  m.initializer("up", noise({18, 7, 2, 3}, 2)).initializer("scales", std::move(scales));
  m.node("ConvTranspose", {"c", "up"}, {"t"}, {{"strides", {2, 3}}})
      .node("Resize", {"c", "", "scales"}, {"r"},
            {{"mode", "nearest"}, {"coordinate_transformation_mode", "asymmetric"}})
      .node("Concat", {"t", "r"}, {"y"}, {{"axis", 1}})
      .output("y", f32, {"n", 25, "oh", "ow"});
  const std::string graph = optimised(m, noise({2, 3, 5, 6}));
  EXPECT_EQ(transposes(graph), 1U) << graph;
}

TEST(layout, overlapping_transposed_convolution) {
  model_builder m = behind_conv();
  m.initializer("up", noise({18, 7, 3, 4}, 2)).initializer("b", noise({7}, 3));
  m.node("ConvTranspose", {"c", "up", "b"}, {"t"},
         {{"strides", {2, 2}}, {"pads", {1, 1, 0, 1}}, {"output_padding", {1, 0}}})
      .node("LeakyRelu", {"t"}, {"y"})
      .output("y", f32, {"n", 7, "oh", "ow"});
  EXPECT_THAT(optimised(m, noise({2, 3, 5, 6})),
              HasSubstr("mizzen.channels_last.ConvTranspose+leaky_relu"));
}

TEST(layout, instance_normalization) {
  model_builder m = behind_conv();
  m.initializer("scale", noise({18}, 2)).initializer("b", noise({18}, 3));
  m.node("InstanceNormalization", {"c", "scale", "b"}, {"i"})
      .node("LeakyRelu", {"i"}, {"y"})
      .output("y", f32, {"n", 18, "h", "w"});
  EXPECT_THAT(optimised(m, noise({2, 3, 9, 7})),
              HasSubstr("mizzen.channels_last.InstanceNormalization+leaky_relu"));
}

TEST(layout, lines_and_volumes) {
  for (const std::size_t spatial : {1U, 3U}) {
    model_builder m;
    std::vector<dimension> open{"n", 3};
    shape_type k{20, 3};
    shape_type w{17, 20};
    shape_type x{2, 3};
    for (std::size_t i = 0; i < spatial; ++i) {
      open.emplace_back("d" + std::to_string(i));
      k.push_back(3);
      w.push_back(3);
      x.push_back(6 + static_cast<std::int64_t>(i));
    }
    const std::vector<std::int64_t> pads(2 * spatial, 1);
    m.input("x", f32, open).initializer("k", noise(k)).initializer("w", noise(w, 2));
    m.node("Conv", {"x", "k"}, {"c"}, {{"pads", pads}}).node("Conv", {"c", "w"}, {"y"});
    std::vector<dimension> out{"n", 17};
    for (std::size_t i = 0; i < spatial; ++i) out.emplace_back("o" + std::to_string(i));
    m.output("y", f32, out);
    // Sums of 540 products of up to 10 cancel out to less than 1.
    const std::string graph = optimised(m, noise(x), 5e-4F);
    EXPECT_EQ(transposes(graph), 1U) << graph;
  }
}

TEST(layout, a_transpose_behind_reads_the_channels_where_they_lie) {
  model_builder m = behind_conv();
  m.node("Transpose", {"c"}, {"y"}, {{"perm", {0, 2, 3, 1}}}).output("y", f32, {"n", "h", "w", 18});
  EXPECT_EQ(transposes(optimised(m, noise({2, 3, 4, 5}))), 0U);
  model_builder other = behind_conv();
  other.node("Transpose", {"c"}, {"y"}, {{"perm", {3, 1, 0, 2}}})
      .output("y", f32, {"w", 18, "n", "h"});
  EXPECT_EQ(transposes(optimised(other, noise({2, 3, 4, 5}))), 1U);
}

TEST(layout, what_cannot_follow_gets_its_channels_back) {
  model_builder m = behind_conv();
  m.initializer("line", noise({7}, 3));
  m.node("Softmax", {"c"}, {"s"}, {{"axis", 1}})
      .node("Add", {"s", "line"}, {"y"})
      .output("y", f32, {"n", 18, "h", 7})
      .output("c", f32, {"n", 18, "h", 7});
  EXPECT_THAT(optimised(m, noise({2, 3, 4, 7})), Not(HasSubstr("channels_last.Softmax")));
  // Weights that only a run knows are used as they are.
  model_builder computed;
  computed.input("x", f32, {"n", 3, "h", "w"}).initializer("k", noise({4, 3, 1, 1}));
  computed.node("ReduceMean", {"x"}, {"mean"}, {{"keepdims", 0}})
      .node("Mul", {"k", "mean"}, {"weights"})
      .node("Conv", {"x", "weights"}, {"y"})
      .output("y", f32, {"n", 4, "h", "w"});
  EXPECT_EQ(transposes(optimised(computed, noise({2, 3, 4, 5}))), 0U);
}

TEST(layout, strips) {
  for (const int stride : {1, 2}) {
    for (const bool padded : {true, false}) {
      model_builder m;
      m.input("x", f32, {"n", 6, 45, 50}).initializer("up", noise({100, 6, 1, 1}, 2));
      m.initializer("b", noise({100}, 3)).initializer("d", noise({100, 1, 3, 3}, 4));
      m.initializer("zero", number(0)).initializer("half", number(0.5F));
      m.node("Conv", {"x", "up", "b"}, {"u"})
          .node("Clip", {"u", "zero", "half"}, {"c"})
          .node("Conv", {"c", "d"}, {"w"},
                {{"group", 100},
                 {"strides", {stride, stride}},
                 {"pads", std::vector<std::int64_t>(4, padded ? 1 : 0)}})
          .node("HardSwish", {"w"}, {"y"})
          .output("y", f32, {"n", 100, "oh", "ow"});
      EXPECT_THAT(optimised(m, noise({2, 6, 45, 50})), HasSubstr("mizzen.ConvStrip+hard_swish"));
    }
  }
}

// The first convolution of a network, a depthwise one, and back to few channels with a residual.
TEST(layout, strips_of_three) {
  for (const bool even : {true, false}) {
    model_builder m;
    m.input("x", f32, {"n", 3, 61, 58}).initializer("k", noise({64, 3, 3, 3}, 2));
    m.initializer("b", noise({64}, 3)).initializer("d", noise({64, 1, 3, 3}, 4));
    m.initializer("down", noise({24, 64, 1, 1}, 5)).initializer("side", noise({24, 3, 1, 1}, 6));
    m.node("Conv", {"x", "side"}, {"s"})
        .node("Conv", {"x", "k", "b"}, {"u"},
              even ? std::vector<node_attribute>{{"pads", {1, 1, 1, 1}}}
                   : std::vector<node_attribute>{{"auto_pad", "SAME_UPPER"}})
        .node("HardSwish", {"u"}, {"c"})
        .node("Conv", {"c", "d"}, {"w"}, {{"group", 64}, {"pads", {1, 1, 1, 1}}})
        .node("LeakyRelu", {"w"}, {"v"})
        .node("Conv", {"v", "down"}, {"p"})
        .node("Add", {"p", "s"}, {"q"})
        .node("Relu", {"q"}, {"y"})
        .output("y", f32, {"n", 24, 61, 58});
    const std::string graph = optimised(m, noise({2, 3, 61, 58}));
    EXPECT_THAT(graph, HasSubstr("mizzen.ConvStrip+add+relu"));
    EXPECT_THAT(graph, Not(HasSubstr("hard_swish")));
  }
}

TEST(layout, empty_pictures) {
  model_builder m = behind_conv();
  m.node("Relu", {"c"}, {"y"}).output("y", f32, {"n", 18, "h", "w"});
  optimised(m, tensor(f32, {0, 3, 4, 5}));
}

}  // namespace
}  // namespace mizzen::inference
