// HTTP messages as plain values.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::http {

// One header field as it is on the wire.
struct field {
  std::string name = {};
  std::string value = {};
};

// Header fields in the order in which they were added; names compare without regard to case, and a
// name may be there several times (RFC 9110, section 5). Whatever it holds can be sent: a name that
// is no token, or a value with a control character in it (CR and LF would let one header smuggle in
// another), is refused with error(invalid_argument) on the way in.
class headers {
 public:
  headers() = default;
  headers(std::initializer_list<field> fields);

  // Appends a field, also if there is one of the name already.
  void add(std::string name, std::string value);

  // Replaces every field of the name by one.
  void set(std::string name, std::string value);

  // Removes every field of the name; returns how many there were.
  std::size_t erase(std::string_view name);

  bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }

  // The value of the first field of the name, or null.
  const std::string* find(std::string_view name) const noexcept;

  // The value of the first field of the name, or the fallback. The view lives as long as both do.
  std::string_view value(std::string_view name, std::string_view fallback = {}) const noexcept;

  // The values of all fields of the name, in order.
  std::vector<std::string_view> values(std::string_view name) const;

  // True if the comma-separated lists under the name have this token, without regard to case:
  // has_token("connection", "close").
  bool has_token(std::string_view name, std::string_view token) const noexcept;

  std::size_t size() const noexcept { return fields_.size(); }
  bool empty() const noexcept { return fields_.empty(); }
  auto begin() const noexcept { return fields_.begin(); }
  auto end() const noexcept { return fields_.end(); }

 private:
  std::vector<field> fields_;
};

// A request. Content-Length and Host are written by the client, so `headers` need not have them.
struct request {
  std::string method = "GET";
  // To a client: an absolute URL, "https://host:port/path?query". From a server: the request target
  // as it came, usually "/path?query".
  std::string url = "/";
  http::headers headers = {};
  std::string body = {};
};

// A response. Content-Length, Date and Connection are written by the server.
struct response {
  int status = 200;
  http::headers headers = {};
  std::string body = {};

  // 2xx.
  bool ok() const noexcept { return status >= 200 && status < 300; }
};

// A response with a body of the given media type.
response make_response(int status, std::string_view content_type, std::string body);

// "Not Found" for 404; "Unknown" for a status that has no registered phrase.
std::string_view reason_phrase(int status) noexcept;

// The path of a URL or request target, still percent-encoded, without query and fragment.
std::string_view url_path(std::string_view url) noexcept;

// The query of a URL or request target without its question mark, still percent-encoded; empty when
// there is none.
std::string_view url_query(std::string_view url) noexcept;

// The segments of a path, each percent-decoded, so that a name holding "%2F" stays one segment:
// "/v2/models/a%2Fb/" -> {"v2", "models", "a/b", ""}. Throws error(invalid_argument) for a broken
// escape.
std::vector<std::string> path_segments(std::string_view path);

// Percent-encodes everything that is not unreserved in RFC 3986, for use as one path segment or one
// query value.
std::string percent_encode(std::string_view text);

// The reverse; throws error(invalid_argument) for a broken escape. "+" stays "+".
std::string percent_decode(std::string_view text);

}  // namespace mizzen::http
