#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/options.hpp>

#include <algorithm>

namespace mizzen::kubernetes {
namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Letters, digits and -_. between, as names and values of labels are; at most 63.
bool is_label_word(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alphanumeric(text.front()) &&
         is_alphanumeric(text.back()) && std::ranges::all_of(text, [](char c) {
           return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_subdomain(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '.';
  });
}

void check_key(std::string_view key) {
  const auto slash = key.find('/');
  const bool good = slash == std::string_view::npos ? is_label_word(key)
                                                    : is_subdomain(key.substr(0, slash)) &&
                                                          is_label_word(key.substr(slash + 1));
  if (!good) {
    throw error(errc::invalid_argument, "selector",
                "'" + std::string(key) + "' is not the key of a label: [prefix/]name");
  }
}

void check_value(std::string_view value) {
  if (!value.empty() && !is_label_word(value)) {
    throw error(errc::invalid_argument, "selector",
                "'" + std::string(value) +
                    "' is not the value of a label: at most 63 letters, "
                    "digits and -_.");
  }
}

std::string set_of(std::string_view key, std::string_view relation,
                   const std::vector<std::string>& values) {
  check_key(key);
  if (values.empty()) {
    throw error(errc::invalid_argument, "selector",
                "the set of values for '" + std::string(key) + "' is empty");
  }
  std::string term = std::string(key).append(relation);
  for (const std::string& each : values) {
    check_value(each);
    if (&each != &values.front()) term += ',';
    term += each;
  }
  return term + ")";
}

}  // namespace

std::string_view patch::content_type() const noexcept {
  switch (type_) {
    case patch_type::json:
      return "application/json-patch+json";
    case patch_type::merge:
      return "application/merge-patch+json";
    case patch_type::strategic:
      return "application/strategic-merge-patch+json";
  }
  return "application/merge-patch+json";
}

selector& selector::append(std::string term) {
  if (!text_.empty()) text_ += ',';
  text_ += term;
  return *this;
}

selector& selector::equals(std::string_view key, std::string_view value) {
  check_key(key);
  check_value(value);
  return append(std::string(key) + "=" + std::string(value));
}
selector& selector::not_equals(std::string_view key, std::string_view value) {
  check_key(key);
  check_value(value);
  return append(std::string(key) + "!=" + std::string(value));
}
selector& selector::in(std::string_view key, const std::vector<std::string>& values) {
  return append(set_of(key, " in (", values));
}
selector& selector::not_in(std::string_view key, const std::vector<std::string>& values) {
  return append(set_of(key, " notin (", values));
}
selector& selector::exists(std::string_view key) {
  check_key(key);
  return append(std::string(key));
}
selector& selector::not_exists(std::string_view key) {
  check_key(key);
  return append("!" + std::string(key));
}

field_selector& field_selector::equals(std::string_view path, std::string_view value) {
  return append(path, "=", value);
}
field_selector& field_selector::not_equals(std::string_view path, std::string_view value) {
  return append(path, "!=", value);
}

field_selector& field_selector::append(std::string_view path, std::string_view sign,
                                       std::string_view value) {
  if (path.empty() || path.find_first_of("=!,\\ ") != std::string_view::npos) {
    throw error(errc::invalid_argument, "field_selector",
                "'" + std::string(path) + "' is not a field's path such as metadata.name");
  }
  if (!text_.empty()) text_ += ',';
  text_.append(path).append(sign);
  // apimachinery, fields.EscapeValue.
  for (const char each : value) {
    if (each == '\\' || each == ',' || each == '=') text_ += '\\';
    text_ += each;
  }
  return *this;
}

}  // namespace mizzen::kubernetes
