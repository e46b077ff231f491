#include "tracking/aws_roles.hpp"

#include "tracking/s3_messages.hpp"
#include "tracking/xml.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view subject = "AWS credentials";
constexpr std::size_t most_token = std::size_t{64} << 10;

std::string read_token(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(most_token, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  if (text.empty()) {
    throw error(errc::unauthenticated, subject, "there is no token in the file '" + path + "'");
  }
  return text;
}

lent_keys checked(aws_credentials keys, std::string_view expiration) {
  if (keys.access_key.empty() || keys.secret_key.empty()) {
    throw error(errc::data_loss, subject, "the answer of the lender has no keys");
  }
  lent_keys lent{std::move(keys)};
  if (expiration.empty()) return lent;
  try {
    lent.until = parse_rfc3339(expiration);
  } catch (const error& e) {
    throw error(errc::data_loss, subject, e.message());
  }
  return lent;
}

}  // namespace

std::optional<aws_lender> find_web_identity(const environment& env, std::string_view region) {
  const auto file = env("AWS_WEB_IDENTITY_TOKEN_FILE");
  if (!file) return std::nullopt;
  aws_lender from;
  from.role = env("AWS_ROLE_ARN").value_or("");
  if (from.role.empty()) {
    throw error(errc::invalid_argument, "AWS_ROLE_ARN",
                "it is not set, but AWS_WEB_IDENTITY_TOKEN_FILE is");
  }
  from.session_name = env("AWS_ROLE_SESSION_NAME").value_or("mizzen");
  from.token_file = *file;
  const std::string suffix = region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com";
  from.url = env("AWS_ENDPOINT_URL_STS").value_or("https://sts." + std::string(region) + suffix);
  if (!from.url.ends_with('/')) from.url += '/';
  return from;
}

std::optional<aws_lender> find_agent(const environment& env) {
  aws_lender from;
  if (const auto path = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) {
    from.url = "http://169.254.170.2" + *path;
  } else if (const auto url = env("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
    // As AWS's own clients have it: an agent that is neither here nor of the platform must have
    // TLS.
    constexpr auto near = std::to_array<std::string_view>(
        {"http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]",
         "http://127.0.0.1", "http://localhost", "http://[::1]"});
    const bool is_near = std::ranges::any_of(near, [&](std::string_view each) {
      return url->starts_with(each) && (url->size() == each.size() || (*url)[each.size()] == '/' ||
                                        (*url)[each.size()] == ':');
    });
    if (!is_near && !url->starts_with("https://")) {
      throw error(errc::invalid_argument, "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                  "it is neither https:// nor on this machine");
    }
    from.url = *url;
  } else {
    return std::nullopt;
  }
  from.token_file = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").value_or("");
  from.token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN").value_or("");
  return from;
}

http::request borrow_request(const aws_lender& from) {
  const std::string token = from.token_file.empty() ? from.token : read_token(from.token_file);
  http::request what;
  what.url = from.url;
  if (from.role.empty()) {
    if (!token.empty()) what.headers.set("Authorization", token);
    return what;
  }
  what.method = "POST";
  what.headers.set("Content-Type", "application/x-www-form-urlencoded");
  what.body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=" +
              http::percent_encode(from.role) +
              "&RoleSessionName=" + http::percent_encode(from.session_name) +
              "&WebIdentityToken=" + http::percent_encode(token);
  return what;
}

lent_keys read_lent_keys(const aws_lender& from, const http::response& answer) {
  if (!answer.ok()) {
    std::string why = "the lender of keys answered " + std::to_string(answer.status);
    const std::string code = s3_error_code(answer);
    if (!code.empty()) why += " " + code;
    const bool passing = answer.status >= 500 || answer.status == 429;
    throw error(passing ? errc::unavailable : errc::unauthenticated, subject, why);
  }
  if (from.role.empty()) {
    const json body = json::parse(answer.body, nullptr, false);
    const auto text = [&](const char* key) {
      const auto found = body.is_object() ? body.find(key) : body.end();
      return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    return checked({text("AccessKeyId"), text("SecretAccessKey"), text("Token")},
                   text("Expiration"));
  }
  const xml_element root = parse_xml(answer.body);
  const xml_element* const result = root.find("AssumeRoleWithWebIdentityResult");
  const xml_element* const its = result != nullptr ? result->find("Credentials") : nullptr;
  if (its == nullptr) return checked({}, "");
  return checked(
      {std::string(its->value("AccessKeyId")), std::string(its->value("SecretAccessKey")),
       std::string(its->value("SessionToken"))},
      its->value("Expiration"));
}

bool should_renew(const lent_keys& lent, std::chrono::system_clock::time_point now) noexcept {
  return lent.until && *lent.until - now < std::chrono::minutes(5);
}

}  // namespace mizzen::tracking::detail
