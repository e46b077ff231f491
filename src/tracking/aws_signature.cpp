#include "tracking/aws_signature.hpp"

#include "core/sha256.hpp"

#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

// Not signed: what is on its way changed by proxies, or written by the client itself.
constexpr std::array<std::string_view, 5> unsigned_fields = {"accept-encoding", "authorization",
                                                             "connection", "expect", "user-agent"};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

std::string hmac(std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(),
           &size) == nullptr) {
    throw error(errc::internal, "HMAC", "OpenSSL refused to compute it");
  }
  return {reinterpret_cast<const char*>(out.data()), size};
}

// Without blanks at the ends, and one for several between.
std::string squeezed(std::string_view value) {
  std::string out;
  for (const char c : value) {
    const bool blank = c == ' ' || c == '\t';
    if (!blank) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

// The parts of a URL that the signature looks at.
struct address {
  std::string_view host;
  std::string_view path;
  std::string_view query;
};
address address_of(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == std::string_view::npos) {
    throw error(errc::invalid_argument, "url", "'" + std::string(url) + "' is not absolute");
  }
  const std::string_view rest = url.substr(begin + 3);
  return {rest.substr(0, rest.find_first_of("/?#")), http::url_path(url), http::url_query(url)};
}

// Each name and value encoded the one way that counts, by name and value.
std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const std::string_view one = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const auto mark = std::min(one.find('='), one.size());
    const std::string_view value = one.substr(std::min(mark + 1, one.size()));
    pairs.emplace_back(http::percent_encode(http::percent_decode(one.substr(0, mark))),
                       http::percent_encode(http::percent_decode(value)));
  }
  std::ranges::sort(pairs);
  std::string out;
  for (const auto& [name, value] : pairs) {
    out += (out.empty() ? "" : "&") + name + "=" + value;
  }
  return out;
}

std::string canonical_path(std::string_view path) {
  std::string out;
  for (;;) {
    const auto slash = path.find('/');
    out += http::percent_encode(http::percent_decode(path.substr(0, slash)));
    if (slash == std::string_view::npos) return out;
    out += '/';
    path.remove_prefix(slash + 1);
  }
}

// "20130524T000000Z"
std::string timestamp(std::chrono::system_clock::time_point now) {
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(now - day));
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%04d%02u%02uT%02d%02d%02dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()));
  return text.data();
}

}  // namespace

void sign_request(http::request& what, const aws_credentials& as, const aws_scope& where,
                  std::string_view payload_sha256, std::chrono::system_clock::time_point now) {
  const std::string time = timestamp(now);
  const std::string day = time.substr(0, 8);
  const address to = address_of(what.url);
  what.headers.set("X-Amz-Date", time);
  if (!as.session_token.empty()) what.headers.set("X-Amz-Security-Token", as.session_token);

  std::map<std::string, std::string> fields;
  if (!what.headers.contains("Host")) fields["host"] = to.host;
  for (const http::field& each : what.headers) {
    const std::string name = lower(each.name);
    if (std::ranges::find(unsigned_fields, name) != unsigned_fields.end()) continue;
    std::string& value = fields[name];
    value += (value.empty() ? "" : ",") + squeezed(each.value);
  }
  std::string names;
  std::string canonical =
      what.method + "\n" + canonical_path(to.path) + "\n" + canonical_query(to.query) + "\n";
  for (const auto& [name, value] : fields) {
    canonical += name + ":" + value + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  canonical += "\n" + names + "\n";
  canonical += payload_sha256;

  const std::string scope = day + "/" + where.region + "/" + where.service + "/aws4_request";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + mizzen::detail::sha256_hex(canonical);
  const std::string key = hmac(
      hmac(hmac(hmac("AWS4" + as.secret_key, day), where.region), where.service), "aws4_request");
  what.headers.set("Authorization", "AWS4-HMAC-SHA256 Credential=" + as.access_key + "/" + scope +
                                        ", SignedHeaders=" + names + ", Signature=" +
                                        mizzen::detail::hex_digits(hmac(key, to_sign)));
}

}  // namespace mizzen::tracking::detail
