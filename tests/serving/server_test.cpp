#include "../http/loopback.hpp"
#include "models.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/serving.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::serving {
namespace {

using namespace std::chrono_literals;
using http::test::eventually;
using http::test::raw_socket;
using test::gate;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view two =
    R"({"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]})";
constexpr std::string_view none = R"({"inputs":[]})";

struct answer {
  int status;
  json body;
};

class ServingTest : public testing::Test {
 protected:
  void start(server_options options = {}) {
    options.port = 0;
    if (options.workers == 0) options.workers = 2;
    s.emplace(std::move(options));
    s->add_model("double", "1", test::doubling_model());
    s->add_model("gate", "1", test::gated_model(g));
    s->start();
  }
  answer get(const std::string& path) {
    const http::response r = web.get(s->url() + path);
    return {r.status, json::parse(r.body, nullptr, false)};
  }
  answer infer(const std::string& path, std::string_view body) {
    const http::response r = web.post(s->url() + path, "application/json", std::string(body));
    EXPECT_EQ(r.headers.value("content-type"), "application/json");
    return {r.status, json::parse(r.body, nullptr, false)};
  }
  // Sends an inference request on a thread of its own; gives its status.
  std::future<int> infer_async(std::string model) {
    return std::async(std::launch::async, [url = s->url(), model = std::move(model)] {
      http::blocking_client own;
      return own.post(url + "/v2/models/" + model + "/infer", "application/json", std::string(none))
          .status;
    });
  }

  gate g;
  std::optional<server> s;
  http::blocking_client web;
};

TEST_F(ServingTest, DescribesItself) {
  start({.server_name = "test", .server_version = "9"});
  EXPECT_EQ(get("/v2").body,
            json::parse(R"({"name":"test","version":"9","extensions":["binary_tensor_data"]})"));
  EXPECT_EQ(get("/v2/health/live").status, 200);
  EXPECT_EQ(get("/v2/health/ready").status, 200);
  EXPECT_EQ(get("/v2/models/double").body["inputs"][0]["shape"], json::parse("[-1,2]"));
  EXPECT_EQ(get("/v2/models/double/versions/1").body["versions"], json::parse(R"(["1"])"));
  EXPECT_EQ(get("/v2/models/double/ready").body["ready"], true);
  EXPECT_EQ(get("/v2/models/double/versions/1/ready").status, 200);
  EXPECT_EQ(get("/v2/models/none").status, 404);
  EXPECT_THAT(get("/v2/models/double/versions/2").body["error"].get<std::string>(),
              HasSubstr("has no version '2'; there is '1'"));
  for (const char* path : {"/", "/v3", "/v2/models", "/v2/models/double/versions",
                           "/v2/models/double/nothing", "/v2/models/double/infer/more"}) {
    EXPECT_EQ(get(path).status, 404) << path;
  }
  EXPECT_EQ(get("/v2/models/double/infer").status, 405);
  raw_socket broken = raw_socket::connect(s->port());
  broken.send("GET /v2/%zz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(broken.read_all(), testing::StartsWith("HTTP/1.1 400 "));
  const http::response wrong = web.post(s->url() + "/v2", "text/plain", "");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.value("Allow"), "GET, HEAD");
}

TEST_F(ServingTest, InfersWithAndWithoutAVersion) {
  start();
  for (const char* path : {"/v2/models/double/infer", "/v2/models/double/versions/1/infer"}) {
    const answer a = infer(path, two);
    EXPECT_EQ(a.status, 200);
    EXPECT_EQ(a.body, json::parse(R"({"model_name":"double","model_version":"1","id":"7",
      "outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[2,4]}]})"));
  }
}

TEST_F(ServingTest, WhatIsWrongIsNamedAndTheServerGoesOn) {
  start({.max_body = 4096});
  const auto message = [&](std::string_view body) {
    const answer a = infer("/v2/models/double/infer", body);
    EXPECT_EQ(a.status, 400);
    return a.body["error"].get<std::string>();
  };
  EXPECT_THAT(message("junk"), HasSubstr("request: expected an object"));
  EXPECT_THAT(message("{}"), HasSubstr("inputs: is missing"));
  EXPECT_THAT(
      message(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]})"),
      HasSubstr("inputs[0].shape: 'x' takes float32[batch, 2], not [1, 3]"));
  EXPECT_THAT(
      message(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[134217728,2],"data":[1]}]})"),
      HasSubstr("inputs[0].data: expected 268435456 elements"));
  EXPECT_EQ(infer("/v2/models/double/infer", std::string(5000, ' ')).status, 413);
  http::request packed{.method = "POST", .url = s->url() + "/v2/models/double/infer"};
  packed.headers.add("Content-Encoding", "gzip");
  EXPECT_EQ(web.send(packed).status, 415);
  http::request odd{.method = "POST", .url = s->url() + "/v2/models/double/infer"};
  odd.headers.add("Inference-Header-Content-Length", "many");
  const http::response refused = web.send(odd);
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("Inference-Header-Content-Length"));
  EXPECT_EQ(infer("/v2/models/double/infer", two).status, 200);
}

TEST_F(ServingTest, FailuresOfModelsAreTheirOwn) {
  start();
  const auto failing = [](auto what) {
    return make_model({}, [what](const infer_call&) -> inference::tensor_map { throw what; });
  };
  s->add_model("mine", "1", failing(std::runtime_error("secret")));
  s->add_model("odd", "1", failing(42));
  s->add_model("yours", "1", failing(error(errc::invalid_argument, "x", "is too red")));
  s->add_model("busy", "1", failing(error(errc::unavailable, "gpu", "is away")));
  s->add_model("less", "1",
               make_model({.outputs = {{"y", inference::element_type::float32, std::nullopt}}},
                          [](const infer_call&) { return inference::tensor_map{}; }));
  EXPECT_EQ(infer("/v2/models/mine/infer", none).status, 500);
  EXPECT_THAT(infer("/v2/models/mine/infer", none).body.dump(), testing::Not(HasSubstr("secret")));
  EXPECT_EQ(infer("/v2/models/odd/infer", none).status, 500);
  EXPECT_EQ(infer("/v2/models/yours/infer", none).status, 400);
  EXPECT_EQ(infer("/v2/models/yours/infer", none).body["error"], "x: is too red");
  EXPECT_EQ(infer("/v2/models/busy/infer", none).status, 503);
  EXPECT_EQ(infer("/v2/models/less/infer", none).status, 500);
  EXPECT_EQ(infer("/v2/models/double/infer", two).status, 200);
}

TEST_F(ServingTest, ModelsComeAndGo) {
  start();
  s->add_model("double", "2", test::doubling_model());
  EXPECT_EQ(infer("/v2/models/double/infer", two).body["model_version"], "2");
  EXPECT_TRUE(s->remove_model("double", "2"));
  EXPECT_EQ(infer("/v2/models/double/infer", two).body["model_version"], "1");
  EXPECT_TRUE(s->remove_model("double", "1"));
  EXPECT_EQ(infer("/v2/models/double/infer", two).status, 404);
}

TEST_F(ServingTest, AModelThatIsNotReadyHoldsTheServerBack) {
  struct loading final : model {
    const model_metadata& metadata() const noexcept override { return about; }
    inference::tensor_map infer(const infer_call&) const override { return {}; }
    bool ready() const noexcept override { return done; }
    model_metadata about;
    std::atomic<bool> done = false;
  };
  start();
  const auto slow = std::make_shared<loading>();
  s->add_model("slow", "1", slow);
  EXPECT_EQ(get("/v2/health/ready").status, 503);
  EXPECT_EQ(get("/v2/health/live").status, 200);
  EXPECT_EQ(get("/v2/models/slow/ready").status, 503);
  EXPECT_EQ(infer("/v2/models/slow/infer", none).status, 503);
  EXPECT_EQ(infer("/v2/models/double/infer", two).status, 200);
  slow->done = true;
  EXPECT_EQ(get("/v2/health/ready").status, 200);
  EXPECT_EQ(infer("/v2/models/slow/infer", none).status, 200);
}

TEST_F(ServingTest, HealthAnswersWhileEveryWorkerIsBusyAndTheQueueIsBounded) {
  start({.workers = 1, .max_queue = 1});
  auto running = infer_async("gate");
  ASSERT_TRUE(eventually([&] { return g.waiting() == 1; }));
  auto queued = infer_async("gate");
  ASSERT_TRUE(eventually(
      [&] { return s->metrics().find("mizzen_queue_length 1\n") != std::string::npos; }));
  EXPECT_EQ(get("/v2/health/ready").status, 200);
  const http::response full =
      web.post(s->url() + "/v2/models/gate/infer", "application/json", std::string(none));
  EXPECT_EQ(full.status, 503);
  EXPECT_EQ(full.headers.value("Retry-After"), "1");
  g.open();
  EXPECT_EQ(running.get(), 200);
  EXPECT_EQ(queued.get(), 200);
}

TEST_F(ServingTest, ARequestThatTakesTooLongIs504) {
  start({.request_timeout = 30ms});
  EXPECT_EQ(infer("/v2/models/gate/infer", none).status, 504);
}

TEST_F(ServingTest, AClientThatGoesAwayCancelsItsModel) {
  start();
  raw_socket c = raw_socket::connect(s->port());
  c.send("POST /v2/models/gate/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\n" +
         std::string(none));
  ASSERT_TRUE(eventually([&] { return g.waiting() == 1; }));
  c.reset();
  EXPECT_TRUE(eventually([&] { return g.cancelled() == 1; }));
}

TEST_F(ServingTest, RawNonsenseDoesNotHurt) {
  start();
  for (const std::string& text :
       {std::string(
            "POST /v2/models/double/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n{\"in"),
        std::string("\0\1\2\3", 4), std::string("GET /v2 HT"),
        "GET /v2 HTTP/1.1\r\nX: " + std::string(40'000, 'x')}) {
    for (const bool reset : {false, true}) {
      raw_socket c = raw_socket::connect(s->port());
      c.send(text);
      if (reset) c.reset();
    }
  }
  raw_socket pipelined = raw_socket::connect(s->port());
  const std::string one = "POST /v2/models/double/infer HTTP/1.1\r\nHost: h\r\nContent-Length: " +
                          std::to_string(two.size()) + "\r\n\r\n" + std::string(two);
  pipelined.send(one + one +
                 "GET /v2/health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string answers = pipelined.read_all();
  EXPECT_THAT(answers, testing::ContainsRegex("data\":\\[2,4\\].*data\":\\[2,4\\].*live"));
  EXPECT_EQ(infer("/v2/models/double/infer", two).status, 200);
}

TEST_F(ServingTest, DrainFinishesWhatIsInFlight) {
  start();
  auto running = infer_async("gate");
  ASSERT_TRUE(eventually([&] { return g.waiting() == 1; }));
  auto drained = std::async(std::launch::async, [&] { return s->drain(); });
  ASSERT_TRUE(
      eventually([&] { return s->metrics().find("mizzen_ready 0\n") != std::string::npos; }));
  EXPECT_TRUE(eventually([&] {
    try {
      raw_socket::connect(s->port());
      return false;
    } catch (const std::runtime_error&) {
      return true;
    }
  }));
  g.open();
  EXPECT_EQ(running.get(), 200);
  EXPECT_TRUE(drained.get());
  s->stop();
}

TEST_F(ServingTest, DrainDelayKeepsServingWithReadinessFalse) {
  start({.drain_delay = 600s});
  auto drained = std::async(std::launch::async, [&] { return s->drain(); });
  EXPECT_TRUE(eventually([&] { return get("/v2/health/ready").status == 503; }));
  EXPECT_EQ(infer("/v2/models/double/infer", two).status, 200);
  EXPECT_EQ(get("/v2/health/live").status, 200);
  s->stop();  // cuts the delay short
  EXPECT_FALSE(drained.get());
}

TEST_F(ServingTest, StopCancelsWhatRunsAndRefusesWhatWaits) {
  start({.workers = 1});
  std::vector<raw_socket> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(raw_socket::connect(s->port()));
    clients.back().send(
        "POST /v2/models/gate/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\n" +
        std::string(none));
  }
  ASSERT_TRUE(eventually([&] { return g.waiting() == 1; }));
  s->stop();
  EXPECT_EQ(g.cancelled(), 1);
}

TEST_F(ServingTest, MetricsCount) {
  start();
  infer("/v2/models/double/infer", two);
  infer("/v2/models/double/infer", "{}");
  const std::string text = s->metrics();
  EXPECT_THAT(text, HasSubstr("mizzen_inference_requests_total{model=\"double\",version=\"1\","
                              "status=\"200\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("status=\"400\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("mizzen_inference_duration_seconds_count{model=\"double\","
                              "version=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));
  EXPECT_EQ(web.get(s->url() + "/metrics").headers.value("Content-Type"),
            "text/plain; version=0.0.4; charset=utf-8");
}

TEST_F(ServingTest, Misuse) {
  server unstarted;
  EXPECT_THROW(unstarted.port(), error);
  EXPECT_TRUE(unstarted.drain());
  start();
  EXPECT_THROW(s->start(), error);
  EXPECT_THROW(s->add_model("double", "1", test::doubling_model()), error);
  server taken({.port = s->port()});
  EXPECT_THROW(taken.start(), error);
}

TEST_F(ServingTest, ManyClientsAtOnce) {
  start();
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      client c(s->url(), {.binary = t % 2 == 0});
      for (int i = 0; i < 50; ++i) {
        const std::vector<float> values = {static_cast<float>(t), static_cast<float>(i)};
        const auto outputs = c.infer("double", {{"x", tensor::copy(values, {1, 2})}});
        const auto y = outputs.at("y").data<float>();
        if (y[0] == values[0] * 2 && y[1] == values[1] * 2) ++right;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(right, 200);
  EXPECT_TRUE(s->drain());
}

TEST_F(ServingTest, TheClient) {
  start();
  client c(s->url() + "/");
  EXPECT_TRUE(c.live());
  EXPECT_TRUE(c.ready());
  EXPECT_TRUE(c.model_ready("double/versions/1"));
  EXPECT_EQ(c.metadata("double").inputs.at(0).name, "x");
  inference::tensor_map inputs;
  inputs.emplace("x", tensor::copy(std::vector<float>{1, 2, 3, 4}, {2, 2}));
  const auto outputs = c.infer("double/versions/1", inputs, {.outputs = {"y"}});
  EXPECT_THAT(outputs.at("y").data<float>(), ElementsAre(2, 4, 6, 8));
  EXPECT_THAT(outputs.at("y").shape(), ElementsAre(2, 2));
  const auto code = [&](auto call) {
    try {
      call();
    } catch (const error& e) {
      return std::pair(e.code(), std::string(e.what()));
    }
    return std::pair(errc::internal, std::string());
  };
  EXPECT_EQ(code([&] { c.metadata("nothing"); }).first, errc::not_found);
  const auto wrong = code([&] { c.infer("double", inputs, {.outputs = {"q"}}); });
  EXPECT_EQ(wrong.first, errc::invalid_argument);
  EXPECT_THAT(wrong.second, HasSubstr("outputs[0].name: the model has no output 'q'"));
  const mizzen::cancellation late{{}, deadline::after(-1s)};
  EXPECT_EQ(code([&] { c.infer("double", inputs, {.cancel = late}); }).first,
            errc::deadline_exceeded);
}

}  // namespace
}  // namespace mizzen::serving
