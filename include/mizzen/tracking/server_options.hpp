// How a tracking server is reached.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace mizzen::tracking {

// What is left out comes from the environment, by MLflow's names and with MLflow's meaning and
// defaults; a value of a wrong form there is error(invalid_argument) naming the variable.
//
// Who calls: username and password (here, else in the URI, else MLFLOW_TRACKING_USERNAME and
// _PASSWORD, else the file ~/.mlflow/credentials) as HTTP basic authentication; else the token
// (here, else MLFLOW_TRACKING_TOKEN) as a bearer token.
struct server_options {
  std::string username = {};
  std::string password = {};
  std::string token = {};

  // Header X-MLFLOW-WORKSPACE, for servers with workspaces (MLFLOW_WORKSPACE).
  std::string workspace = {};

  // Accept any certificate (MLFLOW_TRACKING_INSECURE_TLS). Not together with the next.
  std::optional<bool> insecure_tls = std::nullopt;
  // PEM file of the authorities to trust (MLFLOW_TRACKING_SERVER_CERT_PATH).
  std::string server_certificate_file = {};
  // PEM file with the client's own certificate and its key (MLFLOW_TRACKING_CLIENT_CERT_PATH).
  std::string client_certificate_file = {};

  // As http::client_options::proxy; "" is none. Left out: HTTPS_PROXY or HTTP_PROXY, else
  // ALL_PROXY, unless NO_PROXY lists the host (names, domains with or without a leading dot, "*").
  std::optional<std::string> proxy = std::nullopt;

  // How long the server may be silent, and how long one attempt of an API call may take
  // (MLFLOW_HTTP_REQUEST_TIMEOUT, 120 s). Transfers of files are held to the first only.
  std::optional<std::chrono::seconds> timeout = std::nullopt;
  // How often a call is repeated (MLFLOW_HTTP_REQUEST_MAX_RETRIES, 7) after 408, 429, 500, 502,
  // 503, 504 or a broken connection. A call that would do its work twice (create_*, start_run,
  // register_model, …) is repeated only where it was certainly not carried out: when nothing of it
  // was sent, after 429, and after 503 with Retry-After.
  std::optional<int> max_retries = std::nullopt;
  // The nth wait is factor * 2^(n-1) seconds (none before the first), at most 120 s
  // (MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR, 2), and up to jitter seconds more
  // (MLFLOW_HTTP_REQUEST_BACKOFF_JITTER, 1). What Retry-After asks for comes first, up to 120 s,
  // unless MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER is false.
  std::optional<double> backoff_factor = std::nullopt;
  std::optional<double> backoff_jitter = std::nullopt;
};

}  // namespace mizzen::tracking
