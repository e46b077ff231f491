#include "tracking/yaml.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr int deepest = 200;

// Letters, digits and what never means anything between them; a letter first, so that it is no
// number, date or indicator.
bool is_plain(std::string_view text) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  const auto is_inner = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '/' || c == ' ';
  };
  if (text.empty() || !is_letter(text.front()) || text.back() == ' ' || text.size() > 80) {
    return false;
  }
  if (!std::all_of(text.begin(), text.end(), is_inner)) return false;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  constexpr std::array<std::string_view, 9> reserved = {"y",   "n",    "yes",   "no",  "on",
                                                        "off", "true", "false", "null"};
  return std::find(reserved.begin(), reserved.end(), lower) == reserved.end();
}

void append_escape(std::string& out, char32_t code) {
  constexpr std::string_view digits = "0123456789abcdef";
  const int width = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  out += code < 0x100 ? "\\x" : code < 0x10000 ? "\\u" : "\\U";
  for (int shift = (width - 1) * 4; shift >= 0; shift -= 4) out += digits[(code >> shift) & 0xf];
}

[[noreturn]] void refuse_text() {
  throw error(errc::invalid_argument, "value", "it has a text that is not UTF-8");
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at]);
    const std::size_t length = first < 0x80             ? 1
                               : (first & 0xe0) == 0xc0 ? 2
                               : (first & 0xf0) == 0xe0 ? 3
                               : (first & 0xf8) == 0xf0 ? 4
                                                        : 0;
    if (length == 0 || length > text.size() - at) refuse_text();
    char32_t code = length == 1 ? first : first & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
      const auto next = static_cast<unsigned char>(text[at + i]);
      if ((next & 0xc0) != 0x80) refuse_text();
      code = code << 6 | (next & 0x3fU);
    }
    constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      refuse_text();
    }
    // What YAML calls not printable, or a line break.
    const bool hidden = code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 ||
                        code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff;
    if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\t') {
      out += "\\t";
    } else if (hidden) {
      append_escape(out, code);
    } else {
      out += text.substr(at, length);
    }
    at += length;
  }
  return out + "\"";
}

std::string text_of(std::string_view text) {
  return is_plain(text) ? std::string(text) : quoted(text);
}

// YAML 1.1 wants a point in the mantissa and a sign in the exponent.
std::string number_of(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  char buffer[64];
  std::string out(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  const auto exponent = out.find('e');
  if (out.find('.') == std::string::npos) {
    out.insert(exponent == std::string::npos ? out.size() : exponent, ".0");
  }
  return out;
}

std::string scalar(const json& value) {
  switch (value.type()) {
    case json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case json::value_t::number_integer:
      return std::to_string(value.get<std::int64_t>());
    case json::value_t::number_unsigned:
      return std::to_string(value.get<std::uint64_t>());
    case json::value_t::number_float:
      return number_of(value.get<double>());
    case json::value_t::string:
      return text_of(value.get_ref<const std::string&>());
    case json::value_t::object:
      return "{}";
    case json::value_t::array:
      return "[]";
    case json::value_t::binary:
      throw error(errc::invalid_argument, "value", "bytes cannot be written as YAML text");
    default:
      return "null";
  }
}

bool is_nested(const json& value) { return value.is_structured() && !value.empty(); }

// Writes the entries of an object or array; the cursor is where the first one begins.
void write_entries(std::string& out, const json& value, int depth) {
  if (depth > deepest) {
    throw error(errc::invalid_argument, "value", "it is nested deeper than 200 levels");
  }
  const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
  bool first = true;
  const auto begin_entry = [&] {
    if (!std::exchange(first, false)) out += indent;
  };
  if (value.is_object()) {
    for (const auto& [key, entry] : value.items()) {
      begin_entry();
      // Keys longer than YAML's limit for a simple one are marked.
      const std::string name = text_of(key);
      out += name.size() > 1000 ? "? " + name + "\n" + indent + ":" : name + ":";
      if (!is_nested(entry)) {
        out += " " + scalar(entry) + "\n";
      } else {
        out += "\n" + indent + "  ";
        write_entries(out, entry, depth + 1);
      }
    }
    return;
  }
  for (const json& entry : value) {
    begin_entry();
    out += "- ";
    if (is_nested(entry)) {
      write_entries(out, entry, depth + 1);
    } else {
      out += scalar(entry) + "\n";
    }
  }
}

}  // namespace

std::string to_yaml(const json& value) {
  std::string out;
  if (is_nested(value)) {
    write_entries(out, value, 0);
  } else {
    out = scalar(value) + "\n";
  }
  return out;
}

}  // namespace mizzen::tracking::detail
