// Devices behind plug-ins: real libraries, made for these tests from test_plugin.cpp.
#include "caught.hpp"
#include "inference/device/device.hpp"
#include "inference/runtime/executable.hpp"
#include "optimised.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

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
      {built("other_version"), "its interface has version 43 where this library has 2"},
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

// Warnings of a session.
class warnings {
 public:
  logger log() {
    return logger(
        [this](const log_record& r) {
          std::string text(r.message);
          for (const log_field& f : r.fields) text += " " + f.value.dump();
          const std::lock_guard lock(mutex_);
          list_.push_back(std::move(text));
        },
        log_level::warning);
  }
  std::vector<std::string> list() {
    const std::lock_guard lock(mutex_);
    return list_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> list_;
};

// One part before a host's node, one that the device refuses, behind it.
model_builder with_refused_part() {
  model_builder model;
  model.input("x", f32, {"n", 8})
      .initializer("w", noise({8, 8}, 2))
      .node("MatMul", {"x", "w"}, {"a"})
      .node("Sin", {"a"}, {"s"})
      .node("MatMul", {"s", "w"}, {"m"})
      .node("Relu", {"m"}, {"y"}, {}, "refused")
      .node("Add", {"s", "m"}, {"z"})
      .output("y", f32, {"n", 8})
      .output("z", f32, {"n", 8});
  return model;
}

TEST(plugin, a_refused_part_runs_on_the_processor_with_one_warning) {
  const auto bytes = with_refused_part().bytes();
  const auto plain = session::load(bytes);
  const plugin_is environment(built("good"));
  warnings seen;
  const auto loaded = session::load(bytes, {.device = "cuda:0", .log = seen.log()});
  profile times;
  for (const std::int64_t n : {3, 5, 3, 1}) {
    const tensor x = noise({n, 8});
    const auto expected = plain.run({{"x", x}});
    const auto actual = loaded.run({{"x", x}}, {.profile = &times});
    for (const char* name : {"y", "z"}) {
      const auto a = actual.at(name).data<float>();
      const auto b = expected.at(name).data<float>();
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4F);
    }
    if (n == 5) loaded.release_memory();
  }
  const std::vector<std::string> list = seen.list();
  ASSERT_EQ(list.size(), 1U);
  const std::string& warning = list.front();
  EXPECT_NE(warning.find("part of the graph runs on the processor"), std::string::npos) << warning;
  EXPECT_NE(warning.find("node 'refused' (Relu)"), std::string::npos) << warning;
  EXPECT_NE(warning.find("not on this device"), std::string::npos) << warning;
  EXPECT_NE(times.table().find("DevicePart on the processor"), std::string::npos) << times.table();
}

TEST(plugin, a_refused_part_heeds_cancellation_and_threads) {
  const auto bytes = with_refused_part().bytes();
  const plugin_is environment(built("good"));
  const auto loaded = session::load(bytes, {.device = "cuda:0"});
  const tensor x = noise({64, 8});
  const auto expected = loaded.run({{"x", x}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto actual = loaded.run({{"x", x}});
        EXPECT_TRUE(
            std::ranges::equal(actual.at("y").data<float>(), expected.at("y").data<float>()));
      }
    });
  }
  for (auto& t : threads) t.join();
  std::stop_source stop;
  stop.request_stop();
  const run_options cancelled{.cancel = {stop.get_token(), {}}};
  EXPECT_EQ(caught([&] { loaded.run({{"x", x}}, cancelled); }).code(), errc::cancelled);
}

// A part whose shapes hang on its own data, which no plan can know: of a graph made by hand, as the
// partition leaves such nodes to the host.
TEST(plugin, a_part_whose_shapes_only_a_run_tells_runs_on_the_processor) {
  using namespace detail;
  const plugin_is environment(built("good"));
  warnings seen;
  session_options options;
  options.device = "cuda:0";
  options.log = seen.log();
  compile_settings settings;
  settings.on = make_device(options);
  settings.memory_limit = std::size_t{1} << 30;
  settings.cached_plans = 4;

  const auto value_of = [](const char* name, element_type type, std::optional<dims> shape) {
    value v;
    v.name = name;
    v.type = type;
    v.shape = std::move(shape);
    return v;
  };
  const auto node_of = [](const char* op, std::vector<value_id> in, value_id out) {
    node n;
    n.name = op;
    n.op_type = op;
    n.opset = 22;
    n.inputs = std::move(in);
    n.outputs = {out};
    return n;
  };
  graph body;
  const value_id x = body.add_value(value_of("x", f32, dims{12}));
  const value_id s = body.add_value(value_of("s", f32, dims{2}));
  const value_id shape = body.add_value(value_of("shape", element_type::int64, dims{2}));
  const value_id y = body.add_value(value_of("y", f32, dims{-1, -1}));
  body.inputs = {x, s};
  body.captures = {0, 1};
  body.outputs = {y};
  body.nodes.push_back(node_of("Cast", {s}, shape));
  body.nodes.back().attributes.set("to", std::int64_t{7});
  body.nodes.push_back(node_of("Reshape", {x, shape}, y));

  graph g;
  for (const char* name : {"x", "s"}) {
    g.inputs.push_back(g.add_value(value_of(name, f32, dims{name[0] == 'x' ? 12 : 2})));
  }
  const value_id part_out = g.add_value(value_of("p", f32, dims{-1, -1}));
  const value_id out = g.add_value(value_of("out", f32, dims{-1, -1}));
  g.nodes.push_back(node_of("DevicePart", g.inputs, part_out));
  g.nodes.back().domain = "mizzen";
  g.nodes.back().attributes.set("body", std::make_shared<const graph>(std::move(body)));
  g.nodes.push_back(node_of("Neg", {part_out}, out));
  g.outputs = {out};

  const executable runs(std::move(g), settings);
  const cancellation nobody;
  const tensor data = noise({12});
  for (const auto& [rows, columns] : {std::pair{3.0F, 4.0F}, {2.0F, 6.0F}, {3.0F, 4.0F}}) {
    const tensor wanted = tensor::copy({rows, columns}, {2});
    const std::vector<item> in = {borrow(data), borrow(wanted)};
    const auto account = std::make_shared<memory_account>(settings.memory_limit);
    const std::vector<item> made = runs.run(in, {nobody, account});
    ASSERT_TRUE(made[0].one);
    EXPECT_EQ(made[0].one->shape(),
              (shape_type{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)}));
    for (std::size_t i = 0; i < 12; ++i) {
      EXPECT_EQ(made[0].one->data<float>()[i], -data.data<float>()[i]);
    }
  }
  runs.release_memory();
  const std::vector<std::string> list = seen.list();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_NE(list.front().find("'p' depends on more data"), std::string::npos) << list.front();
}

TEST(plugin, what_hangs_on_data_is_no_part) {
  // The first n columns of a product, n computed from the data: not to be compiled for each n.
  model_builder model;
  const auto index = [](std::int64_t i) { return tensor::copy({i}, {1}); };
  model.input("x", f32, {"n", 70})
      .initializer("w", noise({70, 70}, 2))
      .initializer("zero", index(0))
      .initializer("one", index(1))
      .initializer("scale", number(10))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("ReduceMax", {"x"}, {"most"}, {{"keepdims", 0}})
      .node("Mul", {"most", "scale"}, {"scaled"})
      .node("Cast", {"scaled"}, {"number"}, {{"to", 7}})
      .node("Unsqueeze", {"number", "zero"}, {"end"})
      .node("Slice", {"h", "zero", "end", "one"}, {"cut"})
      .node("Relu", {"cut"}, {"y"})
      .output("y", f32, {"n", dimension()});
  tensor x = noise({3, 70});
  std::string graph;
  for (const float most : {2.0F, 3.5F, 1.2F}) {
    x.data<float>()[0] = most;
    graph = same_on_both(model, x);
  }
  EXPECT_EQ(times(graph, "mizzen.DevicePart("), 1U) << graph;
  EXPECT_EQ(times(graph, " = Slice("), 1U) << graph;
}

}  // namespace
}  // namespace mizzen::inference
