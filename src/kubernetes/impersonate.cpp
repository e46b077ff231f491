#include "kubernetes/impersonate.hpp"

#include <cctype>
#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {
namespace {

// Header names ignore case, so that the server lowers the key; what is no character of a token, and
// the percent sign, is encoded.
std::string escaped_key(std::string_view key) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  constexpr std::string_view others = "!#$&'*+-.^_`|~";
  std::string escaped;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x80 && std::isalnum(byte) != 0) || others.find(c) != others.npos) {
      escaped += c;
    } else {
      escaped.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
  return escaped;
}

}  // namespace

void add_impersonation(const impersonation& as, http::headers& headers) {
  if (as.user.empty() || headers.contains("Impersonate-User")) return;
  headers.add("Impersonate-User", as.user);
  if (!as.uid.empty()) headers.add("Impersonate-Uid", as.uid);
  for (const std::string& group : as.groups) headers.add("Impersonate-Group", group);
  for (const auto& [key, values] : as.extra) {
    for (const std::string& value : values) {
      headers.add("Impersonate-Extra-" + escaped_key(key), value);
    }
  }
}

}  // namespace mizzen::kubernetes::detail
