// Keys that are lent for a while to whoever has a role: pods with a web identity (a service account
// of Kubernetes) and containers with an agent beside them. No I/O but for the files that hold
// tokens.
#pragma once

#include "tracking/aws_signature.hpp"
#include "tracking/rest_settings.hpp"

#include <mizzen/http/message.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// Who lends, and what is shown to it.
struct aws_lender {
  std::string url = {};  // of the security token service, or of the agent
  // A web identity; the role is empty for an agent.
  std::string role = {};
  std::string session_name = {};
  // Read before each request, as both are renewed by others: an identity, or what goes into the
  // header Authorization. Empty: `token` itself.
  std::string token_file = {};
  std::string token = {};
};

// Reads
//   AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_SESSION_NAME, AWS_ENDPOINT_URL_STS
std::optional<aws_lender> find_web_identity(const environment& env, std::string_view region);
//   AWS_CONTAINER_CREDENTIALS_FULL_URI or …_RELATIVE_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN[_FILE]
// Throws error(invalid_argument) for an agent that would be sent a token in the clear, and is not
// on this machine.
std::optional<aws_lender> find_agent(const environment& env);

// Throws error(unauthenticated) if the token's file cannot be read.
http::request borrow_request(const aws_lender& from);

struct lent_keys {
  aws_credentials keys = {};
  std::optional<std::chrono::system_clock::time_point> until = std::nullopt;  // nothing: for ever
};
// Throws error(unauthenticated) for a refusal, data_loss for an answer without keys.
lent_keys read_lent_keys(const aws_lender& from, const http::response& answer);

// Whether it is time for others: five minutes before the end.
bool should_renew(const lent_keys& lent, std::chrono::system_clock::time_point now) noexcept;

}  // namespace mizzen::tracking::detail
