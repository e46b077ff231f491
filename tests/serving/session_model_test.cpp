#include <mizzen/core/error.hpp>
#include <mizzen/inference/model_builder.hpp>
#include <mizzen/inference/session.hpp>
#include <mizzen/serving.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mizzen::serving {
namespace {

using inference::element_type;
using testing::ElementsAre;

// sum = a + b, twice = sum + sum.
inference::session adder() {
  inference::model_builder builder("adder");
  builder.input("a", element_type::float32, {"n"})
      .input("b", element_type::float32, {"n"})
      .output("sum", element_type::float32, {"n"})
      .output("twice", element_type::float32, {"n"})
      .node("Add", {"a", "b"}, {"sum"})
      .node("Add", {"sum", "sum"}, {"twice"});
  return inference::session::load(builder.bytes(), {.threads = 1});
}

TEST(SessionModel, IsServedLikeAnyOther) {
  server s({.port = 0, .workers = 2});
  s.add_model("adder", "1", adder());
  s.start();
  client c(s.url());
  const tensor a = tensor::copy(std::vector<float>{1, 2}, {2});
  const tensor b = tensor::copy(std::vector<float>{10, 20}, {2});
  const auto all = c.infer("adder", {{"a", a}, {"b", b}});
  EXPECT_THAT(all.at("sum").data<float>(), ElementsAre(11, 22));
  EXPECT_THAT(all.at("twice").data<float>(), ElementsAre(22, 44));
  const auto one = c.infer("adder", {{"a", a}, {"b", b}}, {.outputs = {"twice"}});
  EXPECT_EQ(one.size(), 1U);
  EXPECT_THAT(one.at("twice").data<float>(), ElementsAre(22, 44));

  // One symbol stands for one number: only the session can see that.
  const tensor longer = tensor::copy(std::vector<float>{1, 2, 3}, {3});
  try {
    c.infer("adder", {{"a", a}, {"b", longer}});
    ADD_FAILURE();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::invalid_argument) << e.what();
  }
  EXPECT_EQ(c.metadata("adder").platform, "onnx_mizzen");
}

TEST(SessionModel, SeveralThreadsShareOneSession) {
  const auto shared = make_model(adder());
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const float value = static_cast<float>(t * 1000 + i);
        infer_call call;
        call.inputs.emplace("a", tensor::copy(std::vector<float>{value}, {1}));
        call.inputs.emplace("b", tensor::copy(std::vector<float>{1}, {1}));
        if (shared->infer(call).at("sum").data<float>()[0] == value + 1) ++right;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(right, 200);
}

}  // namespace
}  // namespace mizzen::serving
