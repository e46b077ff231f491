#include "tracking/yaml_reader.hpp"

#include "core/utf8.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_depth = 16;

bool is_blank(char c) { return c == ' ' || c == '\t'; }

class reader {
 public:
  explicit reader(std::string_view text) : text_(text) {}

  json read() {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
    next_line();
    if (!at_end_ && line_ == "---") next_line();
    skip_empty();
    json all = at_end_ ? json::object() : read_map(indent_, 0);
    if (!at_end_) fail("it is less indented than the first line");
    return all;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw error(errc::data_loss, "yaml line " + std::to_string(number_), what);
  }

  // The line at hand without its end and its indentation.
  void next_line() {
    if (text_.empty()) {
      at_end_ = true;
      line_ = {};
      indent_ = 0;
      return;
    }
    ++number_;
    const auto end = text_.find('\n');
    line_ = text_.substr(0, end);
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    indent_ = std::min(line_.find_first_not_of(' '), line_.size());
    line_.remove_prefix(indent_);
  }

  bool is_empty_line() const {
    const auto first = std::find_if_not(line_.begin(), line_.end(), is_blank);
    return first == line_.end() || *first == '#';
  }
  void skip_empty() {
    while (!at_end_ && is_empty_line()) next_line();
  }

  // The rest of a line after a value.
  void end_line() {
    if (!is_empty_line()) fail("there is something behind the value");
    next_line();
  }

  json read_map(std::size_t indent, std::size_t depth) {
    if (depth == most_depth) fail("it is nested too deep");
    json map = json::object();
    for (skip_empty(); !at_end_ && indent_ == indent; skip_empty()) {
      std::string key;
      const bool long_key = line_.starts_with("? ");
      if (long_key) {
        line_.remove_prefix(2);
        key = read_scalar(indent).value_or("");
        skip_empty();
        if (at_end_ || indent_ != indent || !line_.starts_with(':')) fail("a key has no value");
        line_.remove_prefix(1);
      } else {
        key = read_key();
      }
      if (map.contains(key)) fail("the key '" + key.substr(0, 80) + "' is there twice");
      map[key] = read_value(indent, depth);
    }
    if (!at_end_ && indent_ > indent) fail("it is indented for no reason");
    return map;
  }

  // A key up to its colon, on one line.
  std::string read_key() {
    if (line_.starts_with('"') || line_.starts_with('\'')) {
      const std::size_t line = number_;
      std::string key = read_quoted();
      if (line != number_ || !line_.starts_with(':')) fail("a quoted key has no colon behind it");
      line_.remove_prefix(1);
      if (!line_.empty() && !is_blank(line_.front())) fail("there is no blank behind the colon");
      return key;
    }
    refuse_indicator();
    for (std::size_t at = line_.find(':'); at != std::string_view::npos;
         at = line_.find(':', at + 1)) {
      if (at + 1 < line_.size() && !is_blank(line_[at + 1])) continue;
      std::string_view key = line_.substr(0, at);
      while (!key.empty() && is_blank(key.back())) key.remove_suffix(1);
      line_.remove_prefix(at + 1);
      return std::string(key);
    }
    fail("it is no 'key: value'");
  }

  json read_value(std::size_t indent, std::size_t depth) {
    while (!line_.empty() && is_blank(line_.front())) line_.remove_prefix(1);
    if (line_.empty() || line_.starts_with('#')) {
      next_line();
      skip_empty();
      if (at_end_) return nullptr;
      // PyYAML does not indent the items of a list.
      const bool list = line_ == "-" || line_.starts_with("- ");
      if (list && indent_ >= indent) return read_list(indent_);
      if (indent_ > indent) return read_map(indent_, depth + 1);
      return nullptr;
    }
    for (const std::string_view none : {"{}", "[]"}) {
      if (!line_.starts_with(none)) continue;
      line_.remove_prefix(2);
      end_line();
      return none == "{}" ? json::object() : json::array();
    }
    auto text = read_scalar(indent);
    return text ? json(*std::move(text)) : json(nullptr);
  }

  json read_list(std::size_t indent) {
    json list = json::array();
    for (skip_empty(); !at_end_ && indent_ == indent && (line_ == "-" || line_.starts_with("- "));
         skip_empty()) {
      line_.remove_prefix(std::min<std::size_t>(2, line_.size()));
      auto text = read_scalar(indent);
      list.push_back(text ? json(*std::move(text)) : json(nullptr));
    }
    return list;
  }

  void refuse_indicator() const {
    if (line_.empty()) return;
    constexpr std::string_view indicators = "&*!|>{}[]%@`,";
    if (indicators.find(line_.front()) != std::string_view::npos) {
      fail(std::string("a value that begins with '") + line_.front() + "' is not read here");
    }
  }

  // Nothing: null. Ends at the beginning of a line. indent: of what it is the value of.
  std::optional<std::string> read_scalar(std::size_t indent) {
    while (!line_.empty() && is_blank(line_.front())) line_.remove_prefix(1);
    if (line_.starts_with('"') || line_.starts_with('\'')) {
      std::string text = read_quoted();
      end_line();
      return text;
    }
    refuse_indicator();
    std::string text = plain_part();
    next_line();
    // What is indented further goes on with it.
    for (std::size_t breaks = 0; !at_end_; next_line()) {
      if (line_.find_first_not_of(" \t") == std::string_view::npos) {
        ++breaks;
        continue;
      }
      if (indent_ <= indent) break;
      if (breaks == 0) {
        text += ' ';
      } else {
        text.append(breaks, '\n');
      }
      breaks = 0;
      text += plain_part();
    }
    if (text.empty() || text == "null" || text == "~" || text == "Null" || text == "NULL") {
      return std::nullopt;
    }
    return text;
  }

  // The line at hand as part of a plain scalar, without a comment.
  std::string plain_part() const {
    std::string_view part = line_;
    if (part.starts_with('#')) part = {};
    for (std::size_t at = part.find('#'); at != std::string_view::npos;
         at = part.find('#', at + 1)) {
      if (!is_blank(part[at - 1])) continue;
      part = part.substr(0, at);
      break;
    }
    while (!part.empty() && is_blank(part.back())) part.remove_suffix(1);
    if (part.find(": ") != std::string_view::npos || part.ends_with(':')) {
      fail("a plain value has a colon in it");
    }
    return std::string(part);
  }

  // From the quote at hand to behind the one that closes it.
  std::string read_quoted() {
    const char quote = line_.front();
    line_.remove_prefix(1);
    std::string text;
    solid_ = 0;
    for (;;) {
      if (line_.empty()) {
        fold(text);
        continue;
      }
      const char c = line_.front();
      line_.remove_prefix(1);
      if (c == quote) {
        if (quote == '"' || !line_.starts_with('\'')) return text;
        line_.remove_prefix(1);
        text += '\'';
      } else if (c == '\\' && quote == '"') {
        read_escape(text);
      } else {
        text += c;
      }
      if (!is_blank(c)) solid_ = text.size();
    }
  }

  // The end of a line within quotes: one break is a blank, more are one less.
  void fold(std::string& text) {
    text.resize(solid_);
    std::size_t breaks = 0;
    do {
      next_line();
      if (at_end_) fail("a quoted value has no end");
      while (!line_.empty() && is_blank(line_.front())) line_.remove_prefix(1);
      ++breaks;
    } while (line_.empty());
    if (breaks == 1) {
      text += ' ';
    } else {
      text.append(breaks - 1, '\n');
    }
    solid_ = text.size();
  }

  void read_escape(std::string& text) {
    if (line_.empty()) {  // the line goes on
      next_line();
      if (at_end_) fail("a quoted value has no end");
      while (!line_.empty() && is_blank(line_.front())) line_.remove_prefix(1);
      return;
    }
    const char c = line_.front();
    line_.remove_prefix(1);
    constexpr std::string_view names = "0abtnvfre\"/\\ N_LP";
    constexpr std::uint32_t codes[] = {0,   7,   8,    9,   10,   11,   12,     13,    27,
                                       '"', '/', '\\', ' ', 0x85, 0xa0, 0x2028, 0x2029};
    if (const auto at = names.find(c); at != std::string_view::npos) {
      mizzen::detail::append_utf8(text, codes[at]);
      return;
    }
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    std::uint32_t code = 0;
    if (digits == 0 || line_.size() < digits) fail("there is an escape that YAML does not have");
    const char* const end = line_.data() + digits;
    const bool read = std::from_chars(line_.data(), end, code, 16).ptr == end;
    if (!read || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      fail("there is an escape of no character");
    }
    line_.remove_prefix(digits);
    mizzen::detail::append_utf8(text, code);
  }

  std::string_view text_;  // behind the line at hand
  std::string_view line_;
  std::size_t indent_ = 0;
  std::size_t number_ = 0;
  std::size_t solid_ = 0;  // end of what a fold must not cut off, in the quoted text at hand
  bool at_end_ = false;
};

[[noreturn]] void refuse(const char* key, const char* why) {
  throw error(errc::data_loss, key, why);
}

}  // namespace

json read_yaml(std::string_view text) { return reader(text).read(); }

std::string yaml_text(const json& map, const char* key) {
  const auto found = map.find(key);
  if (found == map.end() || found->is_null()) return {};
  if (!found->is_string()) refuse(key, "it is not text");
  return found->get<std::string>();
}

std::optional<std::int64_t> yaml_integer(const json& map, const char* key) {
  const std::string text = yaml_text(map, key);
  if (text.empty()) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size()) refuse(key, "it is no number");
  return number;
}

string_map yaml_map(const json& map, const char* key) {
  string_map out;
  const auto found = map.find(key);
  if (found == map.end() || found->is_null()) return out;
  if (!found->is_object()) refuse(key, "it is no mapping");
  for (const auto& [name, value] : found->items()) {
    if (!value.is_string() && !value.is_null()) refuse(key, "it holds more than text");
    out[name] = value.is_null() ? std::string() : value.get<std::string>();
  }
  return out;
}

}  // namespace mizzen::tracking::detail
