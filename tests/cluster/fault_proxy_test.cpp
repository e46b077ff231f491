// The fault proxy does what it is asked to.
#include "fault_proxy.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>

#include <gmock/gmock.h>

#include <chrono>
#include <optional>
#include <utility>

namespace mizzen::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

class fault_proxy_test : public cluster_test {
 protected:
  void SetUp() override {
    cluster_test::SetUp();
    if (IsSkipped()) return;
    proxy_.emplace(cluster());
    client_.emplace(http::client_options{.tls = {.ca_file = cluster().ca_file()}});
  }
  http::response get(const std::string& target) {
    http::request get{.url = proxy_->url() + target,
                      .headers = {{"Authorization", "Bearer " + cluster().admin_token()}}};
    return client_->send(std::move(get));
  }
  errc failure(const std::string& target) {
    try {
      get(target);
    } catch (const error& problem) {
      return problem.code();
    }
    ADD_FAILURE() << target << " did not fail";
    return errc::unknown;
  }

  std::optional<fault_proxy> proxy_;
  std::optional<http::blocking_client> client_;
};

const std::string namespaces = "/api/v1/namespaces";
// A watch that the server ends by itself, with what there is at its start.
const std::string watch =
    namespaces + "?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Ddefault";

TEST_F(fault_proxy_test, passes_requests_and_counts_them) {
  EXPECT_EQ(get(namespaces).status, 200);
  EXPECT_EQ(get("/api/v1/pods?limit=1").status, 200);
  EXPECT_EQ(get("/nothing").status, 404);
  EXPECT_THAT(get(watch).body, HasSubstr("ADDED"));
  const auto seen = proxy_->look();
  ASSERT_EQ(seen.requests.size(), 4U);
  EXPECT_EQ(seen.requests[1].target, "/api/v1/pods?limit=1");
  EXPECT_EQ(seen.requests[2].status, 404);
  EXPECT_EQ(seen.accepted, 1);
  EXPECT_EQ(seen.open, 1);
}

TEST_F(fault_proxy_test, answers_by_itself) {
  proxy_->add(
      {.target = "^/api/v1/namespaces$", .skip = 1, .times = 2, .status = 429, .retry_after = 3});
  EXPECT_EQ(get(namespaces).status, 200);
  const http::response busy = get(namespaces);
  EXPECT_EQ(busy.status, 429);
  EXPECT_EQ(busy.headers.value("retry-after"), "3");
  EXPECT_THAT(busy.body, HasSubstr("TooManyRequests"));
  EXPECT_EQ(get(namespaces).status, 429);
  EXPECT_EQ(get(namespaces).status, 200);
  proxy_->add({.status = 200, .body = "{\"kind\":"});
  EXPECT_EQ(get(namespaces).body, "{\"kind\":");
}

TEST_F(fault_proxy_test, ends_answers_badly) {
  proxy_->add({.after_bytes = 10, .end = "reset"});
  EXPECT_EQ(failure(namespaces), errc::unavailable);
  proxy_->add({.after_bytes = 10, .end = "close"});
  EXPECT_EQ(failure(namespaces), errc::unavailable);
  proxy_->add({.end = "reset", .when = "before_response"});
  proxy_->add({.end = "reset", .when = "before_response"});
  EXPECT_EQ(failure(namespaces), errc::unavailable);
  proxy_->clear();
  proxy_->add({.after_events = 1, .end = "truncated_chunk"});
  EXPECT_EQ(failure(watch), errc::unavailable);
  proxy_->add({.after_events = 1, .end = "bad_chunk"});
  EXPECT_EQ(failure(watch), errc::data_loss);
}

TEST_F(fault_proxy_test, ends_watches_in_good_order) {
  proxy_->add({.after_events = 1, .inject = watch_error(410, "Expired"), .end = "complete"});
  const std::string body = get(watch).body;
  EXPECT_THAT(body, HasSubstr("ADDED"));
  EXPECT_THAT(body, HasSubstr("\"code\":410"));
  EXPECT_THAT(body, EndsWith("\"type\":\"ERROR\"}\n"));
}

TEST_F(fault_proxy_test, closes_after_a_whole_answer_or_before_the_request_is_whole) {
  int connections = 1;
  for (const char* end : {"close", "reset", "no_notify"}) {
    proxy_->add({.end = end});
    EXPECT_EQ(get(namespaces).status, 200) << end;
    EXPECT_EQ(proxy_->look().accepted, connections) << end;
    EXPECT_EQ(get(namespaces).status, 200) << end;  // on another connection
    EXPECT_EQ(proxy_->look().accepted, ++connections) << end;
  }
  proxy_->add({.status = 413, .end = "close", .when = "early"});
  EXPECT_EQ(get(namespaces).status, 413);
  EXPECT_EQ(proxy_->look().accepted, connections);
}

TEST_F(fault_proxy_test, goes_silent) {
  client_.emplace(http::client_options{.tls = {.ca_file = cluster().ca_file()},
                                       .timeout = std::chrono::milliseconds(500)});
  proxy_->add({.after_bytes = 10, .end = "half_open"});
  EXPECT_EQ(failure(namespaces), errc::deadline_exceeded);
  proxy_->freeze();
  EXPECT_EQ(failure(namespaces), errc::deadline_exceeded);
  proxy_->freeze(false);
  client_.emplace(http::client_options{.tls = {.ca_file = cluster().ca_file()}});
  EXPECT_EQ(get(namespaces).status, 200);
  proxy_->cut();
  EXPECT_EQ(get(namespaces).status, 200);  // on another connection
}

TEST_F(fault_proxy_test, serves_kubectl) {
  EXPECT_THAT(cluster().kubectl({"--kubeconfig=" + proxy_->kubeconfig(), "get", "nodes"}),
              HasSubstr("fake-gpu"));
}

}  // namespace
}  // namespace mizzen::test
