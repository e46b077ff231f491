// What the engine does around the parts of a device: refusals, buckets of shapes, runs that
// overlap.
#include "../inference/caught.hpp"
#include "device_test.hpp"

#include <atomic>
#include <cstdlib>
#include <future>
#include <mutex>
#include <string>
#include <vector>

namespace mizzen::inference {
namespace {

model_builder network() {
  model_builder model;
  model.opset(22)
      .input("x", f32, {"batch", 3, 8, 8})
      .initializer("w", noise({4, 3, 3, 3}, 2))
      .initializer("fc", noise({4, 5}, 3))
      .node("Conv", {"x", "w"}, {"c"}, {{"pads", std::vector<std::int64_t>{1, 1, 1, 1}}})
      .node("Relu", {"c"}, {"r"})
      .node("GlobalAveragePool", {"r"}, {"g"})
      .node("Flatten", {"g"}, {"f"})
      .node("MatMul", {"f", "fc"}, {"m"})
      .node("Softmax", {"m"}, {"y"})
      .output("y", f32, {"batch", 5});
  return model;
}

tensor_map pictures(std::int64_t n) {
  tensor_map map;
  map.emplace("x", noise({n, 3, 8, 8}, 4));
  return map;
}

session_options on_gpu() {
  session_options options;
  options.device = "cuda:0";
  options.gpu.cache = "";
  return options;
}

TEST(cuda_engine, buckets_bound_the_number_of_plans) {
  const auto bytes = network().bytes();
  const auto plain = session::load(bytes);
  std::atomic<int> plans = 0;
  session_options options = on_gpu();
  options.shape_buckets = {{"batch", {1, 4}}};
  options.log = logger(
      [&](const log_record& r) {
        plans += r.message == "plan made" ? 1 : 0;
        EXPECT_LT(r.level, log_level::warning) << r.message;
      },
      log_level::debug);
  const auto bucketed = session::load(bytes, options);
  for (const std::int64_t n : {1, 2, 3, 4, 2, 1, 3}) {
    const tensor_map in = pictures(n);
    expect_near(bucketed.run(in), plain.run(in), 2e-5F);
  }
  EXPECT_EQ(plans, 2);
}

TEST(cuda_engine, runs_that_overlap) {
  const auto bytes = network().bytes();
  const auto plain = session::load(bytes);
  session_options options = on_gpu();
  options.async_runs = 3;
  const auto device = session::load(bytes, options);
  std::vector<std::future<tensor_map>> futures;
  for (int i = 0; i < 12; ++i) futures.push_back(device.run_async(pictures(1 + i % 2)));
  for (int i = 0; i < 12; ++i) {
    expect_near(futures[static_cast<std::size_t>(i)].get(), plain.run(pictures(1 + i % 2)), 2e-5F);
  }
}

// Of the emulated GPU only, which knows the variable.
class cuda_refusal : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(std::getenv("MIZZEN_CUDA_PLUGIN")).find("emulated") == std::string::npos) {
      GTEST_SKIP() << "a GPU refuses nothing on demand";
    }
    ::setenv("MIZZEN_EMULATED_REFUSES", GetParam(), 1);
  }
  void TearDown() override { ::unsetenv("MIZZEN_EMULATED_REFUSES"); }
};

TEST_P(cuda_refusal, runs_on_the_processor_with_a_warning) {
  const auto bytes = network().bytes();
  const auto plain = session::load(bytes);
  std::mutex mutex;
  std::vector<std::string> warnings;
  session_options options = on_gpu();
  options.log = logger(
      [&](const log_record& r) {
        std::string text(r.message);
        for (const log_field& f : r.fields) text += " " + f.value.dump();
        const std::lock_guard lock(mutex);
        warnings.push_back(std::move(text));
      },
      log_level::warning);
  const auto device = session::load(bytes, options);
  for (const std::int64_t n : {1, 2, 1}) {
    const tensor_map in = pictures(n);
    expect_near(device.run(in), plain.run(in), 2e-5F);
  }
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("part of the graph runs on the processor"), std::string::npos);
  EXPECT_NE(warnings[0].find("it was told to refuse"), std::string::npos) << warnings[0];
}

INSTANTIATE_TEST_SUITE_P(codes, cuda_refusal,
                         ::testing::Values("unimplemented", "resource_exhausted"));

TEST(cuda_engine, ends_that_data_tells) {
  // The Slice is the processor's; what is before and behind it, the device's.
  model_builder model;
  model.opset(22)
      .input("x", f32, {"n", 70})
      .initializer("w", noise({70, 70}, 2))
      .initializer("zero", ints({0}))
      .initializer("one", ints({1}))
      .initializer("scale", number(10))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("ReduceMax", {"x"}, {"most"}, {{"keepdims", 0}})
      .node("Mul", {"most", "scale"}, {"scaled"})
      .node("Cast", {"scaled"}, {"count"}, {{"to", 7}})
      .node("Unsqueeze", {"count", "zero"}, {"end"})
      .node("Slice", {"h", "zero", "end", "one"}, {"cut"})
      .node("Tanh", {"cut"}, {"y"})
      .output("y", f32, {"n", dimension()});
  const auto plain = session::load(model.bytes());
  const session device = on_device(model);
  tensor_map in;
  in.emplace("x", noise({3, 70}));
  for (const float most : {2.0F, 3.5F, 1.2F}) {
    in.at("x").data<float>()[0] = most;
    expect_near(device.run(in), plain.run(in), 2e-5F);
  }
  const std::string graph = device.dump_graph();
  EXPECT_NE(graph.find("mizzen.DevicePart("), std::string::npos) << graph;
  EXPECT_NE(graph.find(" = Slice("), std::string::npos) << graph;
}

}  // namespace
}  // namespace mizzen::inference
