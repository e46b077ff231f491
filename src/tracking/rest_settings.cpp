#include "tracking/rest_settings.hpp"

#include "core/base64.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_credentials = std::size_t{64} << 10;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

double number(std::string_view field, std::string_view text, double least, double most) {
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end != text.data() + text.size() || !(value >= least) ||
      !(value <= most)) {
    throw error(errc::invalid_argument, field,
                "'" + std::string(text) + "' is not a number from " +
                    std::to_string(static_cast<long long>(least)) + " to " +
                    std::to_string(static_cast<long long>(most)));
  }
  return value;
}

// A value from the options or the environment's, checked alike.
double setting(const std::optional<double>& option, std::string_view field, std::string_view name,
               double fallback, double most, const environment& env) {
  if (option) {
    if (!(*option >= 0) || !(*option <= most)) {
      throw error(errc::invalid_argument, field,
                  "it must be from 0 to " + std::to_string(static_cast<long long>(most)));
    }
    return *option;
  }
  const auto text = env(name);
  return text ? number(name, *text, 0, most) : fallback;
}

stored_credentials read_credentials(const environment& env) {
  const auto home = env("HOME");
  if (!home) return {};
  std::ifstream file(*home + "/.mlflow/credentials", std::ios::binary);
  if (!file) return {};
  std::string text(most_credentials + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > most_credentials) {
    throw error(errc::invalid_argument, *home + "/.mlflow/credentials",
                "it is larger than 64 KiB, which no credentials file is");
  }
  return parse_credentials(text);
}

// Whether NO_PROXY has the host: "*", the name itself, or a domain that it is in.
bool is_excluded(std::string_view host, std::string_view list) {
  const std::string name = lower(host);
  while (!list.empty()) {
    const auto comma = list.find(',');
    std::string entry = lower(trimmed(list.substr(0, comma)));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    if (entry == "*") return true;
    if (const auto colon = entry.find(':'); colon != std::string::npos && entry[0] != '[') {
      entry.resize(colon);
    }
    while (entry.starts_with('.')) entry.erase(0, 1);
    if (entry.empty()) continue;
    if (name == entry || name.ends_with("." + entry)) return true;
  }
  return false;
}

std::string environment_proxy(std::string_view scheme, std::string_view host,
                              const environment& env) {
  const auto either = [&](std::string_view upper) {
    auto value = env(lower(upper));
    return value ? value : env(upper);
  };
  if (is_excluded(host, either("NO_PROXY").value_or(""))) return {};
  auto proxy = either(scheme == "https" ? "HTTPS_PROXY" : "HTTP_PROXY");
  if (!proxy) proxy = either("ALL_PROXY");
  return proxy.value_or("");
}

void check_header(std::string_view field, std::string_view value) {
  if (std::any_of(value.begin(), value.end(),
                  [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    throw error(errc::invalid_argument, field, "it has a control character in it");
  }
}

}  // namespace

bool parse_flag(std::string_view field, std::string_view text) {
  const std::string value = lower(text);
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  throw error(errc::invalid_argument, field,
              "'" + std::string(text) + "' is neither true nor false");
}

environment process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

stored_credentials parse_credentials(std::string_view text) {
  stored_credentials found;
  bool ours = false;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      ours = line == "[mlflow]";
      continue;
    }
    const auto mark = line.find_first_of("=:");
    if (!ours || mark == std::string_view::npos) continue;
    const std::string key = lower(trimmed(line.substr(0, mark)));
    const std::string value(trimmed(line.substr(mark + 1)));
    if (key == "mlflow_tracking_username") found.username = value;
    if (key == "mlflow_tracking_password") found.password = value;
  }
  return found;
}

rest_settings resolve_rest_settings(std::string_view uri, const server_options& options,
                                    const environment& env) {
  rest_settings out;
  check_text("tracking uri", uri);
  const auto mark = uri.find("://");
  const std::string scheme = lower(uri.substr(0, std::min(mark, uri.size())));
  if (mark == std::string_view::npos || (scheme != "http" && scheme != "https")) {
    throw error(errc::invalid_argument, "tracking uri", "it is not an http:// or https:// URL");
  }
  std::string_view rest = uri.substr(mark + 3);
  const auto authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, authority_end);
  std::string_view path = rest.substr(authority_end);
  if (path.find_first_of("?#") != std::string_view::npos) {
    throw error(errc::invalid_argument, "tracking uri",
                "it has a query or a fragment; name the server alone, as http://host:5000");
  }
  std::optional<std::string> username;
  std::optional<std::string> password;
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
    const auto colon = user.find(':');
    username = http::percent_decode(user.substr(0, colon));
    if (colon != std::string_view::npos) password = http::percent_decode(user.substr(colon + 1));
  }
  if (authority.empty()) {
    throw error(errc::invalid_argument, "tracking uri", "it names no host");
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  out.url = scheme + "://" + std::string(authority) + std::string(path);

  if (!options.username.empty()) username = options.username;
  if (!options.password.empty()) password = options.password;
  if (!username) username = env("MLFLOW_TRACKING_USERNAME");
  if (!password) password = env("MLFLOW_TRACKING_PASSWORD");
  if (!username || !password) {
    const stored_credentials stored = read_credentials(env);
    if (!username) username = stored.username;
    if (!password) password = stored.password;
  }
  const std::string token =
      options.token.empty() ? env("MLFLOW_TRACKING_TOKEN").value_or("") : options.token;
  if (username && password && !username->empty() && !password->empty()) {
    out.authorization = "Basic " + mizzen::detail::base64_encode(*username + ":" + *password);
  } else if (!token.empty()) {
    check_header("MLFLOW_TRACKING_TOKEN", token);
    out.authorization = "Bearer " + token;
  }
  out.workspace = std::string(trimmed(
      options.workspace.empty() ? env("MLFLOW_WORKSPACE").value_or("") : options.workspace));
  check_header("MLFLOW_WORKSPACE", out.workspace);

  const auto insecure = env("MLFLOW_TRACKING_INSECURE_TLS");
  out.verify_tls =
      !(options.insecure_tls ? *options.insecure_tls
                             : insecure && parse_flag("MLFLOW_TRACKING_INSECURE_TLS", *insecure));
  out.server_certificate_file = options.server_certificate_file.empty()
                                    ? env("MLFLOW_TRACKING_SERVER_CERT_PATH").value_or("")
                                    : options.server_certificate_file;
  out.client_certificate_file = options.client_certificate_file.empty()
                                    ? env("MLFLOW_TRACKING_CLIENT_CERT_PATH").value_or("")
                                    : options.client_certificate_file;
  if (!out.verify_tls && !out.server_certificate_file.empty()) {
    throw error(errc::invalid_argument, "MLFLOW_TRACKING_SERVER_CERT_PATH",
                "it names whom to trust, but MLFLOW_TRACKING_INSECURE_TLS trusts anyone; set one "
                "of them");
  }

  std::string_view host = authority;
  if (const auto colon = host.rfind(':');
      colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
    host = host.substr(0, colon);
  }
  out.proxy = options.proxy ? *options.proxy : environment_proxy(scheme, host, env);

  std::optional<double> seconds;
  if (options.timeout) seconds = static_cast<double>(options.timeout->count());
  const double timeout =
      setting(seconds, "server_options.timeout", "MLFLOW_HTTP_REQUEST_TIMEOUT", 120, 86'400, env);
  if (timeout < 1) {
    throw error(errc::invalid_argument, "MLFLOW_HTTP_REQUEST_TIMEOUT", "it must be at least 1 s");
  }
  out.timeout = std::chrono::seconds(std::llround(timeout));
  std::optional<double> retries;
  if (options.max_retries) retries = *options.max_retries;
  // The bounds are MLflow's own (_MLFLOW_HTTP_REQUEST_MAX_*_LIMIT).
  out.patience.max_retries = static_cast<int>(setting(
      retries, "server_options.max_retries", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", 7, 10, env));
  out.patience.backoff_factor = setting(options.backoff_factor, "server_options.backoff_factor",
                                        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", 2, 120, env);
  out.patience.backoff_jitter = setting(options.backoff_jitter, "server_options.backoff_jitter",
                                        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", 1, 120, env);
  if (const auto respect = env("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER")) {
    out.patience.respect_retry_after =
        parse_flag("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", *respect);
  }
  return out;
}

bool rest_retry::is_transient(int status) noexcept {
  constexpr std::array<int, 6> transient = {408, 429, 500, 502, 503, 504};
  return std::find(transient.begin(), transient.end(), status) != transient.end();
}

std::optional<std::chrono::milliseconds> rest_retry::after_status(
    int status, std::optional<std::chrono::seconds> retry_after) {
  if (!is_transient(status)) return {};
  const bool not_carried_out = status == 429 || (status == 503 && retry_after);
  if (!repeatable_ && !not_carried_out) return {};
  return again(patience_.respect_retry_after ? retry_after : std::nullopt);
}

std::optional<std::chrono::milliseconds> rest_retry::after_failure(bool was_sent) {
  if (was_sent && !repeatable_) return {};
  return again(std::nullopt);
}

std::optional<std::chrono::milliseconds> rest_retry::again(
    std::optional<std::chrono::seconds> asked) {
  constexpr double longest = 120;
  if (retries_ >= patience_.max_retries) return {};
  ++retries_;
  if (asked) {
    if (std::chrono::duration<double>(*asked).count() > longest) return {};
    if (asked->count() > 0) return *asked;
  }
  double wait = retries_ <= 1 ? 0 : patience_.backoff_factor * std::exp2(retries_ - 1);
  // SplitMix64: enough to keep clients apart.
  random_ += 0x9e3779b97f4a7c15U;
  std::uint64_t mixed = random_;
  mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
  const double uniform = static_cast<double>((mixed ^ (mixed >> 31U)) >> 11U) * 0x1p-53;
  wait += patience_.backoff_jitter * uniform;
  return std::chrono::milliseconds(std::llround(std::min(wait, longest) * 1000));
}

}  // namespace mizzen::tracking::detail
