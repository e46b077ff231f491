// The drain of the log in front of servers, and of gateways that answer in their place.
#include "scripted_server.hpp"
#include "temporary_folder.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace mizzen::tracking {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

deadline soon() { return deadline::after(60s); }

// Without the waits between tries, which each flush ends.
bool flush_at_once(run& of) {
  const deadline until = soon();
  while (!until.expired()) {
    if (of.flush(deadline::after(50ms))) return true;
  }
  return false;
}

const std::string done = http_answer(200, "{}");
const std::string running =
    http_answer(200, R"({"run": {"info": {"run_id": "abc", "status": "RUNNING"}}})");
const std::string deleted = http_answer(
    200,
    R"({"run": {"info": {"run_id": "abc", "status": "RUNNING", "lifecycle_stage": "deleted"}}})");
const std::string refused =
    http_answer(400, R"({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"})");

class rest_drain : public testing::Test {
 protected:
  // Answers to what is drained; before that a run is resumed.
  scripted_server& serve(std::vector<std::string> answers) {
    answers.insert(answers.begin(), {done, running});
    server_.emplace(std::move(answers));
    return *server_;
  }
  client connect(std::chrono::milliseconds close_timeout = 10s) {
    return client({.uri = server_->url(),
                   .server = {.proxy = "", .timeout = 60s},
                   .writer = {.directory = logs_, .close_timeout = close_timeout}});
  }
  // The bodies of the batches that the server got.
  std::vector<json> batches() const {
    std::vector<json> found;
    for (const std::string& request : server_->requests()) {
      if (request.find("/runs/log-batch ") == std::string::npos) continue;
      found.push_back(json::parse(request.substr(request.find("\r\n\r\n") + 4)));
    }
    return found;
  }

  temporary_folder folder_;
  std::filesystem::path logs_ = folder_.path() / "logs";
  std::optional<scripted_server> server_;
};

// What a gateway says of a server that it cannot find is no word of the server's on the points.
TEST_F(rest_drain, takes_no_refusal_from_a_gateway) {
  serve({http_answer(404, "404 page not found", {}, "text/plain"),
         http_answer(400, "<h1>Bad Request</h1>", {}, "text/html"), http_answer(405, ""),
         http_answer(501, ""), http_answer(200, "<p>log in</p>", {}, "text/html"), "",
         http_answer(500, R"({"error_code": "INTERNAL_ERROR", "message": "x"})"), done});
  client c = connect();
  run into = c.resume_run("abc");
  into.log_metric("loss", 0.5, {.step = 7});
  EXPECT_TRUE(flush_at_once(into));
  EXPECT_EQ(c.status().rejected, 0U);
  ASSERT_THAT(batches(), SizeIs(8));
  for (const json& body : batches()) EXPECT_EQ(body, batches().front());
}

TEST_F(rest_drain, waits_as_long_as_it_is_asked_to) {
  serve({http_answer(429, "", "Retry-After: 1\r\n"), done});
  client c = connect();
  run into = c.resume_run("abc");
  const auto begin = std::chrono::steady_clock::now();
  into.log_metric("loss", 0.5);
  EXPECT_TRUE(into.flush(soon()));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s);
  EXPECT_THAT(batches(), SizeIs(2));
}

// The server was away, and the next try would be far off: a flush does not wait for that.
TEST_F(rest_drain, a_flush_tries_at_once) {
  serve({""});
  client c = connect(0ms);
  run into = c.resume_run("abc");
  into.log_metric("loss", 0.5);
  while (batches().size() < 6) EXPECT_FALSE(into.flush(deadline::after(50ms)));
  server_->answer({done});
  EXPECT_TRUE(into.flush(soon()));
}

TEST_F(rest_drain, halves_what_is_too_large_for_a_gateway) {
  serve({http_answer(413, "<h1>Request Entity Too Large</h1>", {}, "text/html"), done});
  client c = connect();
  run into = c.resume_run("abc");
  std::vector<metric> points;
  for (int step = 0; step < 100; ++step) points.push_back({"loss", 0.5, step, 1});
  into.log_metrics(points);
  EXPECT_TRUE(into.flush(soon()));
  EXPECT_EQ(c.status().rejected, 0U);
  std::size_t taken = 0;
  const auto sent = batches();
  for (std::size_t i = 1; i < sent.size(); ++i) taken += sent[i]["metrics"].size();
  EXPECT_EQ(taken, 100U);
}

// One look at the run, instead of a refusal of each of its points.
TEST_F(rest_drain, a_deleted_run_is_given_up_at_once) {
  serve({refused, deleted, done});
  client c = connect();
  run into = c.resume_run("abc");
  std::vector<metric> points;
  for (int step = 0; step < 500; ++step) points.push_back({"loss", 0.5, step, 1});
  into.log_metrics(points);
  EXPECT_TRUE(into.flush(soon()));
  EXPECT_GE(c.status().rejected, 1U);
  EXPECT_LE(batches().size(), 20U);
  EXPECT_THAT(read_file(logs_ / "rejected.jsonl"), HasSubstr("it is deleted"));
}

TEST_F(rest_drain, what_the_server_refuses_is_kept_and_the_rest_is_sent) {
  serve({refused, running, done});
  client c = connect();
  run into = c.resume_run("abc");
  into.set_tag("a", "1");
  EXPECT_TRUE(into.flush(soon()));
  EXPECT_EQ(c.status().rejected, 1U);
  EXPECT_THAT(read_file(logs_ / "rejected.jsonl"), HasSubstr(R"("tag":"a")"));
  into.set_tag("b", "2");
  EXPECT_TRUE(into.flush(soon()));
  EXPECT_EQ(c.status().rejected, 1U);
  EXPECT_EQ(batches().back()["tags"][0]["key"], "b");
}

// A second answer in one go is not taken for the answer to what comes next.
TEST_F(rest_drain, an_answer_that_comes_twice_answers_once) {
  const std::string kept =
      "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
  serve({kept + kept, "", done});
  client c = connect();
  run into = c.resume_run("abc");
  into.set_tag("a", "1");
  EXPECT_TRUE(into.flush(soon()));
  into.set_tag("b", "2");
  EXPECT_TRUE(into.flush(soon()));
  const auto sent = batches();
  ASSERT_THAT(sent, SizeIs(3));  // the second of b
  EXPECT_EQ(sent[1], sent[2]);
  EXPECT_EQ(sent[2]["tags"][0]["key"], "b");
}

TEST_F(rest_drain, a_dead_server_does_not_keep_the_process) {
  serve({std::string(scripted_server::silence)});
  {
    client c = connect(100ms);
    run into = c.resume_run("abc");
    into.log_metric("loss", 0.5);
    while (batches().empty()) std::this_thread::sleep_for(1ms);
  }
  server_->answer({done});
  client next = connect();
  EXPECT_TRUE(next.flush(soon()));
  EXPECT_GE(next.status().adopted, 1U);
  EXPECT_EQ(batches().back()["run_id"], "abc");
}

}  // namespace
}  // namespace mizzen::tracking
