// Serves models over HTTP in the Open Inference Protocol, with health, metrics and graceful drain.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/http/tls.hpp>
#include <mizzen/inference/session.hpp>
#include <mizzen/serving/model.hpp>
#include <mizzen/serving/v2.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::serving {

struct server_options {
  // Loopback by default; in a container say "0.0.0.0". Port 0 takes a free one.
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  http::tls_server_options tls = {};

  // Threads that run models; 0: available_cpus(). One more thread does the network, so that health
  // and metrics answer while every model is busy.
  unsigned workers = 0;

  // Requests that may wait for a worker; beyond it the answer is 503 with Retry-After.
  std::size_t max_queue = 256;

  // A request that has waited for longer, or whose model gives up at the deadline of its
  // infer_call, is answered with 504. Zero: no limit.
  std::chrono::milliseconds request_timeout{60'000};

  std::size_t max_body = std::size_t{64} << 20;
  std::size_t max_connections = 1024;
  v2::limits limits = {};

  // On drain: how long it goes on serving with readiness false, so that load balancers take note
  // before connections are refused; then how long requests in flight may take.
  std::chrono::milliseconds drain_delay{0};
  std::chrono::milliseconds drain_timeout{30'000};

  // Reported by GET /v2.
  std::string server_name = "mizzen";
  std::string server_version = "0.1.0";

  logger log = {};
};

// Endpoints:
//   GET  /v2                                          server metadata
//   GET  /v2/health/live, /v2/health/ready            200, or 503 when not ready
//   GET  /v2/models/{model}[/versions/{version}]      model metadata
//   GET  /v2/models/{model}[/versions/{version}]/ready
//   POST /v2/models/{model}[/versions/{version}]/infer
//   GET  /metrics                                     Prometheus text format 0.0.4
// Without a version the newest one answers: the greatest number, or the last by name.
// An error is {"error": "<field>: <what is wrong>"} with status 400, 404, 405, 413, 500, 503 or
// 504.
//
//   mz::serving::server server{{.host = "0.0.0.0"}};
//   server.add_model("digits", "1", mz::inference::session::load("digits.onnx"));
//   return server.run_until_signal();
//
// Thread safe, but start, drain and stop are for one owner. Threads: one for the network, `workers`
// for the models; started by start(), joined by stop().
class server {
 public:
  explicit server(server_options options = {});
  server(server&&) noexcept;
  server& operator=(server&&) noexcept;
  // As stop().
  ~server();

  // Makes a model known, also while serving. Throws error(already_exists) if the version is there
  // already, invalid_argument for an empty name or version.
  void add_model(std::string name, std::string version, std::shared_ptr<const model> what);
  void add_model(std::string name, std::string version, inference::session session);

  // False if there was none. Requests in flight still finish.
  bool remove_model(std::string_view name, std::string_view version);

  // Binds and serves in the background. Throws error(unavailable) if the port cannot be had.
  void start();

  // After start: the port and "http://host:port".
  std::uint16_t port() const;
  const std::string& url() const;

  // What GET /metrics answers.
  std::string metrics() const;

  // Readiness turns false at once; see drain_delay and drain_timeout for the rest. Blocks; true if
  // every request in flight was answered.
  bool drain();

  // Closes everything at once and joins the threads. No effect if not started.
  void stop() noexcept;

  // start() if need be, then waits for one of the signals (SIGTERM and SIGINT unless told
  // otherwise), drains and stops. Returns the exit status for main: 0, or 1 if the drain timed out.
  // A second signal while draining stops at once. The signals' handlers are this call's meanwhile.
  int run_until_signal();
  int run_until_signal(std::initializer_list<int> signals);

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace mizzen::serving
