#include "kubernetes/oidc.hpp"

#include "core/base64.hpp"
#include "kubernetes/exec_info.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <cmath>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;

[[noreturn]] void refuse(const oidc_provider& provider, std::string_view why) {
  throw error(errc::unauthenticated, "OIDC issuer " + provider.issuer_url, why);
}

// Answers of servers that are something else may be long pages.
std::string excerpt(std::string_view body) {
  std::string text = detail::printable(body.substr(0, 200));
  return body.size() > 200 ? text + "…" : text;
}

std::string text_member(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

void append_field(std::string& form, std::string_view name, std::string_view value) {
  if (!form.empty()) form += '&';
  form.append(name).append("=").append(http::percent_encode(value));
}

}  // namespace

std::optional<std::chrono::system_clock::time_point> jwt_expiry(std::string_view token) {
  const auto fail = [](std::string_view why) -> void {
    throw error(errc::invalid_argument, "JSON Web Token", why);
  };
  const std::size_t first = token.find('.');
  const std::size_t second = first == token.npos ? first : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) {
    fail("does not have three parts with dots between them");
  }
  const auto payload =
      mizzen::detail::base64url_decode(token.substr(first + 1, second - first - 1));
  if (!payload) fail("its payload is not base64url");
  const json claims = json::parse(*payload, nullptr, false);
  if (!claims.is_object()) fail("its payload is not a JSON object");
  const auto found = claims.find("exp");
  if (found == claims.end() || found->is_null()) return std::nullopt;
  if (!found->is_number()) fail("its claim 'exp' is not a number");
  const double seconds = found->get<double>();
  // Beyond what the clock can tell (it counts nanoseconds in 64 bits): as good as never.
  constexpr double most = 9'000'000'000.0;
  if (!std::isfinite(seconds) || seconds > most) return std::nullopt;
  if (seconds < 0) return std::chrono::system_clock::time_point{};
  return std::chrono::sys_seconds(std::chrono::seconds(static_cast<std::int64_t>(seconds)));
}

namespace detail {

std::string discovery_url(const oidc_provider& provider) {
  std::string url = provider.issuer_url;
  while (url.ends_with('/')) url.pop_back();
  return url + "/.well-known/openid-configuration";
}

std::string token_endpoint(const http::response& discovery, const oidc_provider& provider) {
  if (discovery.status != 200) {
    refuse(provider, "its discovery document came with status " + std::to_string(discovery.status) +
                         ": " + excerpt(discovery.body));
  }
  const json document = json::parse(discovery.body, nullptr, false);
  if (!document.is_object()) refuse(provider, "its discovery document is not a JSON object");
  std::string endpoint = text_member(document, "token_endpoint");
  if (endpoint.empty()) refuse(provider, "its discovery document has no token_endpoint");
  if (provider.issuer_url.starts_with("https://") && !endpoint.starts_with("https://")) {
    refuse(provider, "its token_endpoint is not https: the refresh token would be readable");
  }
  return endpoint;
}

http::request refresh_request(const std::string& endpoint, const oidc_provider& provider,
                              bool secret_in_body) {
  http::request what{.method = "POST", .url = endpoint};
  what.headers.set("Content-Type", "application/x-www-form-urlencoded");
  what.headers.set("Accept", "application/json");
  append_field(what.body, "grant_type", "refresh_token");
  append_field(what.body, "refresh_token", provider.refresh_token);
  if (provider.client_secret.empty() || secret_in_body) {
    append_field(what.body, "client_id", provider.client_id);
    if (!provider.client_secret.empty()) {
      append_field(what.body, "client_secret", provider.client_secret);
    }
  } else {
    // Section 2.3.1: both are encoded first.
    what.headers.set(
        "Authorization",
        "Basic " + mizzen::detail::base64_encode(http::percent_encode(provider.client_id) + ":" +
                                                 http::percent_encode(provider.client_secret)));
  }
  return what;
}

oidc_provider refreshed(const http::response& answer, oidc_provider provider) {
  const json document = json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !document.is_object()) {
    std::string why = "the refresh token was answered with status " + std::to_string(answer.status);
    const std::string code = document.is_object() ? text_member(document, "error") : "";
    if (!code.empty()) {
      why += ": " + excerpt(code);
      const std::string words = text_member(document, "error_description");
      if (!words.empty()) why += " (" + excerpt(words) + ")";
      if (code == "invalid_grant") why += "; log in again";
    }
    refuse(provider, why);
  }
  provider.id_token = text_member(document, "id_token");
  if (provider.id_token.empty()) {
    refuse(
        provider,
        "its answer has no id_token: log in again with the scope openid, or the issuer hands out "
        "none on a refresh");
  }
  std::string next = text_member(document, "refresh_token");
  if (!next.empty()) provider.refresh_token = std::move(next);
  return provider;
}

asio::awaitable<oidc_provider> refresh_tokens(http::client& client, oidc_provider provider,
                                              cancellation cancel) {
  if (provider.refresh_token.empty()) {
    refuse(provider,
           "the id-token has expired or was refused, and there is no refresh-token; log in "
           "again");
  }
  http::request discovery{.url = discovery_url(provider)};
  discovery.headers.set("Accept", "application/json");
  http::send_options options;
  options.cancel = cancel;
  const http::response found = co_await client.send(std::move(discovery), options);
  const std::string endpoint = token_endpoint(found, provider);
  http::request first = refresh_request(endpoint, provider, false);
  http::response answer = co_await client.send(std::move(first), options);
  if ((answer.status == 400 || answer.status == 401) && !provider.client_secret.empty() &&
      answer.body.find("invalid_client") != std::string::npos) {
    http::request second = refresh_request(endpoint, provider, true);
    answer = co_await client.send(std::move(second), options);
  }
  co_return refreshed(answer, std::move(provider));
}

}  // namespace detail
}  // namespace mizzen::kubernetes
