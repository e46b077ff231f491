// Devices behind plug-ins: real libraries, made for these tests from test_plugin.cpp.
#include "caught.hpp"
#include "optimised.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace mizzen::inference {
namespace {

using test::caught;

// The plug-in for "cuda:N" while it lives.
class plugin_is {
 public:
  explicit plugin_is(const std::string& path) { ::setenv("MIZZEN_CUDA_PLUGIN", path.c_str(), 1); }
  plugin_is(const plugin_is&) = delete;
  plugin_is& operator=(const plugin_is&) = delete;
  ~plugin_is() { ::unsetenv("MIZZEN_CUDA_PLUGIN"); }
};

std::string built(std::string_view name) {
  return std::string(MIZZEN_TEST_PLUGINS) + "/libmizzen_test_plugin_" + std::string(name) + ".so";
}

std::vector<std::byte> small_model() {
  return model_builder{}
      .input("x", f32, {2, 3})
      .node("Relu", {"x"}, {"y"})
      .output("y", f32, {2, 3})
      .bytes();
}

std::string refusal(const std::string& device = "cuda:0") {
  const auto model = small_model();
  const error e = caught([&] { session::load(model, {.device = device}); });
  EXPECT_EQ(e.code(), errc::unavailable);
  return e.what();
}

TEST(plugin, what_is_no_plugin_gives_a_reason_and_leaves_the_processor) {
  const struct {
    std::string path, reason;
  } cases[] = {
      {"/nowhere/libmizzen_cuda.so", "/nowhere/libmizzen_cuda.so"},
      {built("empty"), "it has no mizzen_plugin_entry"},
      {built("other_version"), "its interface has version 42 where this library has 1"},
      {built("incomplete"), "its table of functions is incomplete"},
      {built("no_table"), "it gives no table of functions"},
      {built("no_device"), "no driver: this one never works"},
  };
  for (const auto& one : cases) {
    const plugin_is environment(one.path);
    const auto list = devices();
    ASSERT_EQ(list.size(), 2U);
    EXPECT_TRUE(list[0].available);
    EXPECT_EQ(list[1].name, "cuda:0");
    EXPECT_FALSE(list[1].available);
    EXPECT_NE(list[1].reason.find(one.reason), std::string::npos) << list[1].reason;
    EXPECT_NE(refusal().find(one.reason), std::string::npos) << refusal();
    const auto model = small_model();
    EXPECT_NO_THROW(session::load(model));
  }
}

TEST(plugin, none_installed) {
  const auto list = devices();
  ASSERT_GE(list.size(), 2U);
  EXPECT_TRUE(list[1].available || !list[1].reason.empty());
}

TEST(plugin, devices_and_what_they_refuse) {
  const plugin_is environment(built("good"));
  const auto list = devices();
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[2].description, "test device 1");
  EXPECT_NE(refusal("cuda:1").find("somebody else has it"), std::string::npos);
  const auto model = small_model();
  EXPECT_EQ(caught([&] { session::load(model, {.device = "cuda:7"}); }).code(), errc::not_found);
  EXPECT_EQ(caught([&] { session::load(model, {.device = "cuda:x"}); }).code(), errc::not_found);
}

// The same on the device and on the processor; returns what ran on the device.
std::string same_on_both(const model_builder& model, const tensor& x) {
  const auto bytes = model.bytes();
  const auto plain = session::load(bytes);
  const plugin_is environment(built("good"));
  const auto fast = session::load(bytes, {.device = "cuda:0"});
  for (int round = 0; round < 2; ++round) {
    const auto expected = plain.run({{"x", x}});
    const auto actual = fast.run({{"x", x}});
    for (const auto& [name, t] : expected) {
      EXPECT_EQ(actual.at(name).shape(), t.shape());
      const auto a = actual.at(name).data<float>();
      const auto b = t.data<float>();
      for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4F) << name << i;
    }
  }
  return fast.dump_graph();
}

std::size_t times(const std::string& text, std::string_view what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(plugin, a_whole_graph_is_one_part) {
  model_builder model;
  model.input("x", f32, {"n", 8})
      .initializer("w", noise({8, 4}, 2))
      .initializer("b", noise({4}, 3))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("Add", {"h", "b"}, {"s"})
      .node("Relu", {"s"}, {"y"})
      .output("y", f32, {"n", 4});
  const std::string graph = same_on_both(model, noise({3, 8}));
  EXPECT_EQ(times(graph, "mizzen.DevicePart("), 1U) << graph;
  EXPECT_NE(graph.find("outputs y:float32"), std::string::npos) << graph;
}

TEST(plugin, what_the_device_lacks_runs_between_its_parts) {
  model_builder model;
  model.input("x", f32, {"n", 8})
      .initializer("w", noise({8, 8}, 2))
      .node("MatMul", {"x", "w"}, {"a"})
      .node("Sin", {"a"}, {"s"})  // not the device's
      .node("Relu", {"a"}, {"r"})
      .node("Mul", {"s", "r"}, {"m"})
      .node("MatMul", {"m", "w"}, {"y"})
      .output("y", f32, {"n", 8})
      .output("r", f32, {"n", 8});
  const std::string graph = same_on_both(model, noise({5, 8}));
  EXPECT_EQ(times(graph, "mizzen.DevicePart("), 2U) << graph;
  EXPECT_EQ(times(graph, " = Sin("), 1U) << graph;
}

TEST(plugin, shapes_computed_from_shapes_stay_in_the_part) {
  model_builder model;
  const auto index = [](std::int64_t i) { return tensor::copy({i}, {1}); };
  model.input("x", f32, {"n", 4, 6})
      .initializer("w", noise({6, 6}, 2))
      .initializer("zero", index(0))
      .initializer("rest", index(-1))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("Shape", {"h"}, {"shape"})
      .node("Gather", {"shape", "zero"}, {"first"})
      .node("Concat", {"first", "rest"}, {"wanted"}, {{"axis", 0}})
      .node("Reshape", {"h", "wanted"}, {"flat"})
      .node("Relu", {"flat"}, {"y"})
      .output("y", f32, {"n", 24});
  const std::string graph = same_on_both(model, noise({3, 4, 6}));
  EXPECT_EQ(times(graph, "mizzen.DevicePart("), 1U) << graph;
}

TEST(plugin, shapes_that_only_computing_tells_are_found_for_the_plan) {
  model_builder model;
  const auto ints = [](std::int64_t i) { return tensor::copy({i}, {1}); };
  // [n, 6] in rows of 3, by a product of what is computed: more than shape inference follows.
  model.input("x", f32, {"n", 6})
      .initializer("w", noise({6, 6}, 2))
      .initializer("zero", ints(0))
      .initializer("three", ints(3))
      .initializer("twelve", ints(12))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("Shape", {"h"}, {"shape"})
      .node("Gather", {"shape", "zero"}, {"n"})
      .node("Mul", {"n", "twelve"}, {"m"})
      .node("Mod", {"m", "twelve"}, {"none"})
      .node("Add", {"none", "three"}, {"rest"})
      .node("Add", {"n", "n"}, {"rows"})
      .node("Concat", {"rows", "rest"}, {"wanted"}, {{"axis", 0}})
      .node("Reshape", {"h", "wanted"}, {"flat"})
      .node("Relu", {"flat"}, {"y"})
      .output("y", f32, {dimension(), dimension()});
  const std::string graph = same_on_both(model, noise({4, 6}));
  EXPECT_EQ(times(graph, "mizzen.DevicePart("), 1U) << graph;
}

TEST(plugin, parts_without_work_stay_on_the_processor) {
  model_builder model;
  model.input("x", f32, {4, 8})
      .initializer("w", noise({8, 8}, 2))
      .node("Relu", {"x"}, {"a"})  // alone before what the device lacks
      .node("Sin", {"a"}, {"s"})
      .node("MatMul", {"s", "w"}, {"y"})
      .output("y", f32, {4, 8});
  const std::string graph = same_on_both(model, noise({4, 8}));
  EXPECT_EQ(times(graph, "mizzen.DevicePart("), 1U) << graph;
  EXPECT_EQ(times(graph, "Relu"), 1U) << graph;
}

TEST(plugin, a_refusal_names_the_node) {
  model_builder model;
  model.input("x", f32, {2}).node("Relu", {"x"}, {"y"}, {}, "refused").output("y", f32, {2});
  const plugin_is environment(built("good"));
  const auto bytes = model.bytes();
  const auto loaded = session::load(bytes, {.device = "cuda:0"});
  const tensor x = noise({2});
  const error e = caught([&] { loaded.run({{"x", x}}); });
  EXPECT_EQ(e.code(), errc::unimplemented);
  EXPECT_NE(std::string(e.what()).find("node 'refused' (Relu)"), std::string::npos) << e.what();
}

}  // namespace
}  // namespace mizzen::inference
