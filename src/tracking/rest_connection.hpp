// Calls of a tracking server: one JSON message there, one back, over connections that are kept.
#pragma once

#include "tracking/backend.hpp"
#include "tracking/rest_settings.hpp"

#include <mizzen/core/json_fwd.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/http/transfer.hpp>

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {

// Whether doing a call twice is as doing it once; see server_options::max_retries.
enum class repeatable : bool { no, yes };

using query_parameters = std::vector<std::pair<std::string, std::string>>;

// Thread safe: calls run at once, each on a connection of its own, which the calling thread drives;
// there are no other threads. Idle connections are kept for the next call (8 at most).
//
// Errors of a call: mlflow_error for what the server refuses; else an error whose subject is the
// request ("GET http://host/api/…", without credentials): what http::client::send throws, data_loss
// for an answer that is not JSON, and for a status that brings none of MLflow's errors the errc
// nearest to it. Answers are bounded (64 MiB).
class rest_connection {
 public:
  // once: nothing is repeated, and an error that passes is a passing_error: each of the statuses
  // that are repeated otherwise, with the wait that Retry-After asks for, and each that does not
  // come from MLflow, but from something in between.
  enum class patience : bool { once, retrying };
  rest_connection(rest_settings settings, logger log, patience how = patience::retrying);
  ~rest_connection();
  rest_connection(const rest_connection&) = delete;
  rest_connection& operator=(const rest_connection&) = delete;

  const rest_settings& settings() const noexcept;

  // path: "/api/2.0/mlflow/runs/get".
  json get(std::string_view path, const query_parameters& query = {});
  json send(std::string_view method, std::string_view path, const json& body, repeatable again);

  struct transfer {
    repeatable again = repeatable::yes;
    // Whether the tracking server's credentials go along: not to the URLs of others.
    bool authorized = true;
    // Whether a status other than 2xx is an error.
    bool must_succeed = true;
    // Sent instead of the request's body, and gets the answer's if that is 2xx; both without a
    // limit to their size. An attempt goes on where the last one broke off.
    std::shared_ptr<http::body_source> source = nullptr;
    std::shared_ptr<http::resumable_sink> sink = nullptr;
    // Called before each attempt, for what changes from one to the next: a signature, say.
    std::function<void(http::request&)> prepare = {};
  };
  // Any request; what.url is absolute.
  http::response exchange(http::request what, const transfer& how);

  // Ends the calls that are under way or waiting to be repeated, and all later ones, with
  // error(cancelled). For a process that must not wait for a dead server any longer.
  void interrupt() noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

// "a=b&c=d", each percent-encoded.
std::string encode_query(const query_parameters& query);

}  // namespace mizzen::tracking::detail
