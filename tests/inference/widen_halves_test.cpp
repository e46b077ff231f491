// Models in half-width floats: what is computed in floats, and what stays rounded.
#include "inference/cpu/kernels/elements.hpp"
#include "inference/cpu/kernels/half_table.hpp"
#include "optimised.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mizzen::inference {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto f16 = element_type::float16;
constexpr auto bf16 = element_type::bfloat16;

std::int64_t number_of(element_type type) { return static_cast<std::int64_t>(type); }

tensor to_halves(const tensor& floats, element_type type = f16) {
  tensor halves(type, floats.shape());
  detail::cpu::write_elements(
      std::vector<double>(floats.data<float>().begin(), floats.data<float>().end()).data(),
      floats.size(), halves.mutable_bytes().data(), type);
  return halves;
}

std::vector<double> values(const tensor& t) {
  std::vector<double> v(t.size());
  detail::cpu::read_elements(t.bytes().data(), t.type(), 0, v.size(), v.data());
  return v;
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

// Runs the model on an input "x" as it is and with the passes, expects outputs of the same types
// and nearly the same values, and returns the graph that the passes left.
std::string widened(const model_builder& model, const tensor& x, double tolerance) {
  const auto plain = session::load(model.bytes(), {.optimize = false});
  const auto fast = session::load(model.bytes());
  const auto expected = plain.run({{"x", x}});
  const auto actual = fast.run({{"x", x}});
  for (const auto& [name, want] : expected) {
    EXPECT_EQ(actual.at(name).type(), want.type()) << name;
    EXPECT_EQ(actual.at(name).shape(), want.shape()) << name;
    const auto a = values(actual.at(name));
    const auto b = values(want);
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0, std::abs(b[i]))) << name << " at " << i;
      if (::testing::Test::HasFailure()) break;
    }
  }
  return fast.dump_graph();
}

TEST(widen_halves, casts_stand_at_the_edges_alone) {
  for (const element_type type : {f16, bf16}) {
    model_builder m;
    m.input("x", type, {"n", 8})
        .initializer("w", to_halves(noise({8, 8}), type))
        .initializer("b", to_halves(noise({8}, 2), type))
        .node("MatMul", {"x", "w"}, {"m"})
        .node("Add", {"m", "b"}, {"a"})
        .node("Relu", {"a"}, {"r"})
        .node("Transpose", {"r"}, {"t"})
        .node("MatMul", {"w", "t"}, {"y"})
        .output("y", type, {8, "n"})
        .output("r", type, {"n", 8});
    const std::string graph =
        widened(m, to_halves(noise({3, 8}, 5), type), type == f16 ? 3e-3 : 3e-2);
    EXPECT_EQ(count(graph, "Cast"), 3U) << graph;
    EXPECT_THAT(graph, HasSubstr("+add+relu"));
  }
}

// The product of the rounded operands, summed wider.
TEST(widen_halves, products_of_bfloat16) {
  const tensor w = to_halves(noise({70, 33}), bf16);
  const tensor x = to_halves(noise({5, 70}, 3), bf16);
  model_builder m;
  m.input("x", bf16, {"n", 70})
      .initializer("w", w.clone())
      .node("MatMul", {"x", "w"}, {"p"})
      .node("Cast", {"p"}, {"y"}, {{"to", number_of(f32)}})
      .output("y", f32, {"n", 33});
  const auto s = session::load(m.bytes());
  if (detail::cpu::best_halves().multiply != nullptr) {
    EXPECT_THAT(s.dump_graph(), HasSubstr("MatMul[bfloat16]"));
  }
  const auto out = s.run({{"x", x}});
  const auto y = out.at("y").data<float>();
  const auto a = values(x);
  const auto b = values(w);
  for (std::size_t r = 0; r < 5; ++r) {
    for (std::size_t n = 0; n < 33; ++n) {
      double sum = 0;
      for (std::size_t k = 0; k < 70; ++k) sum += a[r * 70 + k] * b[k * 33 + n];
      ASSERT_NEAR(y[r * 33 + n], sum, 1e-5);
    }
  }
}

TEST(lower_precision, only_when_asked_for) {
  model_builder m;
  m.input("x", f32, {"n", 64})
      .initializer("w", noise({64, 48}))
      .initializer("b", noise({48}, 2))
      .initializer("w2", noise({16, 48}, 3))
      .node("MatMul", {"x", "w"}, {"p"})
      .node("Add", {"p", "b"}, {"a"})
      .node("Gelu", {"a"}, {"g"})
      .node("Gemm", {"g", "w2"}, {"y"}, {{"transB", 1}})
      .output("y", f32, {"n", 16});
  const tensor x = noise({9, 64}, 5);
  const auto exact = session::load(m.bytes());
  EXPECT_THAT(exact.dump_graph(), Not(HasSubstr("bfloat16")));
  const auto lower = session::load(m.bytes(), {.inference_precision = bf16});
  if (detail::cpu::best_halves().multiply != nullptr) {
    EXPECT_EQ(count(lower.dump_graph(), "[bfloat16]"), 2U) << lower.dump_graph();
  }
  const auto want = exact.run({{"x", x}});
  const auto got = lower.run({{"x", x}});
  double largest = 0;
  double off = 0;
  for (std::size_t i = 0; i < want.at("y").size(); ++i) {
    const double w = values(want.at("y"))[i];
    largest = std::max(largest, std::abs(w));
    off = std::max(off, std::abs(values(got.at("y"))[i] - w));
  }
  EXPECT_LT(off, 0.02 * largest);
  EXPECT_THROW(session::load(m.bytes(), {.inference_precision = f16}), error);
}

TEST(widen_halves, sums_are_not_rounded_between) {
  // 2048 + 1 is no float16: as halves the ones get lost.
  model_builder m;
  m.input("x", f16, {1})
      .initializer("one", to_halves(number(1)))
      .initializer("less", to_halves(number(-2048)))
      .node("Add", {"x", "one"}, {"a"})
      .node("Add", {"a", "one"}, {"b"})
      .node("Add", {"b", "less"}, {"y"})
      .output("y", f16, {1});
  const auto out =
      session::load(m.bytes()).run({{"x", to_halves(tensor::copy<float>({2048}, {1}))}});
  EXPECT_EQ(values(out.at("y"))[0], 2.0);
}

TEST(widen_halves, a_cast_of_the_model_rounds) {
  model_builder m;
  m.input("x", f32, {1})
      .initializer("less", to_halves(number(-2048)))
      .node("Cast", {"x"}, {"half"}, {{"to", number_of(f16)}})
      .node("Add", {"half", "less"}, {"difference"})
      .node("Cast", {"difference"}, {"y"}, {{"to", number_of(f32)}})
      .output("y", f32, {1});
  const std::string graph = widened(m, tensor::copy<float>({2049.0F}, {1}), 0);
  // There and back again; behind the sum nothing is left to do.
  EXPECT_EQ(count(graph, "Cast"), 2U) << graph;
}

TEST(widen_halves, what_the_last_bit_decides_sees_halves) {
  // 1 + 2^-11 rounds to 1.
  model_builder m;
  m.input("x", f16, {2})
      .initializer("one", to_halves(number(1)))
      .node("Add", {"x", "one"}, {"sum"})
      .node("Equal", {"sum", "one"}, {"equal"})
      .node("ArgMax", {"sum"}, {"first"}, {{"axis", 0}})
      .node("Ceil", {"sum"}, {"ceil"})
      .node("Cast", {"sum"}, {"whole"}, {{"to", number_of(element_type::int32)}})
      .output("equal", element_type::boolean, {2})
      .output("first", element_type::int64, {1})
      .output("ceil", f16, {2})
      .output("whole", element_type::int32, {2});
  const tensor x = to_halves(tensor::copy<float>({0.0F, 0x1p-11F}, {2}));
  widened(m, x, 0);
  const auto out = session::load(m.bytes()).run({{"x", x}});
  EXPECT_TRUE(out.at("equal").data<bool>()[1]);
  EXPECT_EQ(out.at("first").data<std::int64_t>()[0], 0);
  EXPECT_EQ(values(out.at("ceil"))[1], 1.0);
}

TEST(widen_halves, moves_alone_stay_as_they_are) {
  model_builder m;
  m.input("x", f16, {"n", 4})
      .node("Transpose", {"x"}, {"t"})
      .node("Concat", {"t", "t"}, {"y"}, {{"axis", 0}})
      .output("y", f16, {8, "n"});
  EXPECT_THAT(widened(m, to_halves(noise({3, 4})), 0), Not(HasSubstr("Cast")));
}

TEST(widen_halves, a_table_stays_narrow) {
  model_builder m;
  m.input("x", element_type::int64, {"n"})
      .initializer("table", to_halves(noise({100, 8})))
      .initializer("w", to_halves(noise({8, 8}, 3)))
      .node("Gather", {"table", "x"}, {"rows"})
      .node("MatMul", {"rows", "w"}, {"y"})
      .output("y", f16, {"n", 8});
  const std::string graph = widened(m, tensor::copy<std::int64_t>({3, 99, 0}, {3}), 3e-3);
  EXPECT_THAT(graph, HasSubstr("float16[100,8]"));
}

TEST(widen_halves, bodies_of_loops_too) {
  model_builder body;
  body.input("i", element_type::int64, {})
      .input("go_on", element_type::boolean, {})
      .input("state", f16, {4})
      .initializer("w", to_halves(noise({4, 4})))
      .node("MatMul", {"state", "w"}, {"p"})
      .node("Tanh", {"p"}, {"next"})
      .node("Identity", {"go_on"}, {"still"})
      .output("still", element_type::boolean, {})
      .output("next", f16, {4});
  model_builder m;
  m.input("x", f16, {4})
      .initializer("times", tensor::scalar(std::int64_t{5}))
      .node("Loop", {"times", "", "x"}, {"y"}, {{"body", body}})
      .output("y", f16, {4});
  widened(m, to_halves(noise({4})), 5e-3);
}

TEST(widen_halves, convolutions_and_shapes) {
  model_builder m;
  m.input("x", f16, {"n", 3, 8, 8})
      .initializer("w", to_halves(noise({4, 3, 3, 3})))
      .initializer("scale", to_halves(positive({4})))
      .initializer("bias", to_halves(noise({4}, 3)))
      .initializer("all", tensor::copy<std::int64_t>({-1}, {1}))
      .node("Conv", {"x", "w"}, {"c"}, {{"pads", {1, 1, 1, 1}}})
      .node("BatchNormalization", {"c", "scale", "bias", "bias", "scale"}, {"b"})
      .node("Relu", {"b"}, {"r"})
      .node("Shape", {"r"}, {"shape"})
      .node("MaxPool", {"r"}, {"p"}, {{"kernel_shape", {2, 2}}, {"strides", {2, 2}}})
      .node("Reshape", {"p", "all"}, {"y"})
      .output("y", f16, {"m"})
      .output("shape", element_type::int64, {4});
  const std::string graph = widened(m, to_halves(noise({2, 3, 8, 8})), 5e-3);
  EXPECT_THAT(graph, HasSubstr("Conv+relu"));
  EXPECT_EQ(count(graph, "Cast"), 2U) << graph;
}

}  // namespace
}  // namespace mizzen::inference
