// Attention as decoders are exported: one product for queries, keys and values, cut by a Split;
// a causal condition; keys and values of a cache.
#include "optimised.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::inference {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t hidden = 12;
constexpr std::int64_t heads = 3;
constexpr std::int64_t depth = 4;

struct decoder {
  bool inverted = false;  // the condition says what is left out
  bool mask = false;      // added behind the condition
  bool where = true;
  float low = std::numeric_limits<float>::lowest();
};

constexpr std::int64_t longest = 16;

// Nodes from rows "q", "k" and "v" of "x" to "y".
void attend(model_builder& m, const decoder& d) {
  tensor causal(element_type::boolean, {1, 1, longest, longest});
  const auto c = causal.data<bool>();
  for (std::int64_t i = 0; i < longest; ++i) {
    for (std::int64_t j = 0; j < longest; ++j) {
      c[static_cast<std::size_t>(i * longest + j)] = (j <= i) != d.inverted;
    }
  }
  m.initializer("split", ints({0, 0, heads, depth}))
      .initializer("joined", ints({0, 0, hidden}))
      .initializer("root", tensor::scalar(2.0F))
      .initializer("low", tensor::scalar(d.low))
      .initializer("causal", causal)
      .initializer("zero", ints({0}))
      .initializer("one", ints({1}))
      .initializer("two", ints({2}))
      .initializer("three", ints({3}))
      .initializer("ones", ints({1, 2}));
  for (const char* const name : {"q", "k", "v"}) {
    const std::string n = name;
    m.node("Reshape", {n, "split"}, {n + ".split"})
        .node("Transpose", {n + ".split"}, {n + ".heads"}, {{"perm", {0, 2, 1, 3}}});
  }
  m.node("Transpose", {"k.heads"}, {"k.turned"}, {{"perm", {0, 1, 3, 2}}})
      .node("MatMul", {"q.heads", "k.turned"}, {"product"})
      .node("Div", {"product", "root"}, {"scaled"});
  std::string scores = "scaled";
  if (d.where) {
    m.node("Shape", {"x"}, {"all"})
        .node("Gather", {"all", "one"}, {"rows"})
        .node("Slice", {"causal", "zero", "rows", "two"}, {"some"})
        .node("Slice", {"some", "zero", "rows", "three"}, {"seen"})
        .node("Where",
              d.inverted ? std::vector<std::string>{"seen", "low", "scaled"}
                         : std::vector<std::string>{"seen", "scaled", "low"},
              {"chosen"});
    scores = "chosen";
  }
  if (d.mask) {
    m.node("ReduceMax", {"x"}, {"greatest"}, {{"axes", {-1}}, {"keepdims", 0}})
        .node("Unsqueeze", {"greatest", "ones"}, {"mask"})
        .node("Add", {scores, "mask"}, {"masked"});
    scores = "masked";
  }
  m.node("Softmax", {scores}, {"weights"}, {{"axis", -1}})
      .node("MatMul", {"weights", "v.heads"}, {"context"})
      .node("Transpose", {"context"}, {"turned"}, {{"perm", {0, 2, 1, 3}}})
      .node("Reshape", {"turned", "joined"}, {"y"})
      .output("y", f32, {"batch", "rows", hidden});
}

model_builder packed(const decoder& d) {
  model_builder m;
  m.input("x", f32, {"batch", "rows", hidden})
      .initializer("w", noise({hidden, 3 * hidden}, 2))
      .initializer("b", noise({3 * hidden}, 3))
      .initializer("parts", ints({hidden, hidden, hidden}))
      .node("MatMul", {"x", "w"}, {"p"})
      .node("Add", {"p", "b"}, {"rows_of_all"})
      .node("Split", {"rows_of_all", "parts"}, {"q", "k", "v"}, {{"axis", 2}});
  attend(m, d);
  return m;
}

TEST(packed_attention, every_form) {
  for (const bool where : {true, false}) {
    for (const bool mask : {true, false}) {
      for (const bool inverted : {true, false}) {
        if (!where && inverted) continue;
        const model_builder m = packed({inverted, mask, where});
        const std::string graph = optimised(m, noise({2, 5, hidden}), 3e-5F);
        EXPECT_THAT(graph, HasSubstr("mizzen.Attention")) << graph;
        EXPECT_THAT(graph, Not(HasSubstr("Split")));
        EXPECT_THAT(graph, Not(HasSubstr("Softmax")));
        EXPECT_EQ(graph.find("MatMul"), graph.rfind("MatMul")) << graph;
        optimised(m, noise({1, 16, hidden}), 3e-5F);
        optimised(m, noise({3, 1, hidden}), 3e-5F);
      }
    }
  }
}

// -10000 is not so low that nothing of the score is left.
TEST(packed_attention, numbers_that_are_not_low_enough_stay) {
  decoder d;
  d.low = -10000;
  EXPECT_THAT(optimised(packed(d), noise({2, 5, hidden}), 3e-5F), HasSubstr("Softmax"));
}

TEST(packed_attention, keys_and_values_of_a_cache) {
  for (const std::int64_t past : {0, 3}) {
    model_builder m;
    m.input("x", f32, {"batch", "rows", hidden})
        .initializer("past", noise({2, heads, past, depth}, 9))
        .initializer("w", noise({hidden, 3 * hidden}, 2))
        .initializer("parts", ints({hidden, hidden, hidden}))
        .initializer("split", ints({0, 0, heads, depth}))
        .initializer("joined", ints({0, 0, hidden}))
        .initializer("half", tensor::scalar(0.5F))
        .node("MatMul", {"x", "w"}, {"p"})
        .node("Split", {"p", "parts"}, {"q", "k", "v"}, {{"axis", -1}});
    for (const char* const name : {"q", "k", "v"}) {
      const std::string n = name;
      m.node("Reshape", {n, "split"}, {n + ".split"})
          .node("Transpose", {n + ".split"}, {n + ".heads"}, {{"perm", {0, 2, 1, 3}}});
      if (n != "q") m.node("Concat", {"past", n + ".heads"}, {n + ".kept"}, {{"axis", 2}});
    }
    m.node("Transpose", {"k.kept"}, {"k.turned"}, {{"perm", {0, 1, 3, 2}}})
        .node("MatMul", {"q.heads", "k.turned"}, {"product"})
        .node("Mul", {"product", "half"}, {"scaled"})
        .node("Softmax", {"scaled"}, {"weights"}, {{"axis", -1}})
        .node("MatMul", {"weights", "v.kept"}, {"context"})
        .node("Transpose", {"context"}, {"turned"}, {{"perm", {0, 2, 1, 3}}})
        .node("Reshape", {"turned", "joined"}, {"y"})
        .output("y", f32, {"batch", "rows", hidden})
        .output("k.kept", f32, {2, heads, "total", depth});
    for (const std::int64_t rows : {1, 4}) {
      const std::string graph = optimised(m, noise({2, rows, hidden}), 3e-5F);
      EXPECT_THAT(graph, HasSubstr("mizzen.Attention")) << graph;
    }
  }
}

// Vision transformers': [batch, rows, 3, heads, depth], of which Gathers pick queries, keys,
// values.
TEST(packed_attention, stacked) {
  constexpr std::int64_t rows = 5;
  for (const auto& [first, second] : {std::pair(-1, 5), std::pair(-1, 0), std::pair(0, -1)}) {
    model_builder m;
    m.input("x", f32, {"batch", rows, hidden})
        .initializer("w", noise({hidden, 3 * hidden}, 2))
        .initializer("apart", ints({first, second, 3, heads, depth}))
        .initializer("joined", ints({0, 0, hidden}))
        .initializer("half", tensor::scalar(0.5F))
        .node("MatMul", {"x", "w"}, {"p"})
        .node("Reshape", {"p", "apart"}, {"split"})
        .node("Transpose", {"split"}, {"stack"}, {{"perm", {2, 0, 3, 1, 4}}});
    std::int64_t at = 0;
    for (const char* const name : {"q", "k", "v"}) {
      m.initializer(std::string(name) + ".at", tensor::scalar(at++))
          .node("Gather", {"stack", std::string(name) + ".at"}, {name}, {{"axis", 0}});
    }
    m.node("Mul", {"q", "half"}, {"scaled"})
        .node("Transpose", {"k"}, {"turned"}, {{"perm", {0, 1, 3, 2}}})
        .node("MatMul", {"scaled", "turned"}, {"scores"})
        .node("Softmax", {"scores"}, {"weights"}, {{"axis", -1}})
        .node("MatMul", {"weights", "v"}, {"context"})
        .node("Transpose", {"context"}, {"back"}, {{"perm", {0, 2, 1, 3}}})
        .node("Reshape", {"back", "joined"}, {"y"})
        .output("y", f32, {"batch", rows, hidden});
    const std::string graph = optimised(m, noise({2, rows, hidden}), 3e-5F);
    EXPECT_THAT(graph, HasSubstr("mizzen.Attention"));
    EXPECT_THAT(graph, Not(HasSubstr("Gather")));
  }
}

}  // namespace
}  // namespace mizzen::inference
