#include <mizzen/core/error.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace mizzen::http {
namespace {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_name(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::ranges::equal(a, b, {}, lower, lower);
}

constexpr bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// RFC 9110, section 5.6.2.
bool is_token(std::string_view text) noexcept {
  static constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_alphanumeric(c) || marks.find(c) != std::string_view::npos;
  });
}

// RFC 9110, section 5.5: visible characters, spaces and tabs, and bytes beyond ASCII.
bool is_field_value(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
  });
}

void check_field(std::string_view name, std::string_view value) {
  if (!is_token(name)) {
    throw error(errc::invalid_argument, "header '" + std::string(name.substr(0, 64)) + "'",
                "a header name is made of letters, digits and !#$%&'*+-.^_`|~");
  }
  if (!is_field_value(value)) {
    throw error(errc::invalid_argument, "header '" + std::string(name.substr(0, 64)) + "'",
                "its value has a control character, such as a line break, in it");
  }
}

std::string_view trimmed(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

headers::headers(std::initializer_list<field> fields) {
  fields_.reserve(fields.size());
  for (const field& each : fields) add(each.name, each.value);
}

void headers::add(std::string name, std::string value) {
  check_field(name, value);
  fields_.push_back({std::move(name), std::move(value)});
}

void headers::set(std::string name, std::string value) {
  check_field(name, value);
  const auto first =
      std::ranges::find_if(fields_, [&](const field& f) { return same_name(f.name, name); });
  if (first == fields_.end()) {
    fields_.push_back({std::move(name), std::move(value)});
    return;
  }
  const auto rest = std::remove_if(first + 1, fields_.end(),
                                   [&](const field& f) { return same_name(f.name, name); });
  fields_.erase(rest, fields_.end());
  *first = {std::move(name), std::move(value)};
}

std::size_t headers::erase(std::string_view name) {
  return std::erase_if(fields_, [&](const field& f) { return same_name(f.name, name); });
}

const std::string* headers::find(std::string_view name) const noexcept {
  for (const field& each : fields_) {
    if (same_name(each.name, name)) return &each.value;
  }
  return nullptr;
}

std::string_view headers::value(std::string_view name, std::string_view fallback) const noexcept {
  const std::string* found = find(name);
  return found ? std::string_view(*found) : fallback;
}

std::vector<std::string_view> headers::values(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const field& each : fields_) {
    if (same_name(each.name, name)) found.emplace_back(each.value);
  }
  return found;
}

bool headers::has_token(std::string_view name, std::string_view token) const noexcept {
  for (const field& each : fields_) {
    if (!same_name(each.name, name)) continue;
    std::string_view rest = each.value;
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      if (same_name(trimmed(rest.substr(0, comma)), token)) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

response make_response(int status, std::string_view content_type, std::string body) {
  response made{.status = status, .headers = {}, .body = std::move(body)};
  made.headers.add("Content-Type", std::string(content_type));
  return made;
}

std::string_view reason_phrase(int status) noexcept {
  // The registered ones that a server of ours or a proxy before it gives.
  constexpr auto phrases = std::to_array<std::pair<int, std::string_view>>({
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  });
  for (const auto& [code, phrase] : phrases) {
    if (code == status) return phrase;
  }
  return "Unknown";
}

std::string_view url_path(std::string_view url) noexcept {
  url = url.substr(0, url.find_first_of("?#"));
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos || url.starts_with('/')) return url;
  const auto path = url.find('/', scheme + 3);
  return path == std::string_view::npos ? std::string_view("/") : url.substr(path);
}

std::string_view url_query(std::string_view url) noexcept {
  url = url.substr(0, url.find('#'));
  const auto mark = url.find('?');
  return mark == std::string_view::npos ? std::string_view() : url.substr(mark + 1);
}

std::vector<std::string> path_segments(std::string_view path) {
  std::vector<std::string> segments;
  if (path.starts_with('/')) path.remove_prefix(1);
  for (;;) {
    const auto slash = path.find('/');
    segments.push_back(percent_decode(path.substr(0, slash)));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += '%';
      encoded += digits[byte >> 4];
      encoded += digits[byte & 15];
    }
  }
  return encoded;
}

std::string percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      decoded += text[at];
      continue;
    }
    const int high = at + 2 < text.size() ? hex_value(text[at + 1]) : -1;
    const int low = at + 2 < text.size() ? hex_value(text[at + 2]) : -1;
    if (high < 0 || low < 0) {
      throw error(errc::invalid_argument, "'" + std::string(text.substr(0, 256)) + "'",
                  "'%' must be followed by two hexadecimal digits");
    }
    decoded += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return decoded;
}

}  // namespace mizzen::http
