// Profiles of runs, and the graph as it is shown while a model is loaded.
#include "caught.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/inference.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace mizzen::inference {
namespace {

using mizzen::test::caught;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A node with something fused into it, and one whose output's shape is not known before.
std::vector<std::byte> model() {
  return model_builder{"m"}
      .input("x", element_type::float32, {"n", 8})
      .initializer("w", tensor(element_type::float32, {8, 16}))
      .initializer("b", tensor(element_type::float32, {16}))
      .node("Gemm", {"x", "w", "b"}, {"s"}, {}, "first \"layer\"")
      .node("Relu", {"s"}, {"r"})
      .node("NonZero", {"r"}, {"where"}, {}, "places")
      .output("r", element_type::float32, {"n", 16})
      .output("where", element_type::int64, {2, "count"})
      .bytes();
}

std::vector<std::string> operators_of(const profile& p) {
  std::vector<std::string> names;
  for (const auto& o : p.operators()) names.push_back(o.op_type);
  return names;
}

TEST(profile, tells_count_time_and_shapes_of_each_node) {
  const auto s = session::load(model());
  const tensor x(element_type::float32, {3, 8});
  profile p;
  EXPECT_EQ(p.runs(), 0U);
  EXPECT_THAT(p.table(), HasSubstr("0 runs"));
  s.run({{"x", x}});
  for (int i = 0; i < 4; ++i) s.run({{"x", x}}, {.profile = &p});
  EXPECT_EQ(p.runs(), 4U);
  EXPECT_THAT(operators_of(p), ::testing::UnorderedElementsAre("Gemm", "NonZero", "(engine)"));
  std::chrono::nanoseconds sum{0};
  for (const auto& o : p.operators()) {
    EXPECT_EQ(o.count, 4U) << o.op_type;
    sum += o.total;
  }
  EXPECT_EQ(sum, p.total());
  bool found = false;
  for (const auto& n : p.nodes()) {
    if (n.op_type != "Gemm") continue;
    found = true;
    EXPECT_EQ(n.name, "first \"layer\"");
    EXPECT_EQ(n.fused, "+relu");
    EXPECT_THAT(n.outputs, HasSubstr("float32[3, 16]"));
    EXPECT_THAT(n.inputs, HasSubstr("float32[3, 8]"));
    EXPECT_EQ(n.count, 4U);
  }
  EXPECT_TRUE(found);
  // Other shapes are another line.
  const tensor wide(element_type::float32, {5, 8});
  s.run({{"x", wide}}, {.profile = &p});
  EXPECT_EQ(p.nodes().size(), 3U);
  EXPECT_THAT(p.table(1), AllOf(HasSubstr("5 runs"), HasSubstr("and 2 more")));
  p.clear();
  EXPECT_EQ(p.runs(), 0U);
  EXPECT_TRUE(p.nodes().empty());
}

TEST(profile, writes_a_trace) {
  profile p;
  {
    const auto s = session::load(model());
    const tensor x(element_type::float32, {3, 8});
    s.run({{"x", x}}, {.profile = &p});
    std::thread([&] { s.run({{"x", x}}, {.profile = &p}); }).join();
  }
  // It outlives its session.
  const auto path = std::filesystem::path(::testing::TempDir()) / "mizzen_trace.json";
  p.write_trace(path);
  std::ifstream file(path);
  const json trace = json::parse(file);
  std::vector<std::string> names;
  std::vector<int> threads;
  for (const json& e : trace.at("traceEvents")) {
    if (e.at("ph") != "X") continue;
    names.push_back(e.at("name"));
    threads.push_back(e.at("tid"));
    EXPECT_GE(e.at("dur").get<double>(), 0.0);
    if (names.back() == "Gemm+relu") {
      EXPECT_EQ(e.at("args").at("node"), "first \"layer\"");
      EXPECT_EQ(e.at("args").at("outputs"), "float32[3, 16]");
    }
  }
  EXPECT_THAT(names, ElementsAre("run", "Gemm+relu", "NonZero", "run", "Gemm+relu", "NonZero"));
  EXPECT_THAT(threads, ElementsAre(0, 0, 0, 1, 1, 1));
  std::filesystem::remove(path);
  EXPECT_EQ(caught([&] { p.write_trace("/no/such/folder/trace.json"); }).code(), errc::not_found);
}

TEST(profile, leaves_out_a_run_that_fails) {
  const auto s = session::load(model());
  const tensor x(element_type::float32, {3, 7});
  profile p;
  caught([&] { s.run({{"x", x}}, {.profile = &p}); });
  EXPECT_EQ(p.runs(), 0U);
}

TEST(profile, counts_the_inside_of_a_loop_once) {
  model_builder body{"body"};
  body.input("i", element_type::int64, {})
      .input("go", element_type::boolean, {})
      .input("v", element_type::float32, {64})
      .node("Identity", {"go"}, {"go_on"})
      .node("Tanh", {"v"}, {"w"})
      .output("go_on", element_type::boolean, {})
      .output("w", element_type::float32, {64});
  const auto s = session::load(model_builder{"loop"}
                                   .input("x", element_type::float32, {64})
                                   .input("n", element_type::int64, {})
                                   .node("Loop", {"n", "", "x"}, {"y"}, {{"body", body}}, "rounds")
                                   .output("y", element_type::float32, {64})
                                   .bytes());
  const tensor x(element_type::float32, {64});
  const tensor n = tensor::scalar<std::int64_t>(5);
  profile p;
  s.run({{"x", x}, {"n", n}}, {.profile = &p});
  std::chrono::nanoseconds sum{0};
  for (const auto& o : p.operators()) {
    sum += o.total;
    if (o.op_type == "Tanh") {
      EXPECT_EQ(o.count, 5U);
    }
  }
  EXPECT_THAT(operators_of(p), Contains("Tanh"));
  EXPECT_EQ(sum, p.total());
}

TEST(session, shows_the_graph_while_it_loads) {
  std::vector<std::string> passes;
  std::string imported, last;
  const auto s =
      session::load(model(), {.on_graph = [&](std::string_view pass, const std::string& graph) {
                      passes.emplace_back(pass);
                      (pass == "imported" ? imported : last) = graph;
                    }});
  ASSERT_FALSE(passes.empty());
  EXPECT_EQ(passes.front(), "imported");
  EXPECT_THAT(passes, Contains("fuse_post_ops"));
  EXPECT_THAT(imported, HasSubstr("= Relu("));
  EXPECT_THAT(last, Not(HasSubstr("= Relu(")));
  EXPECT_THAT(s.dump_graph(), HasSubstr("Gemm+relu("));
  EXPECT_THAT(last, HasSubstr("Gemm+relu("));
}

}  // namespace
}  // namespace mizzen::inference
