// Where a tracking server is, who calls, and how patiently: options, URI and environment in one.
#pragma once

#include <mizzen/tracking/server_options.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// The wait before a call is sent again, in MLflow's terms; see server_options.
struct rest_patience {
  int max_retries = 7;
  double backoff_factor = 2;
  double backoff_jitter = 1;
  bool respect_retry_after = true;
};

struct rest_settings {
  std::string url = {};  // "https://host:port/prefix", no credentials, no slash at the end
  std::string authorization = {};  // header value, or empty
  std::string workspace = {};
  std::string proxy = {};
  bool verify_tls = true;
  std::string server_certificate_file = {};
  std::string client_certificate_file = {};
  std::chrono::seconds timeout{120};
  rest_patience patience = {};
};

// The value of an environment variable, or nothing. Empty counts as unset.
using environment = std::function<std::optional<std::string>(std::string_view name)>;
environment process_environment();

// "true", "1", "false" or "0" in any case. Throws invalid_argument naming the field.
bool parse_flag(std::string_view field, std::string_view text);

// uri: http:// or https://, perhaps with user:password@. Throws invalid_argument. The credentials
// file is <HOME>/.mlflow/credentials.
rest_settings resolve_rest_settings(std::string_view uri, const server_options& options,
                                    const environment& env);

// User and password of MLflow's credentials file (an INI text), each if it is there.
struct stored_credentials {
  std::optional<std::string> username = std::nullopt;
  std::optional<std::string> password = std::nullopt;
};
stored_credentials parse_credentials(std::string_view text);

// Whether a request is sent again, and when: no clock, no socket. Counts the attempts of one call.
class rest_retry {
 public:
  // repeatable: doing it twice is as doing it once.
  rest_retry(const rest_patience& patience, bool repeatable, std::uint64_t seed)
      : patience_(patience), repeatable_(repeatable), random_(seed) {}

  // Whether an answer of this status may be another one next time.
  static bool is_transient(int status) noexcept;
  // The wait after an answer of this status; nothing when the answer stands.
  std::optional<std::chrono::milliseconds> after_status(
      int status, std::optional<std::chrono::seconds> retry_after);
  // The wait after a broken connection or a timeout. was_sent: whether any byte had left.
  std::optional<std::chrono::milliseconds> after_failure(bool was_sent);

 private:
  std::optional<std::chrono::milliseconds> again(std::optional<std::chrono::seconds> asked);

  rest_patience patience_;
  bool repeatable_;
  std::uint64_t random_;
  int retries_ = 0;
};

}  // namespace mizzen::tracking::detail
