// Operators of the application: where they run, what they are told, and which mistakes have which
// words.
#include "caught.hpp"

#include <mizzen/inference.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace mizzen::inference {
namespace {

using mizzen::test::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* domain = "com.example";

tensor floats(std::vector<float> values, shape_type shape) {
  return tensor::copy(values, std::move(shape));
}

// min(x, most), of any shape.
custom_operator clamp() {
  return {.domain = domain, .name = "Clamp", .compute = [](custom_run& run) {
            const float most = run.get_float("most", 1.0F);
            std::ranges::transform(run.input(0).data<float>(), run.output(0).data<float>().begin(),
                                   [most](float x) { return std::min(x, most); });
          }};
}

// [n, d] -> [n * repeat, d]; repeat is an attribute.
custom_operator repeat_rows() {
  return {.domain = domain,
          .name = "RepeatRows",
          .shapes =
              [](custom_shapes& s) {
                const auto& in = s.input_shape(0);
                if (!in) return s.set_output(0, s.input_type(0));
                if (in->size() != 2) s.fail("it takes two dimensions");
                const std::int64_t times = s.get_int("repeat", 2);
                const std::int64_t rows = (*in)[0] < 0 ? -1 : (*in)[0] * times;
                s.set_output(0, s.input_type(0), shape_type{rows, (*in)[1]});
              },
          .compute =
              [](custom_run& run) {
                const auto x = run.input(0);
                const auto y = run.output(0);
                for (std::size_t i = 0; i < y.size(); ++i) {
                  y.data<float>()[i] = x.data<float>()[i % x.size()];
                }
              }};
}

// The elements above 0, however many.
custom_operator positive() {
  return {.domain = domain,
          .name = "Positive",
          .shapes = [](custom_shapes& s) { s.set_output(0, s.input_type(0), shape_type{-1}); },
          .compute =
              [](custom_run& run) {
                std::vector<float> kept;
                for (const float v : run.input(0).data<float>()) {
                  if (v > 0) kept.push_back(v);
                }
                const auto y = run.make_output(0, element_type::float32,
                                               {static_cast<std::int64_t>(kept.size())});
                std::ranges::copy(kept, y.data<float>().begin());
              },
          .data_dependent = true};
}

model_builder example_model() {
  model_builder m;
  m.opset(1, domain);
  return m;
}

TEST(custom_operator, runs_with_its_attributes_and_any_batch) {
  const auto model = example_model()
                         .input("x", element_type::float32, {"n", 2})
                         .node("Relu", {"x"}, {"r"})
                         .node("Clamp", {"r"}, {"c"}, {{"most", 1.5F}}, "limit", domain)
                         .node("Add", {"c", "r"}, {"y"})
                         .output("y", element_type::float32, {"n", 2})
                         .bytes();
  for (const bool optimize : {true, false}) {
    const auto s = session::load(model, {.optimize = optimize, .operators = {clamp()}});
    EXPECT_EQ(to_string(s.outputs()[0]), "float32[n, 2]");
    EXPECT_THAT(s.dump_graph(), HasSubstr("com.example.Clamp"));
    for (int i = 0; i < 2; ++i) {
      const auto one = s.run({{"x", floats({-1, 2}, {1, 2})}});
      EXPECT_THAT(one.at("y").data<float>(), ElementsAre(0, 3.5F));
      const auto two = s.run({{"x", floats({1, 2, 3, -4}, {2, 2})}});
      EXPECT_THAT(two.at("y").data<float>(), ElementsAre(2, 3.5F, 4.5F, 0));
    }
    profile times;
    s.run({{"x", floats({-1, 2}, {1, 2})}}, {.profile = &times});
    EXPECT_THAT(times.table(), HasSubstr("com.example.Clamp"));
    EXPECT_THAT(times.table(), HasSubstr("limit"));
  }
}

TEST(custom_operator, makes_shapes_of_its_own) {
  const auto model = example_model()
                         .input("x", element_type::float32, {"n", "d"})
                         .node("RepeatRows", {"x"}, {"w"}, {{"repeat", 3}}, "wide", domain)
                         .node("Neg", {"w"}, {"y"})
                         .output("y", element_type::float32, {"m", "d"})
                         .bytes();
  const auto s = session::load(model, {.operators = {repeat_rows()}});
  EXPECT_THAT(s.run({{"x", floats({1, 2}, {1, 2})}}).at("y").data<float>(),
              ElementsAre(-1, -2, -1, -2, -1, -2));
  EXPECT_THAT(s.run({{"x", floats({1, 2}, {2, 1})}}).at("y").shape(), ElementsAre(6, 1));
}

TEST(custom_operator, tells_a_shape_function_what_it_did_wrong) {
  const auto load = [](custom_operator op) {
    op.name = "Op";
    return session::load(example_model()
                             .input("x", element_type::float32, {"n", 2})
                             .node("Op", {"x"}, {"y"}, {}, "mine", domain)
                             .output("y", element_type::float32, {"m", 2})
                             .bytes(),
                         {.operators = {std::move(op)}});
  };
  custom_operator op = clamp();
  // Takes the unknown dimension, -1, for a number.
  op.shapes = [](custom_shapes& s) {
    s.set_output(0, element_type::float32, shape_type{(*s.input_shape(0))[0] + 5, 2});
  };
  const auto naive = load(op);
  error e = caught([&] { naive.run({{"x", floats({1, 2}, {1, 2})}}); });
  EXPECT_EQ(e.subject(), "node 'mine' (com.example.Op)");
  EXPECT_THAT(e.message(), HasSubstr("must be -1"));
  op.shapes = [](custom_shapes& s) { s.set_output(0, element_type::float32); };
  const auto open = load(op);
  e = caught([&] { open.run({{"x", floats({1, 2}, {1, 2})}}); });
  EXPECT_THAT(e.message(), HasSubstr("data_dependent"));
  op.shapes = [](custom_shapes&) {};
  EXPECT_THAT(caught([&] { load(op); }).message(), HasSubstr("sets no type for output 0"));
  op.shapes = [](custom_shapes& s) { s.set_output(1, element_type::float32); };
  EXPECT_EQ(caught([&] { load(op); }).code(), errc::out_of_range);
  op.shapes = [](custom_shapes& s) { s.fail("not on a Monday"); };
  EXPECT_EQ(caught([&] { load(op); }).message(), "not on a Monday");
  op.shapes = [](custom_shapes& s) { s.get_int("most", 0); };
  op.least_inputs = 2;
  EXPECT_THAT(caught([&] { load(op); }).message(), HasSubstr("input 1 is missing"));
  op.least_inputs = op.most_inputs = 0;
  EXPECT_THAT(caught([&] { load(op); }).message(), HasSubstr("more than the operator takes"));
}

TEST(custom_operator, takes_shapes_from_values) {
  // [n] -> [k], k the value of the second input.
  custom_operator resize{
      .domain = domain,
      .name = "Take",
      .least_inputs = 2,
      .shapes =
          [](custom_shapes& s) {
            const tensor* count = s.input_value(1);
            if (count == nullptr) return s.set_output(0, s.input_type(0));
            s.set_output(0, s.input_type(0), shape_type{count->data<std::int64_t>()[0]});
          },
      .compute =
          [](custom_run& run) {
            const auto y = run.output(0).data<float>();
            std::ranges::copy_n(run.input(0).data<float>().begin(),
                                static_cast<std::ptrdiff_t>(y.size()), y.begin());
          }};
  const auto s = session::load(example_model()
                                   .input("x", element_type::float32, {"n"})
                                   .input("k", element_type::int64, {})
                                   .node("Take", {"x", "k"}, {"y"}, {}, "", domain)
                                   .output("y", element_type::float32, {"k"})
                                   .bytes(),
                               {.operators = {resize}});
  for (const std::int64_t k : {1, 3, 2}) {
    const auto out = s.run({{"x", floats({1, 2, 3}, {3})}, {"k", tensor::scalar(k)}});
    EXPECT_THAT(out.at("y").shape(), ElementsAre(k));
  }
}

TEST(custom_operator, makes_outputs_that_hang_on_data) {
  const auto model = example_model()
                         .input("x", element_type::float32, {"n"})
                         .node("Positive", {"x"}, {"p"}, {}, "pick", domain)
                         .node("Neg", {"p"}, {"y"})
                         .output("y", element_type::float32, {"k"})
                         .bytes();
  const auto s = session::load(model, {.operators = {positive()}});
  EXPECT_THAT(s.run({{"x", floats({1, -2, 3}, {3})}}).at("y").data<float>(), ElementsAre(-1, -3));
  EXPECT_TRUE(s.run({{"x", floats({-1}, {1})}}).at("y").empty());

  custom_operator wrong = positive();
  wrong.compute = [](custom_run&) {};
  const auto none = session::load(model, {.operators = {wrong}});
  error e = caught([&] { none.run({{"x", floats({1}, {1})}}); });
  EXPECT_THAT(e.message(), HasSubstr("it made no output 0"));
  wrong.compute = [](custom_run& run) { run.make_output(0, element_type::float32, {1, 1}); };
  const auto high = session::load(model, {.operators = {wrong}});
  e = caught([&] { high.run({{"x", floats({1}, {1})}}); });
  EXPECT_EQ(e.subject(), "node 'pick' (com.example.Positive)");
  EXPECT_THAT(e.message(), HasSubstr("float32[1, 1] where the shape function told float32[-1]"));
  wrong.compute = [](custom_run& run) { run.make_output(0, element_type::int64, {1}); };
  const auto typed = session::load(model, {.operators = {wrong}});
  EXPECT_THAT(caught([&] { typed.run({{"x", floats({1}, {1})}}); }).message(),
              HasSubstr("int64[1]"));
  wrong.compute = [](custom_run& run) { run.make_output(0, element_type::float32, {1 << 20}); };
  const auto greedy = session::load(model, {.memory_limit = 1 << 16, .operators = {wrong}});
  EXPECT_EQ(caught([&] { greedy.run({{"x", floats({1}, {1})}}); }).code(),
            errc::resource_exhausted);
}

TEST(custom_operator, works_on_strings) {
  custom_operator shout{.domain = domain, .name = "Shout", .compute = [](custom_run& run) {
                          const auto in = run.input(0).data<std::string>();
                          const auto out = run.output(0).data<std::string>();
                          for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] + "!";
                        }};
  const auto s = session::load(example_model()
                                   .input("x", element_type::string, {"n"})
                                   .node("Shout", {"x"}, {"y"}, {}, "", domain)
                                   .output("y", element_type::string, {"n"})
                                   .bytes(),
                               {.operators = {shout}});
  const auto out = s.run({{"x", tensor::copy<std::string>({"a", "bc"}, {2})}});
  EXPECT_THAT(out.at("y").data<std::string>(), ElementsAre("a!", "bc!"));
}

TEST(custom_operator, runs_in_branches_and_loops) {
  const auto branch = [](const char* op) {
    model_builder m = example_model();
    m.node(op, {"x"}, {"b"}, {}, "", domain).output("b", element_type::float32, {"n"});
    return m;
  };
  const auto with_if =
      example_model()
          .input("which", element_type::boolean, {})
          .input("x", element_type::float32, {"n"})
          .node("If", {"which"}, {"y"},
                {{"then_branch", branch("Clamp")}, {"else_branch", branch("Positive")}})
          .output("y", element_type::float32, {"k"})
          .bytes();
  const auto s = session::load(with_if, {.operators = {clamp(), positive()}});
  const auto run = [&](bool which) {
    auto out = s.run({{"which", tensor::scalar(which)}, {"x", floats({-1, 2}, {2})}});
    return std::move(out.at("y"));
  };
  EXPECT_THAT(run(true).data<float>(), ElementsAre(-1, 1));
  EXPECT_THAT(run(false).data<float>(), ElementsAre(2));

  model_builder body = example_model();
  body.input("i", element_type::int64, {})
      .input("go", element_type::boolean, {})
      .input("v", element_type::float32, {2})
      .node("Identity", {"go"}, {"go_on"})
      .node("Add", {"v", "v"}, {"twice"})
      .node("Clamp", {"twice"}, {"next"}, {{"most", 6.0F}}, "", domain)
      .output("go_on", element_type::boolean, {})
      .output("next", element_type::float32, {2});
  const auto loop = session::load(example_model()
                                      .input("x", element_type::float32, {2})
                                      .input("trips", element_type::int64, {})
                                      .node("Loop", {"trips", "", "x"}, {"y"}, {{"body", body}})
                                      .output("y", element_type::float32, {2})
                                      .bytes(),
                                  {.operators = {clamp()}});
  const auto out =
      loop.run({{"x", floats({1, 0.5F}, {2})}, {"trips", tensor::scalar<std::int64_t>(3)}});
  EXPECT_THAT(out.at("y").data<float>(), ElementsAre(6, 4));
}

TEST(custom_operator, has_optional_inputs_and_outputs) {
  custom_operator op{
      .domain = domain, .name = "Op", .most_outputs = 3, .compute = [](custom_run& run) {
        EXPECT_FALSE(run.has_input(1));
        EXPECT_FALSE(run.input(1).present());
        EXPECT_TRUE(run.has_input(2));
        EXPECT_FALSE(run.wants_output(0));
        EXPECT_FALSE(run.output(0).present());
        const auto y = run.output(1).data<float>();
        std::ranges::copy(run.input(2).data<float>(), y.begin());
      }};
  const auto s = session::load(example_model()
                                   .input("x", element_type::float32, {1})
                                   .node("Op", {"x", "", "x"}, {"", "y"}, {}, "", domain)
                                   .output("y", element_type::float32, {1})
                                   .bytes(),
                               {.operators = {op}});
  EXPECT_THAT(s.run({{"x", floats({4}, {1})}}).at("y").data<float>(), ElementsAre(4));
}

TEST(custom_operator, is_prepared_once_and_shares_threads) {
  std::atomic<int> prepared = 0;
  std::atomic<int> computed = 0;
  custom_operator op{.domain = domain, .name = "Op", .prepare = [&](const custom_node& n) {
                       ++prepared;
                       const auto table = n.get_floats("table");
                       EXPECT_EQ(n.get_string("mode", "none"), "fast");
                       EXPECT_THAT(n.get_ints("axes"), ElementsAre(1, 2));
                       EXPECT_EQ(n.get_tensor("t")->size(), 2U);
                       EXPECT_EQ(n.get_tensor("u"), nullptr);
                       EXPECT_EQ(n.version(), 1);
                       return [&computed, table](custom_run& run) {
                         ++computed;
                         const auto x = run.input(0).data<float>();
                         const auto y = run.output(0).data<float>();
                         run.parallel_for(x.size(), 16, [&](std::size_t begin, std::size_t end) {
                           for (std::size_t i = begin; i < end; ++i) y[i] = x[i] * table[0];
                         });
                         run.cancel().check("it");
                       };
                     }};
  const auto s = session::load(example_model()
                                   .input("x", element_type::float32, {"n"})
                                   .node("Op", {"x"}, {"y"},
                                         {{"table", std::vector<float>{2, 3}},
                                          {"mode", "fast"},
                                          {"axes", {1, 2}},
                                          {"t", floats({1, 2}, {2})}},
                                         "", domain)
                                   .output("y", element_type::float32, {"n"})
                                   .bytes(),
                               {.threads = 2, .operators = {op}});
  const tensor x(element_type::float32, {1000});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(s.run({{"x", x}}).at("y").size(), 1000U);
  EXPECT_EQ(prepared.load(), 1);
  EXPECT_EQ(computed.load(), 3);
}

TEST(custom_operator, names_the_node_of_what_it_throws) {
  const auto load = [](auto compute) {
    return session::load(example_model()
                             .input("x", element_type::float32, {1})
                             .node("Op", {"x"}, {"y"}, {{"axis", 1}}, "mine", domain)
                             .output("y", element_type::float32, {1})
                             .bytes(),
                         {.operators = {{.domain = domain, .name = "Op", .compute = compute}}});
  };
  const auto thrown = [&](auto compute) {
    const auto s = load(compute);
    return caught([&] { s.run({{"x", floats({1}, {1})}}); });
  };
  error e = thrown([](custom_run&) { throw std::runtime_error("no luck"); });
  EXPECT_EQ(e.code(), errc::unknown);
  EXPECT_EQ(e.subject(), "node 'mine' (com.example.Op)");
  EXPECT_THAT(e.message(), HasSubstr("no luck"));
  e = thrown([](custom_run& run) { run.fail("wrong"); });
  EXPECT_EQ(e.message(), "wrong");
  e = thrown([](custom_run& run) { run.input(0).data<int>(); });
  EXPECT_THAT(e.message(), HasSubstr("it is float32, not int32"));
  e = thrown([](custom_run& run) { run.input(1).data<float>(); });
  EXPECT_THAT(e.message(), HasSubstr("left out"));
  e = thrown([](custom_run& run) { run.get_float("axis", 0); });
  EXPECT_THAT(e.message(), HasSubstr("attribute 'axis': it must be a float"));
  e = thrown([](custom_run& run) { run.make_output(0, element_type::float32, {1}); });
  EXPECT_THAT(e.message(), HasSubstr("data_dependent"));
}

TEST(custom_operator, is_found_by_version_before_functions) {
  const auto model = example_model()
                         .input("x", element_type::float32, {1})
                         .node("Clamp", {"x"}, {"y"}, {}, "mine", domain)
                         .output("y", element_type::float32, {1})
                         .bytes();
  custom_operator later = clamp();
  later.first_version = 2;
  const error e = caught([&] { session::load(model, {.operators = {later}}); });
  EXPECT_EQ(e.code(), errc::unimplemented);
  EXPECT_THAT(e.message(), HasSubstr("com.example.Clamp version 1 (node 'mine')"));
  EXPECT_THAT(e.message(), HasSubstr("session_options.operators"));
  custom_operator now = clamp();
  now.last_version = 1;
  EXPECT_NO_THROW(session::load(model, {.operators = {later, now}}));
}

TEST(custom_operator, is_checked_when_it_is_given) {
  const auto model = example_model()
                         .input("x", element_type::float32, {1})
                         .node("Relu", {"x"}, {"y"})
                         .output("y", element_type::float32, {1})
                         .bytes();
  const auto refused = [&](std::vector<custom_operator> list) {
    return caught([&] { session::load(model, {.operators = std::move(list)}); });
  };
  const auto changed = [](auto change) {
    custom_operator op = clamp();
    change(op);
    return std::vector<custom_operator>{op};
  };
  EXPECT_EQ(refused({clamp(), clamp()}).subject(),
            "operator 'com.example.Clamp' of session_options.operators");
  EXPECT_THAT(refused(changed([](auto& o) { o.name = ""; })).message(), HasSubstr("no name"));
  EXPECT_THAT(refused(changed([](auto& o) { o.domain = "mizzen.x"; })).message(),
              HasSubstr("reserved"));
  EXPECT_THAT(refused(changed([](auto& o) { o.compute = nullptr; })).message(),
              HasSubstr("compute"));
  EXPECT_THAT(refused(changed([](auto& o) { o.most_outputs = 0; })).message(),
              HasSubstr("do not fit"));
  EXPECT_THAT(refused(changed([](auto& o) {
                o.domain = "ai.onnx";
                o.name = "Relu";
              })).message(),
              HasSubstr("the engine has an operator"));
  EXPECT_NO_THROW(session::load(model, {.operators = {clamp()}}));
}

}  // namespace
}  // namespace mizzen::inference
