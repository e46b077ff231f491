// The client against a server that does what a real one cannot be made to do.
#include "../http/loopback.hpp"
#include "identities.hpp"
#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/server.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/leader_election.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/work_queue.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using http::make_response;
using http::request;
using http::response;
using http::test::event_loop;
using http::test::raw_listener;
using http::test::raw_socket;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* json_type = "application/json";

response refusal(int status, std::string reason, const char* retry_after = nullptr) {
  api_status body;
  body.status = "Failure";
  body.reason = std::move(reason);
  body.message = "refused";
  body.code = status;
  response made = make_response(status, json_type, to_json_value(body).dump());
  if (retry_after) made.headers.add("Retry-After", retry_after);
  return made;
}

// Answers as the test says, and remembers what was asked. https with a certificate of its own.
class fake_server {
 public:
  using answer = std::function<response(const request&, std::size_t count)>;

  fake_server(event_loop& loop, answer answers, bool tls = false)
      : answers_(std::move(answers)), server_(loop.executor(), options(tls), handler(this)) {}

  config as_config() const {
    config made;
    made.server = server_.url();
    made.insecure_skip_tls_verify = true;
    return made;
  }
  std::vector<request> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  static http::server_options options(bool tls) {
    http::server_options made;
    made.max_header = std::size_t{1} << 20;
    if (tls) {
      made.tls.certificate_pem = test::first_identity.certificate;
      made.tls.key_pem = test::first_identity.key;
    }
    return made;
  }
  static http::handler handler(fake_server* self) {
    return [self](request what) { return self->take(std::move(what)); };
  }
  asio::awaitable<response> take(request what) {
    std::size_t count = 0;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(what);
      count = requests_.size();
    }
    co_return answers_(what, count);
  }

  answer answers_;
  std::mutex mutex_;
  std::vector<request> requests_;
  http::server server_;
};

client_options quick() {
  client_options options;
  options.retry.first_wait = 1ms;
  options.retry.max_wait = 5ms;
  options.timeout = 60s;
  return options;
}

status_error refusal_of(event_loop& loop, const client& k8s, request what) {
  try {
    client copy = k8s;
    loop.run(copy.send(std::move(what)));
  } catch (const status_error& e) {
    return e;
  }
  ADD_FAILURE() << "it was not refused";
  return {"", 0, {}};
}

error failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const error& e) {
    return e;
  }
  return {errc::internal, "test", "nothing was thrown"};
}

request get(std::string path) {
  return {.method = "GET", .url = std::move(path), .headers = {}, .body = {}};
}
request post(std::string path, std::string body) {
  return {.method = "POST", .url = std::move(path), .headers = {}, .body = std::move(body)};
}

asio::awaitable<int> open_status(client k8s, std::string path) {
  const http::response_stream stream = co_await k8s.open(get(std::move(path)));
  co_return stream.head().status;
}

class KubernetesClientTest : public testing::Test {
 protected:
  event_loop loop;
};

TEST_F(KubernetesClientTest, GoesBelowThePrefixOfTheServer) {
  fake_server server(
      loop, [](const request&, std::size_t) { return make_response(200, json_type, "{}"); });
  config cluster = server.as_config();
  cluster.server += "/clusters/a/";
  cluster.impersonate.user = "jane";
  cluster.impersonate.groups = {"g1", "g2"};
  client k8s(loop.executor(), cluster, quick());
  loop.run(k8s.send(get("/api/v1/pods?limit=5")));
  const auto seen = server.requests();
  ASSERT_THAT(seen, SizeIs(1));
  EXPECT_EQ(seen[0].url, "/clusters/a/api/v1/pods?limit=5");
  EXPECT_EQ(seen[0].headers.value("Accept"), json_type);
  EXPECT_THAT(seen[0].headers.value("User-Agent"), HasSubstr("mizzen"));
  EXPECT_EQ(seen[0].headers.value("Impersonate-User"), "jane");
  EXPECT_THAT(seen[0].headers.values("Impersonate-Group"), ElementsAre("g1", "g2"));
}

TEST_F(KubernetesClientTest, CredentialsGoNowhereElse) {
  fake_server server(
      loop, [](const request&, std::size_t) { return make_response(200, json_type, "{}"); });
  client k8s(loop.executor(), server.as_config(), quick());
  for (const char* url : {"http://elsewhere.example/api", "//elsewhere.example/api", "", "api"}) {
    const error e = failure_of([&] { loop.run(k8s.send(get(url))); });
    EXPECT_EQ(e.code(), errc::invalid_argument) << url;
  }
  EXPECT_THAT(server.requests(), SizeIs(0));
}

TEST_F(KubernetesClientTest, OptionsThatCannotWorkAreRefused) {
  config cluster;
  cluster.server = "https://127.0.0.1:1";
  const auto refused = [&](auto change) {
    client_options options;
    change(options);
    return failure_of([&] { client(loop.executor(), cluster, options); });
  };
  EXPECT_EQ(refused([](auto& o) { o.qps = -1; }).subject(), "client_options.qps");
  EXPECT_EQ(refused([](auto& o) { o.burst = 0; }).subject(), "client_options.burst");
  EXPECT_EQ(refused([](auto& o) { o.field_manager = std::string(129, 'a'); }).subject(),
            "client_options.field_manager");
  EXPECT_EQ(refused([](auto& o) { o.retry.max_attempts = 0; }).code(), errc::invalid_argument);
}

TEST_F(KubernetesClientTest, RefusalsAreStatusErrorsWhateverTheBody) {
  fake_server server(loop, [](const request& what, std::size_t) -> response {
    if (what.url == "/status") return refusal(403, "Forbidden");
    if (what.url == "/page") return make_response(404, "text/html", "<html>not here</html>");
    if (what.url == "/cut") return make_response(409, json_type, R"({"kind":"Status","rea)");
    if (what.url == "/huge") return make_response(400, "text/plain", std::string(8 << 20, 'x'));
    return make_response(422, "", "");
  });
  client k8s(loop.executor(), server.as_config(), quick());
  const auto forbidden = refusal_of(loop, k8s, get("/status"));
  EXPECT_TRUE(is_forbidden(forbidden));
  EXPECT_EQ(forbidden.subject(), "GET /status");
  EXPECT_TRUE(is_not_found(refusal_of(loop, k8s, get("/page"))));
  EXPECT_THAT(refusal_of(loop, k8s, get("/cut")).what(), HasSubstr("no Status"));
  EXPECT_LT(refusal_of(loop, k8s, get("/huge")).message().size(), 1000U);
  EXPECT_TRUE(is_invalid(refusal_of(loop, k8s, get("/empty"))));
  // The same while a stream is opened.
  const error stream = failure_of([&] { loop.run(open_status(k8s, "/status")); });
  EXPECT_EQ(stream.code(), errc::permission_denied);
}

TEST_F(KubernetesClientTest, WhatWasNotCarriedOutIsSentAgain) {
  fake_server server(loop, [](const request&, std::size_t count) {
    if (count == 1) return refusal(429, "TooManyRequests", "0");
    if (count == 2) return refusal(503, "ServiceUnavailable", "0");
    return make_response(201, json_type, "{}");
  });
  client k8s(loop.executor(), server.as_config(), quick());
  EXPECT_EQ(loop.run(k8s.send(post("/a", "body"))).status, 201);
  const auto seen = server.requests();
  ASSERT_THAT(seen, SizeIs(3));
  for (const request& each : seen) EXPECT_EQ(each.body, "body");
}

TEST_F(KubernetesClientTest, OnlyReadsAreSentAgainWithoutSuchAWord) {
  fake_server server(loop, [](const request& what, std::size_t) {
    return what.url == "/429" ? refusal(429, "TooManyRequests")
                              : refusal(503, "ServiceUnavailable");
  });
  client_options options = quick();
  options.retry.max_attempts = 3;
  client k8s(loop.executor(), server.as_config(), options);
  const auto attempts = [&](request what) {
    const std::size_t before = server.requests().size();
    refusal_of(loop, k8s, std::move(what));
    return server.requests().size() - before;
  };
  EXPECT_EQ(attempts(post("/a", "")), 1U);
  EXPECT_EQ(attempts({.method = "PUT", .url = "/a", .headers = {}, .body = {}}), 1U);
  EXPECT_EQ(attempts({.method = "DELETE", .url = "/a", .headers = {}, .body = {}}), 1U);
  EXPECT_EQ(attempts(get("/a")), 3U);
  EXPECT_EQ(attempts(get("/429")), 1U);
  const std::size_t before = server.requests().size();
  call_options once;
  once.retry = false;
  EXPECT_THROW(loop.run(k8s.send(get("/a"), once)), status_error);
  EXPECT_EQ(server.requests().size() - before, 1U);
}

TEST_F(KubernetesClientTest, AWaitBeyondTheDeadlineIsNotBegun) {
  fake_server server(
      loop, [](const request&, std::size_t) { return refusal(429, "TooManyRequests", "3000"); });
  client k8s(loop.executor(), server.as_config(), quick());
  const auto e = refusal_of(loop, k8s, get("/a"));
  EXPECT_EQ(e.retry_after(), 3000s);
  EXPECT_THAT(server.requests(), SizeIs(1));
}

TEST_F(KubernetesClientTest, CutConnections) {
  raw_listener listener;
  std::atomic<int> connections = 0;
  std::thread cutter([&] {
    for (int i = 0; i < 3; ++i) {
      raw_socket peer = listener.accept();
      ++connections;
      peer.read_until("\r\n\r\n");
      if (i == 1) peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":");
      if (i == 2) peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
      peer.finish_sending();
    }
    // A POST may have been carried out: it is not sent twice.
    raw_socket peer = listener.accept();
    ++connections;
    peer.read_until("\r\n\r\n");
  });
  config cluster;
  cluster.server = listener.url();
  client k8s(loop.executor(), cluster, quick());
  EXPECT_EQ(loop.run(k8s.send(get("/a"))).body, "{}");
  EXPECT_EQ(connections, 3);
  const error e = failure_of([&] { loop.run(k8s.send(post("/a", ""))); });
  EXPECT_EQ(e.code(), errc::unavailable);
  cutter.join();
  EXPECT_EQ(connections, 4);
}

TEST_F(KubernetesClientTest, SilenceEndsAtTheDeadline) {
  raw_listener listener;
  config cluster;
  cluster.server = listener.url();
  client_options options = quick();
  options.timeout = 50ms;
  client k8s(loop.executor(), cluster, options);
  EXPECT_EQ(failure_of([&] { loop.run(k8s.send(get("/a"))); }).code(), errc::deadline_exceeded);
  EXPECT_EQ(failure_of([&] { loop.run(open_status(k8s, "/a")); }).code(), errc::deadline_exceeded);
  std::stop_source source;
  source.request_stop();
  call_options stopped;
  stopped.cancel.token = source.get_token();
  EXPECT_EQ(failure_of([&] { loop.run(k8s.send(get("/a"), stopped)); }).code(), errc::cancelled);
}

TEST_F(KubernetesClientTest, A401BringsTheNextTokenAndTokensMayBeLong) {
  const std::string good = "Bearer " + std::string(64 << 10, 'k');
  fake_server server(
      loop,
      [&](const request& what, std::size_t) {
        return what.headers.value("Authorization") == good ? make_response(200, json_type, "{}")
                                                           : refusal(401, "Unauthorized");
      },
      /*tls=*/true);
  const test::scratch folder;
  folder.write("token", "old");
  config cluster = server.as_config();
  cluster.user.token_file = folder / "token";
  client k8s(loop.executor(), cluster, quick());
  EXPECT_TRUE(is_unauthorized(refusal_of(loop, k8s, get("/a"))));
  folder.write("token", std::string(64 << 10, 'k') + "\n");
  EXPECT_EQ(loop.run(k8s.send(get("/a"))).status, 200);
}

TEST_F(KubernetesClientTest, WarningsAreHeard) {
  fake_server server(loop, [](const request&, std::size_t) {
    response made = make_response(200, json_type, "{}");
    made.headers.add("Warning", R"(299 - "old API")");
    made.headers.add("Warning", R"(299 - "odd name", 110 - "stale")");
    return made;
  });
  std::vector<std::string> heard;
  client_options options = quick();
  options.on_warning = [&](const warning& each) {
    heard.push_back(each.request + ": " + each.text);
  };
  client k8s(loop.executor(), server.as_config(), options);
  loop.run(k8s.send(get("/a")));
  EXPECT_THAT(heard, ElementsAre("GET /a: old API", "GET /a: odd name"));

  std::vector<std::string> logged;
  options.on_warning = {};
  options.log = logger([&](const log_record& each) {
    for (const log_field& field : each.fields) {
      if (field.key == "warning") logged.push_back(field.value.get<std::string>());
    }
  });
  client quiet(loop.executor(), server.as_config(), options);
  loop.run(quiet.send(get("/a")));
  loop.run(quiet.send(get("/b")));
  EXPECT_THAT(logged, ElementsAre("old API", "odd name"));
}

TEST_F(KubernetesClientTest, NamesNeverMeanTheCollection) {
  fake_server server(
      loop, [](const request&, std::size_t) { return make_response(200, json_type, "{}"); });
  client k8s(loop.executor(), server.as_config(), quick());
  const api<core_v1::pod> pods(k8s, "space");
  for (const char* name : {"", ".", "..", "a/b"}) {
    EXPECT_EQ(failure_of([&] { loop.run(pods.remove(name)); }).code(), errc::invalid_argument)
        << name;
  }
  EXPECT_EQ(failure_of([&] { loop.run(api<core_v1::pod>(k8s, all_namespaces).get("a")); }).code(),
            errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { api<core_v1::node>(k8s, "space"); }).code(), errc::invalid_argument);
  core_v1::pod other;
  other.metadata.namespace_ = "another";
  other.metadata.name = "a";
  EXPECT_EQ(failure_of([&] { loop.run(pods.create(other)); }).code(), errc::invalid_argument);
  EXPECT_THAT(server.requests(), SizeIs(0));
}

TEST_F(KubernetesClientTest, ACallOutlivesTheHandleThatMadeIt) {
  fake_server server(loop, [](const request&, std::size_t) {
    return make_response(200, json_type, R"({"metadata":{"name":"a"}})");
  });
  std::optional<api<core_v1::config_map>> maps;
  maps.emplace(client(loop.executor(), server.as_config(), quick()), "space");
  asio::awaitable<core_v1::config_map> call = maps->get("a");
  maps.reset();
  EXPECT_EQ(loop.run(std::move(call)).metadata.name, "a");
}

TEST_F(KubernetesClientTest, DamagedBodiesAreErrorsOfTheirField) {
  fake_server server(loop, [](const request& what, std::size_t) {
    if (what.url.ends_with("/text")) return make_response(200, "text/plain", "hello");
    if (what.url.ends_with("/type")) {
      return make_response(200, json_type, R"({"metadata":{"name":5}})");
    }
    if (what.url.ends_with("/proto")) {
      return make_response(200, "application/vnd.kubernetes.protobuf", "k8s");
    }
    if (what.url.ends_with("/cut")) return make_response(200, json_type, R"({"metadata":)");
    if (what.url.ends_with("/pods")) {
      return make_response(200, json_type, R"({"kind":"PodList","apiVersion":"v1","items":[{},)");
    }
    return make_response(200, json_type, "");
  });
  client k8s(loop.executor(), server.as_config(), quick());
  const api<core_v1::pod> pods(k8s, "space");
  for (const char* name : {"text", "type", "proto", "cut", "empty"}) {
    const error e = failure_of([&] { loop.run(pods.get(name)); });
    EXPECT_TRUE(e.code() == errc::data_loss || e.code() == errc::invalid_argument)
        << name << ": " << e.what();
  }
  EXPECT_THAT(failure_of([&] { loop.run(pods.get("type")); }).subject(),
              HasSubstr("metadata.name"));
  EXPECT_EQ(failure_of([&] { loop.run(pods.list()); }).code(), errc::data_loss);
}

response page(const char* names, const char* next) {
  return make_response(
      200, json_type,
      std::string(R"({"kind":"ConfigMapList","apiVersion":"v1","metadata":{"continue":")") + next +
          R"("},"items":[)" + names + "]}");
}

TEST_F(KubernetesClientTest, AListWhosePagesExpireStartsOverInOnePiece) {
  fake_server server(loop, [](const request& what, std::size_t) {
    if (what.url.find("continue=") != std::string::npos) return refusal(410, "Expired");
    if (what.url.find("limit=") != std::string::npos) {
      return page(R"({"metadata":{"name":"a"}})", "more");
    }
    return page(R"({"metadata":{"name":"a"}},{"metadata":{"name":"b"}})", "");
  });
  client k8s(loop.executor(), server.as_config(), quick());
  const api<core_v1::config_map> maps(k8s, "space");
  EXPECT_THAT(loop.run(maps.list_all({.label_selector = "x=y"})).items, SizeIs(2));
  const auto seen = server.requests();
  ASSERT_THAT(seen, SizeIs(3));
  for (const request& each : seen) EXPECT_THAT(each.url, HasSubstr("labelSelector=x%3Dy"));
  // Whoever takes the pages one by one is told.
  auto pages = maps.pages({.limit = 1});
  EXPECT_THAT(loop.run(pages.next())->items, SizeIs(1));
  const error e = failure_of([&] { loop.run(pages.next()); });
  EXPECT_EQ(e.code(), errc::failed_precondition);
}

asio::awaitable<int> number(client k8s) {
  const response answer = co_await k8s.send(get("/a"));
  co_return answer.status;
}
asio::awaitable<void> nothing(client k8s) { co_await k8s.send(get("/a")); }

TEST_F(KubernetesClientTest, BlockingRunsAProgramWithoutALoop) {
  fake_server server(loop, [](const request&, std::size_t count) {
    return count < 3 ? make_response(200, json_type, "{}") : refusal(404, "NotFound");
  });
  blocking k8s(server.as_config(), quick());
  EXPECT_EQ(k8s.run(number(k8s.client())), 200);
  k8s.run(nothing(k8s.client()));
  EXPECT_THROW(k8s.run(nothing(k8s.client())), status_error);
}

asio::awaitable<void> wait_for_ever(std::shared_ptr<int> witness, client k8s) {
  asio::steady_timer never(k8s.executor(), asio::steady_timer::time_point::max());
  co_await never.async_wait(asio::use_awaitable);
  *witness = 1;
}

TEST_F(KubernetesClientTest, HandlesMayOutliveBlocking) {
  fake_server server(loop, [](const request& what, std::size_t) {
    if (what.url.find("sendInitialEvents") != std::string::npos) return refusal(422, "Invalid");
    if (what.url.find("watch=") != std::string::npos) return refusal(503, "ServiceUnavailable");
    return make_response(
        200, json_type,
        R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},)"
        R"("items":[{"metadata":{"name":"a","namespace":"n","uid":"1"}}]})");
  });
  std::optional<blocking> k8s(std::in_place, server.as_config(), quick());
  const client outlives = k8s->client();
  const asio::any_io_executor executor = k8s->executor();
  informer<core_v1::pod> pods(api<core_v1::pod>(outlives, all_namespaces));
  const handler_id handler = pods.add_handler({});
  pods.start();
  k8s->run(pods.synced(handler));
  std::optional<http::response_stream> stream = k8s->run(outlives.open(get("/a")));
  work_queue<int> queue(executor);
  queue.add_after(1, 1h);
  leader_election election(outlives, {.namespace_ = "n", .name = "l"});
  asio::steady_timer timer(executor, 1h);
  timer.async_wait([outlives](boost::system::error_code) { FAIL(); });
  const auto witness = std::make_shared<int>(0);
  asio::co_spawn(executor, wait_for_ever(witness, outlives), asio::detached);
  k8s->run(nothing(outlives));
  EXPECT_EQ(witness.use_count(), 2);

  k8s.reset();
  EXPECT_EQ(witness.use_count(), 1) << "what waited in the loop is gone";
  asio::co_spawn(executor, wait_for_ever(witness, outlives), asio::detached);
  asio::post(executor, [outlives] { FAIL(); });
  EXPECT_EQ(witness.use_count(), 1) << "nothing is begun any more";
  EXPECT_EQ(pods.store().size(), 1U);
  pods.remove_handler(handler);
  queue.add(2);
  queue.shut_down();
  stream->close();
  timer.cancel();
  outlives.close_idle();
}

}  // namespace
}  // namespace mizzen::kubernetes
