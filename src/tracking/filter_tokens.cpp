#include "tracking/filter_tokens.hpp"

#include "tracking/filter.hpp"
#include "tracking/validate.hpp"
#include "tracking/word_characters.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t most_tokens = 10'000;  // sqlparse's MAX_GROUPING_TOKENS

struct character {
  char32_t code = 0;
  std::size_t length = 0;  // bytes; 0 at the end of the text
};

// The text is UTF-8 by now.
character character_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return {};
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {((lead & 0x1fU) << 6) | (byte(1) & 0x3fU), 2};
  if (lead < 0xf0) {
    return {((lead & 0x0fU) << 12) | ((byte(1) & 0x3fU) << 6) | (byte(2) & 0x3fU), 3};
  }
  return {((lead & 0x07U) << 18) | ((byte(1) & 0x3fU) << 12) | ((byte(2) & 0x3fU) << 6) |
              (byte(3) & 0x3fU),
          4};
}

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

// \w of Python's re.
bool is_word(char32_t c) {
  if (c < 0x80) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }
  const auto* after =
      std::upper_bound(std::begin(word_characters), std::end(word_characters), c,
                       [](char32_t code, const code_points& range) { return code < range.first; });
  return after != std::begin(word_characters) && c <= std::prev(after)->last;
}

// [A-ZÀ-Ü] of Python's re without regard to case, which also takes dotless and dotted i, long s,
// and the signs Kelvin and Angstrom.
bool is_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xdc) ||
         (c >= 0xe0 && c <= 0xfc && c != 0xf7) || c == 0x130 || c == 0x131 || c == 0x17f ||
         c == 0x212a || c == 0x212b;
}

bool is_operator(char c) { return c == '<' || c == '>' || c == '=' || c == '~' || c == '!'; }

class lexer {
 public:
  lexer(std::string_view subject, std::string_view text) : subject_(subject), text_(text) {}

  std::vector<token> read() {
    while (at_ < text_.size()) {
      read_one();
      if (count_ > most_tokens) {
        refuse_at(subject_, text_, at_, at_, "more than 10,000 words; ask for less at once");
      }
    }
    out_.push_back({token_kind::end, at_, at_});
    return std::move(out_);
  }

 private:
  void add(token_kind kind, std::size_t to) {
    out_.push_back({kind, at_, to});
    at_ = to;
    ++count_;
  }

  [[noreturn]] void refuse(std::size_t to, std::string_view what) const {
    refuse_at(subject_, text_, at_, to, what);
  }

  bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  std::size_t skip_spaces(std::size_t at) const {
    for (character c = character_at(text_, at); c.length > 0 && is_space(c.code);
         c = character_at(text_, at)) {
      at += c.length;
    }
    return at;
  }
  std::size_t skip_word(std::size_t at) const {
    for (character c = character_at(text_, at); c.length > 0 && is_word(c.code);
         c = character_at(text_, at)) {
      at += c.length;
    }
    return at;
  }
  std::size_t skip_digits(std::size_t at) const {
    while (at < text_.size() && is_digit(text_[at])) ++at;
    return at;
  }
  // Whether a number may not end here: a letter or _ follows.
  bool glued(std::size_t at) const {
    const character c = character_at(text_, at);
    return c.length > 0 && (c.code == '_' || is_letter(c.code));
  }
  // The word at this place in capitals, and where it ends.
  std::string word_at(std::size_t at) const {
    return ascii_upper(text_.substr(at, skip_word(at) - at));
  }

  void read_spaces() {
    std::size_t to = at_;
    for (character c = character_at(text_, to); c.length > 0 && is_space(c.code);
         c = character_at(text_, to)) {
      // Each counts, but a line's end of two characters once.
      if (!text_.substr(to).starts_with("\r\n")) ++count_;
      to += c.length;
    }
    --count_;
    add(token_kind::space, to);
  }

  // Where a quoted text whose inside starts at each place ends, as a backtracking search for
  // '(''|\'|[^'])*' finds it: as late as a doubled or escaped quote lets it, at a single quote
  // else.
  class ends {
   public:
    ends(std::string_view text, char quote, bool escapes) : after_(text.size() + 2, none) {
      for (std::size_t at = text.size(); at-- > 0;) {
        const bool pair = at + 1 < text.size() && text[at + 1] == quote && after_[at + 2] != none;
        if (text[at] == quote) {
          after_[at] = pair ? after_[at + 2] : static_cast<std::uint32_t>(at + 1);
        } else if (escapes && text[at] == '\\' && pair) {
          after_[at] = after_[at + 2];
        } else {
          after_[at] = after_[at + 1];
        }
      }
    }
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t of(std::size_t inside) const { return after_[inside]; }

   private:
    std::vector<std::uint32_t> after_;
  };

  void read_quoted(token_kind kind, std::vector<ends>& known, char quote, bool escapes) {
    if (known.empty()) known.emplace_back(text_, quote, escapes);
    const std::uint32_t to = known.front().of(at_ + 1);
    if (to == ends::none) refuse(at_ + 1, "this quote is never closed");
    add(kind, to);
  }

  // Reads a number at this place, if one can be cut off here.
  bool read_number() {
    const std::size_t sign = text_[at_] == '-' ? 1 : 0;
    const std::size_t first = at_ + sign;
    const std::size_t whole = skip_digits(first);
    if (whole > first) {
      if (text_[first] == '0' && whole == first + 1 && whole + 1 < text_.size() &&
          (text_[whole] | 0x20) == 'x') {
        const char digit = static_cast<char>(text_[whole + 1] | 0x20);
        if (is_digit(text_[whole + 1]) || (digit >= 'a' && digit <= 'f')) {
          refuse(whole + 2, "numbers are decimal here");
        }
      }
      std::size_t mantissa = whole;
      if (mantissa < text_.size() && text_[mantissa] == '.' &&
          skip_digits(mantissa + 1) > mantissa + 1) {
        mantissa = skip_digits(mantissa + 1);
      }
      for (const std::size_t end : {mantissa, whole}) {
        if (end < text_.size() && (text_[end] | 0x20) == 'e') {
          const std::size_t exponent =
              end + 1 + (end + 1 < text_.size() && text_[end + 1] == '-' ? 1U : 0U);
          if (skip_digits(exponent) > exponent) {
            add(token_kind::floating, skip_digits(exponent));
            return true;
          }
        }
      }
    }
    // A letter behind pushes the end back by one digit, if there is one to spare.
    if (whole < text_.size() && text_[whole] == '.') {
      std::size_t end = skip_digits(whole + 1);
      const std::size_t least = whole > first ? whole + 1 : whole + 2;
      if (glued(end) && end > least) --end;
      if (end >= least && !glued(end)) {
        add(token_kind::floating, end);
        return true;
      }
    }
    if (whole > first) {
      std::size_t end = whole;
      if (glued(end) && end > first + 1) --end;
      if (!glued(end)) {
        add(token_kind::integer, end);
        return true;
      }
    }
    return false;
  }

  // After NOT: what the next word makes of it.
  void read_not(std::size_t to) {
    const std::size_t next = skip_spaces(to);
    if (next > to) {
      const std::string word = word_at(next);
      if (word == "NULL") return add(token_kind::not_null, skip_word(next));
      if (word == "LIKE" || word == "ILIKE" || word == "RLIKE" || word == "REGEXP") {
        return add(token_kind::operation, skip_word(next));
      }
    }
    add(token_kind::not_, to);
  }

  void read_order(std::size_t to) {
    const std::size_t nulls = skip_spaces(to);
    if (nulls > to && word_at(nulls) == "NULLS") {
      const std::size_t between = skip_word(nulls);
      const std::size_t last = skip_spaces(between);
      const std::string word = word_at(last);
      if (last > between && (word == "FIRST" || word == "LAST")) to = skip_word(last);
    }
    add(token_kind::order, to);
  }

  void read_word() {
    const std::size_t to = skip_word(at_);
    const std::string word = ascii_upper(text_.substr(at_, to - at_));
    if (word == "IN") return add(token_kind::in, to);
    if (word == "CASE" || word == "VALUES" || word == "USING" || word == "FROM" || word == "AS") {
      refuse(to, "this word of SQL is a key in quotes only: `" +
                     std::string(text_.substr(at_, to - at_)) + "`");
    }
    const character first = character_at(text_, at_);
    if (is_letter(first.code)) {
      const std::size_t end = skip_word(at_ + first.length);
      const std::size_t dot = skip_spaces(end);
      const bool before_dot = dot < text_.size() && text_[dot] == '.' &&
                              !(dot + 1 < text_.size() && is_digit(text_[dot + 1]));
      const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
      if (before_dot || after_dot) return add(token_kind::name, end);
      if (end < text_.size() && text_[end] == '(') {
        refuse(end + 1, "there are no functions; put a space before a parenthesis");
      }
      if (word == "AND") return add(token_kind::and_, to);
      if (word == "IS") return add(token_kind::is, to);
      if (word == "NULL") return add(token_kind::null, to);
      if (word == "NOT") return read_not(to);
      if (word == "ASC" || word == "DESC") return read_order(to);
      if (word == "LIKE" || word == "ILIKE" || word == "RLIKE" || word == "REGEXP") {
        return add(token_kind::operation, to);
      }
      if (word == "TIMESTAMP") return add(token_kind::timestamp, to);
      if (word == "OR") refuse(to, "clauses are joined by AND only; ask twice for an OR");
      if (word == "PARAMETER" || word == "PARAMETERS" || word == "SOURCE" || word == "VERSION") {
        refuse(to, "this word of SQL stands before a key that starts with a letter only");
      }
    }
    // A word may go on with these two, which cannot start one.
    std::size_t end = at_ + first.length;
    for (character c = character_at(text_, end);
         c.length > 0 && (is_word(c.code) || c.code == '$' || c.code == '#');
         c = character_at(text_, end)) {
      end += c.length;
    }
    add(token_kind::name, end);
  }

  void read_one() {
    const char c = text_[at_];
    const character here = character_at(text_, at_);
    if (is_space(here.code)) return read_spaces();
    if (starts("--") || starts("# ") || starts("/*")) refuse(at_ + 2, "there are no comments");
    if (starts("::")) return add(token_kind::cast, at_ + 2);
    switch (c) {
      case '`':
        return read_quoted(token_kind::name, back_ends_, '`', false);
      case '\'':
        return read_quoted(token_kind::text, single_ends_, '\'', true);
      case '"':
        return read_quoted(token_kind::symbol, double_ends_, '"', true);
      case '(':
        return add(token_kind::open, at_ + 1);
      case ')':
        return add(token_kind::close, at_ + 1);
      case ',':
        return add(token_kind::comma, at_ + 1);
      default:
        break;
    }
    if ((is_digit(c) || c == '-' || c == '.') && read_number()) return;
    if (c == '.') return add(token_kind::dot, at_ + 1);
    if (is_operator(c)) {
      std::size_t to = at_;
      while (to < text_.size() && is_operator(text_[to])) ++to;
      return add(token_kind::operation, to);
    }
    if (is_word(here.code) || is_letter(here.code)) return read_word();
    refuse(at_ + here.length,
           "this character stands in quotes only; a key with it is written `in backticks`");
  }

  std::string_view subject_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t count_ = 0;
  std::vector<token> out_;
  // Made when the first such quote is met.
  std::vector<ends> single_ends_;
  std::vector<ends> double_ends_;
  std::vector<ends> back_ends_;
};

}  // namespace

std::vector<token> read_tokens(std::string_view subject, std::string_view text) {
  if (text.size() > filter_length) {
    throw error(errc::invalid_argument, subject, "it is longer than a million bytes");
  }
  check_text(subject, text);
  return lexer(subject, text).read();
}

void refuse_at(std::string_view subject, std::string_view text, std::size_t from, std::size_t to,
               std::string_view what) {
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; };
  const auto place =
      1 + std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(from), is_start);
  std::string message = "at character " + std::to_string(place);
  if (from < to) {
    constexpr std::size_t most = 40;
    std::size_t shown = std::min(to - from, most);
    while (from + shown < to && !is_start(text[from + shown])) ++shown;
    message += ", '" + std::string(text.substr(from, shown)) + (from + shown < to ? "…'" : "'");
  } else if (from >= text.size()) {
    message += ", the end";
  }
  message += ": ";
  message += what;
  throw error(errc::invalid_argument, subject, message);
}

std::string_view strip_space(std::string_view text) {
  for (character c = character_at(text, 0); c.length > 0 && is_space(c.code);
       c = character_at(text, 0)) {
    text.remove_prefix(c.length);
  }
  while (!text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0U) == 0x80) --last;
    if (!is_space(character_at(text, last).code)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string ascii_upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

}  // namespace mizzen::tracking::detail
