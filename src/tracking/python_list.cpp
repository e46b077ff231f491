#include "tracking/python_list.hpp"

namespace mizzen::tracking::detail {
namespace {

constexpr int most_nested = 50;

// Each member gives whether it could be read.
class list_reader {
 public:
  list_reader(std::string_view text, std::size_t most) : text_(text), most_(most) {}

  bool read() { return read_parenthesis(0) && (skip_spaces(), at_ == text_.size()); }
  std::vector<std::string> take() { return std::move(texts_); }

 private:
  char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_spaces() {
    for (;; ++at_) {
      if (text_.substr(at_).starts_with("\\\n")) ++at_;
      const char c = here();
      if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f') return;
    }
  }

  // "( )", "(x)", "(x,)", "(x, y)", where x of "(x)" may be a parenthesis again: a tuple only where
  // there is a comma or nothing.
  bool read_parenthesis(int depth) {
    ++at_;  // "("
    bool tuple = false;
    bool nested_tuple = false;
    std::size_t count = 0;
    for (;;) {
      skip_spaces();
      if (here() == ')') {
        ++at_;
        is_tuple_ = tuple || count == 0 || nested_tuple;
        return !(tuple && nested_tuple);
      }
      if (count > 0 && !tuple) return false;
      if (here() == '(') {
        if (depth == most_nested || !read_parenthesis(depth + 1)) return false;
        nested_tuple = nested_tuple || is_tuple_;
      } else if (texts_.size() == most_ || !read_texts()) {
        return false;
      }
      ++count;
      skip_spaces();
      if (here() == ',') {
        tuple = true;
        ++at_;
      } else if (here() != ')') {
        return false;
      }
    }
  }

  // One text, or several side by side, which Python joins.
  bool read_texts() {
    std::string whole;
    bool any = false;
    for (;; any = true) {
      skip_spaces();
      const std::size_t before = at_;
      bool raw = false;
      if (here() == 'r' || here() == 'R') {
        raw = true;
        ++at_;
      } else if (here() == 'u' || here() == 'U') {
        ++at_;
      }
      const char quote = here();
      if (quote != '\'' && quote != '"') {
        if (!any || at_ != before) return false;
        texts_.push_back(std::move(whole));
        return true;
      }
      ++at_;
      if (here() == quote && text_.substr(at_ + 1).starts_with(quote)) return false;  // triple
      while (here() != quote) {
        if (at_ >= text_.size() || here() == '\n' || here() == '\r') return false;
        if (here() != '\\') {
          whole += text_[at_++];
        } else if (raw) {
          whole += text_[at_++];
          if (at_ < text_.size()) whole += text_[at_++];
        } else if (!read_escape(whole)) {
          return false;
        }
      }
      ++at_;
    }
  }

  bool read_code(std::size_t digits, char32_t& code) {
    code = 0;
    for (std::size_t i = 0; i < digits; ++i, ++at_) {
      const char c = here();
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        code = code * 16 + static_cast<char32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        code = code * 16 + static_cast<char32_t>(lower - 'a' + 10);
      } else {
        return false;
      }
    }
    return true;
  }

  static bool append(std::string& to, char32_t code) {
    const auto put = [&](char32_t byte) { to += static_cast<char>(byte); };
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | (code >> 6));
      put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      put(0xe0 | (code >> 12));
      put(0x80 | ((code >> 6) & 0x3f));
      put(0x80 | (code & 0x3f));
    } else {
      put(0xf0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3f));
      put(0x80 | ((code >> 6) & 0x3f));
      put(0x80 | (code & 0x3f));
    }
    return true;
  }

  bool read_escape(std::string& to) {
    ++at_;  // the backslash
    if (at_ >= text_.size()) return false;
    const char c = text_[at_];
    constexpr std::string_view names = "abfnrtv\\'\"";
    constexpr std::string_view values = "\a\b\f\n\r\t\v\\'\"";
    if (const auto known = names.find(c); known != std::string_view::npos) {
      to += values[known];
      ++at_;
      return true;
    }
    if (c == '\n') {
      ++at_;
      return true;
    }
    if (c == '\r') {
      at_ += text_.substr(at_).starts_with("\r\n") ? 2 : 1;
      return true;
    }
    char32_t code = 0;
    if (c >= '0' && c <= '7') {
      for (int i = 0; i < 3 && here() >= '0' && here() <= '7'; ++i, ++at_) {
        code = code * 8 + static_cast<char32_t>(here() - '0');
      }
      return append(to, code);
    }
    if (c == 'x' || c == 'u' || c == 'U') {
      ++at_;
      return read_code(c == 'x' ? 2 : c == 'u' ? 4 : 8, code) && append(to, code);
    }
    if (c == 'N') return false;
    to += '\\';  // Python leaves an escape that it does not know
    return true;
  }

  std::string_view text_;
  std::size_t most_;
  std::size_t at_ = 0;
  std::vector<std::string> texts_;
  bool is_tuple_ = false;  // what the parenthesis that was read last is
};

}  // namespace

std::optional<std::vector<std::string>> read_python_list(std::string_view text, std::size_t most) {
  list_reader reader(text, most);
  if (!reader.read()) return std::nullopt;
  return reader.take();
}

}  // namespace mizzen::tracking::detail
