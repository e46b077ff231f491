// Branches, loops, sequences and optionals: what they make, and what ends them.
#include "caught.hpp"

#include <mizzen/inference.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace mizzen::inference {
namespace {

using mizzen::test::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto f32 = element_type::float32;
constexpr auto i64 = element_type::int64;
constexpr auto boolean = element_type::boolean;

tensor floats(std::initializer_list<float> values, shape_type shape) {
  return tensor::copy<float>(values, std::move(shape));
}

// y = condition ? x + c : x * k, where k is an input that only this branch uses.
model_builder branches() {
  model_builder model;
  model.input("condition", boolean, {})
      .input("x", f32, {"n"})
      .input("k", f32, {})
      .initializer("c", floats({10}, {1}))
      .node(
          "If", {"condition"}, {"y"},
          {{"then_branch", model_builder{}.node("Add", {"x", "c"}, {"t"}).output("t", f32, {"n"})},
           {"else_branch", model_builder{}.node("Mul", {"x", "k"}, {"e"}).output("e", f32, {"n"})}},
          "choice")
      .output("y", f32, {"n"});
  return model;
}

TEST(control, takes_one_branch) {
  for (const bool optimize : {true, false}) {
    const auto s = session::load(branches().bytes(), {.optimize = optimize});
    const auto run = [&](bool condition) {
      return s.run({{"condition", tensor::scalar(condition)},
                    {"x", floats({1, 2}, {2})},
                    {"k", tensor::scalar(3.0F)}});
    };
    EXPECT_THAT(run(true).at("y").data<float>(), ElementsAre(11, 12));
    EXPECT_THAT(run(false).at("y").data<float>(), ElementsAre(3, 6));
  }
}

TEST(control, folds_a_branch_that_is_certain) {
  model_builder model;
  model.input("x", f32, {2})
      .initializer("two", tensor::scalar<std::int64_t>(2))
      .node("Size", {"x"}, {"size"})
      .node("Equal", {"size", "two"}, {"is_two"})
      .node("If", {"is_two"}, {"y"},
            {{"then_branch", model_builder{}.node("Neg", {"x"}, {"t"}).output("t", f32, {})},
             {"else_branch", model_builder{}.node("Abs", {"x"}, {"e"}).output("e", f32, {})}})
      .output("y", f32, {2});
  const auto s = session::load(model.bytes());
  EXPECT_THAT(s.dump_graph(), ::testing::Not(HasSubstr("If")));
  EXPECT_THAT(s.run({{"x", floats({1, -2}, {2})}}).at("y").data<float>(), ElementsAre(-1, 2));
}

TEST(control, refuses_branches_of_two_types) {
  model_builder model;
  model.input("c", boolean, {})
      .input("x", f32, {"n"})
      .node("If", {"c"}, {"y"},
            {{"then_branch", model_builder{}.node("Neg", {"x"}, {"t"}).output("t", f32, {})},
             {"else_branch", model_builder{}.node("Shape", {"x"}, {"e"}).output("e", i64, {})}},
            "choice")
      .output("y", f32, {"n"});
  const error e = caught([&] { session::load(model.bytes()); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_THAT(e.what(), HasSubstr("choice"));
}

// total, all = a loop that adds i * step `trips` times while the sum is below a limit.
model_builder counting_loop() {
  model_builder body;
  body.input("i", i64, {})
      .input("go_on", boolean, {})
      .input("sum", f32, {})
      .node("Cast", {"i"}, {"f"}, {{"to", 1}})
      .node("Mul", {"f", "step"}, {"add"})
      .node("Add", {"sum", "add"}, {"more"})
      .node("Less", {"more", "limit"}, {"below"})
      .node("Identity", {"more"}, {"each"})
      .output("below", boolean, {})
      .output("more", f32, {})
      .output("each", f32, {});
  model_builder model;
  model.input("trips", i64, {})
      .input("step", f32, {})
      .input("limit", f32, {})
      .initializer("start", tensor::scalar(0.0F))
      .node("Loop", {"trips", "", "start"}, {"total", "all"}, {{"body", body}}, "count")
      .output("total", f32, {})
      .output("all", f32, {"k"});
  return model;
}

TEST(control, loops_until_the_count_or_the_condition) {
  for (const bool optimize : {true, false}) {
    const auto s = session::load(counting_loop().bytes(), {.optimize = optimize});
    const auto run = [&](std::int64_t trips, float limit) {
      return s.run({{"trips", tensor::scalar(trips)},
                    {"step", tensor::scalar(2.0F)},
                    {"limit", tensor::scalar(limit)}});
    };
    EXPECT_THAT(run(4, 100).at("all").data<float>(), ElementsAre(0, 2, 6, 12));
    EXPECT_THAT(run(100, 5).at("all").data<float>(), ElementsAre(0, 2, 6));
    EXPECT_THAT(run(4, 100).at("total").data<float>(), ElementsAre(12));
    EXPECT_THAT(run(0, 100).at("all").shape(), ElementsAre(0));
    EXPECT_THAT(run(-1, 100).at("total").data<float>(), ElementsAre(0));
  }
}

TEST(control, a_loop_without_end_ends_when_cancelled) {
  const auto s = session::load(counting_loop().bytes());
  std::stop_source source;
  const std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    source.request_stop();
  });
  const auto trips = tensor::scalar(std::numeric_limits<std::int64_t>::max());
  const error e = caught([&] {
    s.run({{"trips", trips}, {"step", tensor::scalar(0.0F)}, {"limit", tensor::scalar(1.0F)}},
          {.cancel = {source.get_token(), deadline::never()}});
  });
  EXPECT_EQ(e.code(), errc::cancelled);
}

TEST(control, a_loop_without_end_ends_at_the_memory_limit) {
  const auto s = session::load(counting_loop().bytes(), {.memory_limit = 1 << 16});
  const auto trips = tensor::scalar(std::numeric_limits<std::int64_t>::max());
  const error e = caught([&] {
    s.run({{"trips", trips}, {"step", tensor::scalar(0.0F)}, {"limit", tensor::scalar(1.0F)}});
  });
  EXPECT_EQ(e.code(), errc::resource_exhausted);
}

// Each iteration appends x to what it carries: the shape grows.
TEST(control, carries_values_that_grow) {
  model_builder body;
  body.input("i", i64, {})
      .input("c", boolean, {})
      .input("so_far", f32, {"m"})
      .node("Concat", {"so_far", "x"}, {"longer"}, {{"axis", 0}})
      .output("c", boolean, {})
      .output("longer", f32, {"m2"});
  model_builder model;
  model.input("x", f32, {"n"})
      .initializer("trips", tensor::scalar<std::int64_t>(3))
      .node("Loop", {"trips", "", "x"}, {"y"}, {{"body", body}})
      .output("y", f32, {"k"});
  const auto s = session::load(model.bytes(), {.cached_plans = 2});
  EXPECT_THAT(s.run({{"x", floats({1, 2}, {2})}}).at("y").data<float>(),
              ElementsAre(1, 2, 1, 2, 1, 2, 1, 2));
}

// A loop in a loop in a branch, all of which use values of the outermost graph.
TEST(control, nests) {
  model_builder inner;
  inner.input("j", i64, {})
      .input("c2", boolean, {})
      .input("b", f32, {})
      .node("Add", {"b", "x"}, {"b2"})
      .output("c2", boolean, {})
      .output("b2", f32, {});
  model_builder outer;
  outer.input("i", i64, {})
      .input("c1", boolean, {})
      .input("a", f32, {})
      .node("Add", {"i", "one"}, {"trips2"})
      .node("Loop", {"trips2", "", "a"}, {"a2"}, {{"body", inner}})
      .output("c1", boolean, {})
      .output("a2", f32, {});
  model_builder model;
  model.input("x", f32, {})
      .input("deep", boolean, {})
      .initializer("one", tensor::scalar<std::int64_t>(1))
      .initializer("three", tensor::scalar<std::int64_t>(3))
      .initializer("zero", tensor::scalar(0.0F))
      .node("If", {"deep"}, {"y"},
            {{"then_branch", model_builder{}
                                 .node("Loop", {"three", "", "zero"}, {"t"}, {{"body", outer}})
                                 .output("t", f32, {})},
             {"else_branch", model_builder{}.output("x", f32, {})}})
      .output("y", f32, {});
  for (const bool optimize : {true, false}) {
    const auto s = session::load(model.bytes(), {.optimize = optimize});
    const auto run = [&](bool deep) {
      return s.run({{"x", tensor::scalar(2.0F)}, {"deep", tensor::scalar(deep)}}).at("y").clone();
    };
    EXPECT_THAT(run(true).data<float>(), ElementsAre(12));
    EXPECT_THAT(run(false).data<float>(), ElementsAre(2));
  }
}

TEST(control, refuses_bodies_that_do_not_fit) {
  model_builder model;
  model.input("x", f32, {})
      .input("trips", i64, {})
      .node("Loop", {"trips", "", "x"}, {"y"},
            {{"body", model_builder{}.input("i", i64, {}).output("i", i64, {})}}, "wrong")
      .output("y", f32, {});
  const error e = caught([&] { session::load(model.bytes()); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_THAT(e.subject(), HasSubstr("wrong"));
}

TEST(control, refuses_bodies_nested_too_deeply) {
  model_builder body;
  body.node("Identity", {"x"}, {"v"}).output("v", f32, {});
  for (int i = 0; i < 12; ++i) {
    model_builder around;
    around.node("If", {"c"}, {"v"}, {{"then_branch", body}, {"else_branch", body}})
        .output("v", f32, {});
    body = std::move(around);
  }
  model_builder model;
  model.input("x", f32, {}).input("c", boolean, {});
  model.node("If", {"c"}, {"y"}, {{"then_branch", body}, {"else_branch", body}})
      .output("y", f32, {});
  EXPECT_EQ(caught([&] { session::load(model.bytes()); }).code(), errc::resource_exhausted);
}

TEST(sequences, go_in_and_out) {
  model_builder model;
  model.input("list", f32, {}, value_kind::sequence)
      .input("x", f32, {"n"})
      .initializer("first", tensor::scalar<std::int64_t>(0))
      .node("SequenceInsert", {"list", "x", "first"}, {"longer"})
      .node("SequenceLength", {"longer"}, {"length"})
      .node("ConcatFromSequence", {"longer"}, {"all"}, {{"axis", 0}})
      .node("SequenceErase", {"longer"}, {"shorter"})
      .output("shorter", f32, {}, value_kind::sequence)
      .output("length", i64, {})
      .output("all", f32, {"k"});
  const auto s = session::load(model.bytes());
  EXPECT_EQ(to_string(s.inputs()[0]), "sequence(float32[])");
  value_map inputs;
  tensor_sequence list;
  list.push_back(floats({3, 4, 5}, {3}));
  list.push_back(floats({6}, {1}));
  inputs.emplace("list", std::move(list));
  inputs.emplace("x", floats({1, 2}, {2}));
  const auto out = s.run_values(inputs);
  const auto& shorter = std::get<tensor_sequence>(out.at("shorter"));
  ASSERT_EQ(shorter.size(), 2U);
  EXPECT_THAT(shorter[0].data<float>(), ElementsAre(1, 2));
  EXPECT_THAT(std::get<tensor>(out.at("length")).data<std::int64_t>(), ElementsAre(3));
  EXPECT_THAT(std::get<tensor>(out.at("all")).data<float>(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(caught([&] { s.run({{"x", floats({1, 2}, {2})}}); }).code(), errc::failed_precondition);
  inputs["list"] = floats({1}, {1});
  EXPECT_EQ(caught([&] { s.run_values(inputs); }).subject(), "input 'list'");
}

TEST(sequences, check_positions) {
  model_builder model;
  model.input("x", f32, {"n"})
      .input("where", i64, {})
      .node("SequenceConstruct", {"x", "x"}, {"list"})
      .node("SequenceAt", {"list", "where"}, {"y"}, {}, "pick")
      .output("y", f32, {"n"});
  const auto s = session::load(model.bytes());
  const auto run = [&](std::int64_t where) {
    return s.run({{"x", floats({1, 2}, {2})}, {"where", tensor::scalar(where)}});
  };
  EXPECT_THAT(run(-2).at("y").data<float>(), ElementsAre(1, 2));
  for (const std::int64_t wrong :
       {std::int64_t{2}, std::int64_t{-3}, std::numeric_limits<std::int64_t>::min()}) {
    const error e = caught([&] { run(wrong); });
    EXPECT_EQ(e.code(), errc::invalid_argument);
    EXPECT_THAT(e.subject(), HasSubstr("pick"));
  }
}

TEST(sequences, are_refused_where_tensors_are_needed) {
  model_builder model;
  model.input("list", f32, {}, value_kind::sequence)
      .node("Relu", {"list"}, {"y"}, {}, "rectify")
      .output("y", f32, {"n"});
  const error e = caught([&] { session::load(model.bytes()); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_THAT(e.subject(), HasSubstr("rectify"));
}

TEST(optionals, may_be_left_out) {
  model_builder model;
  model.input("x", f32, {"n"}, value_kind::optional_tensor)
      .node("OptionalHasElement", {"x"}, {"there"})
      .node("If", {"there"}, {"y"},
            {{"then_branch",
              model_builder{}.node("OptionalGetElement", {"x"}, {"t"}).output("t", f32, {})},
             {"else_branch",
              model_builder{}.node("ConstantOfShape", {"none"}, {"e"}).output("e", f32, {})}})
      .initializer("none", tensor::copy<std::int64_t>({0}, {1}))
      .output("y", f32, {"n"})
      .opset(18);
  const auto s = session::load(model.bytes());
  value_map inputs;
  EXPECT_TRUE(std::get<tensor>(s.run_values(inputs).at("y")).empty());
  inputs.emplace("x", floats({1, 2}, {2}));
  EXPECT_THAT(std::get<tensor>(s.run_values(inputs).at("y")).data<float>(), ElementsAre(1, 2));
  EXPECT_THAT(s.run({{"x", floats({3}, {1})}}).at("y").data<float>(), ElementsAre(3));
}

TEST(strings, are_moved_and_compared) {
  model_builder model;
  model.input("a", element_type::string, {"n"})
      .input("b", element_type::string, {"n"})
      .node("Equal", {"a", "b"}, {"same"})
      .node("Concat", {"a", "b"}, {"both"}, {{"axis", 0}})
      .node("Unique", {"both"}, {"words", "", "", "counts"})
      .node("StringConcat", {"a", "b"}, {"joined"})
      .output("same", boolean, {"n"})
      .output("words", element_type::string, {"k"})
      .output("counts", i64, {"k"})
      .output("joined", element_type::string, {"n"})
      .opset(20);
  const auto s = session::load(model.bytes());
  const auto out = s.run({{"a", tensor::copy<std::string>({"x", "z", "y"}, {3})},
                          {"b", tensor::copy<std::string>({"x", "y", "x"}, {3})}});
  EXPECT_THAT(out.at("same").data<bool>(), ElementsAre(true, false, false));
  EXPECT_THAT(out.at("words").data<std::string>(), ElementsAre("x", "y", "z"));
  EXPECT_THAT(out.at("counts").data<std::int64_t>(), ElementsAre(3, 2, 1));
  EXPECT_THAT(out.at("joined").data<std::string>(), ElementsAre("xx", "zy", "yx"));
}

// Which elements are picked only the data tells, and what follows has another shape each time.
TEST(stages, are_planned_for_what_was_picked) {
  model_builder model;
  model.input("x", f32, {"n"})
      .initializer("zero", tensor::scalar(0.0F))
      .node("Greater", {"x", "zero"}, {"keep"})
      .node("Compress", {"x", "keep"}, {"some"}, {{"axis", 0}})
      .node("Exp", {"some"}, {"e"})
      .node("Log", {"e"}, {"y"})
      .output("y", f32, {"k"});
  const auto s = session::load(model.bytes(), {.cached_plans = 2});
  const std::vector<float> values{1, -1, 2, -2, 3, 4, -5, 6};
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (std::size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (std::size_t n = 0; n <= values.size(); ++n) {
        const std::span<const float> first(values.data(), n);
        std::vector<float> expected;
        for (const float v : first) {
          if (v > 0) expected.push_back(v);
        }
        const auto out = s.run({{"x", tensor::copy(first, {static_cast<std::int64_t>(n)})}});
        const auto y = out.at("y").data<float>();
        if (y.size() != expected.size()) ++wrong;
        for (std::size_t i = 0; i < std::min(y.size(), expected.size()); ++i) {
          if (std::abs(y[i] - expected[i]) > 1e-4F) ++wrong;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(stages, check_the_data_they_pick_by) {
  model_builder model;
  model.input("x", f32, {3})
      .input("keep", boolean, {"n"})
      .node("Compress", {"x", "keep"}, {"y"}, {}, "pick")
      .output("y", f32, {"k"});
  const auto s = session::load(model.bytes());
  const auto run = [&](std::initializer_list<bool> keep) {
    return s.run({{"x", floats({1, 2, 3}, {3})},
                  {"keep", tensor::copy<bool>(keep, {static_cast<std::int64_t>(keep.size())})}});
  };
  EXPECT_THAT(run({false, true}).at("y").data<float>(), ElementsAre(2));
  EXPECT_THAT(run({}).at("y").data<float>(), ElementsAre());
  const error e = caught([&] { run({false, false, false, true}); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_THAT(e.subject(), HasSubstr("pick"));
}

}  // namespace
}  // namespace mizzen::inference
