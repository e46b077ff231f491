// Runs whose inputs are padded up to one of few sizes.
#include "inference/runtime/shape_buckets.hpp"

#include "caught.hpp"
#include "optimised.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <string>
#include <vector>

namespace mizzen::inference {
namespace {

using test::caught;

// How many plans a session makes.
class plan_count {
 public:
  logger log() {
    return logger([this](const log_record& r) { plans += r.message == "plan made" ? 1 : 0; },
                  log_level::debug);
  }
  std::atomic<int> plans = 0;
};

// Each row for itself, and what is told of the whole batch: its size.
model_builder rows() {
  model_builder model;
  model.input("x", f32, {"batch", 6})
      .input("scale", f32, {"batch", 1})
      .initializer("w", noise({6, 4}, 2))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("Mul", {"h", "scale"}, {"m"})
      .node("Softmax", {"m"}, {"y"})
      .node("Transpose", {"m"}, {"t"})
      .output("y", f32, {"batch", 4})
      .output("t", f32, {4, "batch"});
  return model;
}

tensor_map rows_of(std::int64_t n) {
  tensor_map map;
  map.emplace("x", noise({n, 6}, 5));
  map.emplace("scale", noise({n, 1}, 6));
  return map;
}

void expect_same(const tensor_map& a, const tensor_map& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, t] : b) {
    ASSERT_EQ(a.at(name).shape(), t.shape()) << name;
    const auto x = a.at(name).data<float>();
    const auto y = t.data<float>();
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-5F) << name << i;
  }
}

TEST(shape_buckets, few_plans_and_the_same_results) {
  const auto bytes = rows().bytes();
  const auto plain = session::load(bytes);
  plan_count count;
  const auto bucketed =
      session::load(bytes, {.shape_buckets = {{"batch", {2, 4, 8}}}, .log = count.log()});
  for (const std::int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 3, 1}) {
    SCOPED_TRACE(n);
    expect_same(bucketed.run(rows_of(n)), plain.run(rows_of(n)));
  }
  EXPECT_EQ(count.plans, 3);
  for (const std::int64_t n : {0, 9, 11}) {  // as they are
    SCOPED_TRACE(n);
    expect_same(bucketed.run(rows_of(n)), plain.run(rows_of(n)));
  }
  EXPECT_EQ(count.plans, 6);
}

TEST(shape_buckets, into_tensors_of_the_caller) {
  const auto bytes = rows().bytes();
  const auto plain = session::load(bytes).run(rows_of(3));
  const auto bucketed = session::load(bytes, {.shape_buckets = {{"batch", {4}}}});
  const tensor_map in = rows_of(3);
  tensor_map out;
  out.emplace("y", tensor(f32, {3, 4}));
  const float* const memory = out.at("y").data<float>().data();
  bucketed.run_into({{"x", in.at("x")}, {"scale", in.at("scale")}},
                    {{"t", out["t"]}, {"y", out.at("y")}});
  expect_same(out, plain);
  EXPECT_EQ(out.at("y").data<float>().data(), memory);
  tensor wrong(f32, {4, 4});
  const error e = caught(
      [&] { bucketed.run_into({{"x", in.at("x")}, {"scale", in.at("scale")}}, {{"y", wrong}}); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_EQ(e.subject(), "output 'y'");
  value_map values;
  for (auto& [name, t] : rows_of(3)) values.emplace(name, t.clone());
  tensor_map made;
  for (auto& [name, v] : bucketed.run_values(values)) {
    made.emplace(name, std::get<tensor>(v).clone());
  }
  expect_same(made, plain);
}

TEST(shape_buckets, wrong_inputs_are_told_as_without) {
  const auto bucketed = session::load(rows().bytes(), {.shape_buckets = {{"batch", {4}}}});
  tensor_map in = rows_of(3);
  in.at("scale") = noise({2, 1});
  const error e = caught([&] { bucketed.run(in); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_NE(std::string(e.what()).find("'batch' is"), std::string::npos) << e.what();
  in.erase("scale");
  EXPECT_NE(std::string(caught([&] { bucketed.run(in); }).what()).find("it is missing"),
            std::string::npos);
}

TEST(shape_buckets, a_sequence_with_a_mask) {
  // Scores of a softmax over the sequence, where the mask is 0: out.
  model_builder model;
  model.input("x", f32, {"batch", "sequence", 4})
      .input("mask", element_type::int64, {"batch", "sequence"})
      .initializer("w", noise({4, 1}, 3))
      .initializer("zero", tensor::copy({std::int64_t{0}}, {}))
      .initializer("low", number(-1e9F))
      .initializer("last", ints({-1}))
      .node("MatMul", {"x", "w"}, {"s3"})
      .node("Squeeze", {"s3", "last"}, {"s"})
      .node("Equal", {"mask", "zero"}, {"out"})
      .node("Where", {"out", "low", "s"}, {"masked"})
      .node("Softmax", {"masked"}, {"y"})
      .output("y", f32, {"batch", "sequence"});
  const auto bytes = model.bytes();
  const auto plain = session::load(bytes);
  plan_count count;
  const auto bucketed = session::load(
      bytes, {.shape_buckets = {{"batch", {1, 4}}, {"sequence", {8, 16}}}, .log = count.log()});
  for (const auto& [n, length] :
       {std::pair<std::int64_t, std::int64_t>{1, 3}, {1, 8}, {3, 5}, {4, 16}, {2, 9}, {1, 11}}) {
    tensor_map in;
    in.emplace("x", noise({n, length, 4}, 4));
    tensor mask(element_type::int64, {n, length});
    std::ranges::fill(mask.data<std::int64_t>(), 1);
    mask.data<std::int64_t>()[0] = 0;
    in.emplace("mask", std::move(mask));
    expect_same(bucketed.run(in), plain.run(in));
  }
  EXPECT_EQ(count.plans, 4);
}

TEST(shape_buckets, other_types_and_staged_models) {
  // Strings, and a loop: no plan for the whole.
  model_builder model;
  model.input("text", element_type::string, {"n"})
      .input("x", element_type::boolean, {2, "n"})
      .node("Identity", {"text"}, {"same"})
      .node("Not", {"x"}, {"y"})
      .output("same", element_type::string, {"n"})
      .output("y", element_type::boolean, {2, "n"});
  const auto bucketed = session::load(model.bytes(), {.shape_buckets = {{"n", {4}}}});
  tensor_map in;
  in.emplace("text", tensor::copy(std::vector<std::string>{"a", "b", "c"}, {3}));
  in.emplace("x", tensor::copy({true, false, true, false, false, true}, {2, 3}));
  const auto out = bucketed.run(in);
  const auto text = out.at("same").data<std::string>();
  EXPECT_EQ(std::vector<std::string>(text.begin(), text.end()),
            (std::vector<std::string>{"a", "b", "c"}));
  const auto y = out.at("y").data<bool>();
  EXPECT_EQ(std::vector<bool>(y.begin(), y.end()),
            (std::vector<bool>{false, true, false, true, true, false}));
}

TEST(shape_buckets, what_load_refuses) {
  const auto bytes = rows().bytes();
  const auto refused = [&](decltype(session_options::shape_buckets) buckets,
                           const std::string& subject, const std::string& why) {
    const error e = caught([&] { session::load(bytes, {.shape_buckets = std::move(buckets)}); });
    EXPECT_EQ(e.code(), errc::invalid_argument);
    EXPECT_EQ(e.subject(), subject);
    EXPECT_NE(e.message().find(why), std::string::npos) << e.message();
  };
  const std::string batch = "session_options.shape_buckets['batch']";
  refused({{"bacth", {1}}}, "session_options.shape_buckets['bacth']", "they have 'batch'");
  refused({{"batch", {}}}, batch, "no sizes");
  refused({{"batch", {0, 1}}}, batch, "0 is not positive");
  refused({{"batch", {4, 2}}}, batch, "2 follows 4");
  refused({{"batch", {4, 4}}}, batch, "4 follows 4");
}

TEST(shape_buckets, outputs_that_cannot_be_cut) {
  model_builder model;
  model.input("x", f32, {"n"})
      .node("Concat", {"x", "x"}, {"y"}, {{"axis", 0}})
      .output("y", f32, {"twice"});
  const error e = caught([&] { session::load(model.bytes(), {.shape_buckets = {{"n", {4}}}}); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_EQ(e.subject(), "output 'y'");
  EXPECT_NE(e.message().find("dimension 0"), std::string::npos) << e.message();
  // Another name for what inference finds to be the input's: no matter.
  model_builder other;
  other.input("x", f32, {"n"}).node("Relu", {"x"}, {"y"}).output("y", f32, {"m"});
  const auto bucketed = session::load(other.bytes(), {.shape_buckets = {{"n", {4}}}});
  const tensor x = noise({3});
  EXPECT_EQ(bucketed.run({{"x", x}}).at("y").shape(), (shape_type{3}));
}

TEST(shape_buckets, a_dimension_without_a_name_that_stays) {
  // The height is another one, told by no name, and not by the batch.
  model_builder model;
  model.input("x", f32, {"batch", 2, "height", 8})
      .initializer("w", noise({3, 2, 3, 3}, 2))
      .node("Conv", {"x", "w"}, {"y"}, {{"strides", {2, 2}}})
      .output("y", f32, {"batch", 3, dimension(), 3});
  const auto bytes = model.bytes();
  const auto plain = session::load(bytes);
  const auto bucketed = session::load(bytes, {.shape_buckets = {{"batch", {2, 4}}}});
  for (const std::int64_t n : {1, 3, 4}) {
    const tensor x = noise({n, 2, 5 + 2 * n, 8});
    expect_same(bucketed.run({{"x", x}}), plain.run({{"x", x}}));
  }
  const error e = caught([&] { session::load(bytes, {.shape_buckets = {{"height", {16}}}}); });
  EXPECT_EQ(e.subject(), "output 'y'");
}

TEST(shape_buckets, common_blocks_of_any_shapes) {
  for (const auto& [a, b] :
       std::vector<std::pair<shape_type, shape_type>>{{{}, {}},
                                                      {{3}, {5}},
                                                      {{5}, {3}},
                                                      {{2, 3}, {4, 3}},
                                                      {{2, 3}, {2, 5}},
                                                      {{2, 3, 4}, {3, 2, 4}},
                                                      {{2, 2, 2, 3}, {3, 2, 4, 3}},
                                                      {{0, 3}, {2, 3}}}) {
    SCOPED_TRACE(to_string(a) + to_string(b));
    tensor from(element_type::int64, a), to(element_type::int64, b);
    std::iota(from.data<std::int64_t>().begin(), from.data<std::int64_t>().end(), 1);
    detail::copy_common(from, to);
    std::int64_t expected_sum = 0;
    for (std::size_t flat = 0; flat < to.size(); ++flat) {
      std::size_t rest = flat, in = 0, stride = 1;
      bool inside = true;
      for (std::size_t d = a.size(); d-- > 0;) {
        const std::size_t at = rest % static_cast<std::size_t>(b[d]);
        rest /= static_cast<std::size_t>(b[d]);
        inside = inside && static_cast<std::int64_t>(at) < a[d];
        in += at * stride;
        stride *= static_cast<std::size_t>(a[d]);
      }
      const std::int64_t wanted = inside ? from.data<std::int64_t>()[in] : 0;
      ASSERT_EQ(to.data<std::int64_t>()[flat], wanted) << flat;
      expected_sum += wanted;
    }
    EXPECT_GE(expected_sum, 0);
  }
}

}  // namespace
}  // namespace mizzen::inference
