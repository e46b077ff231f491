#include "inference/dynamic/regex.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace mizzen::inference::detail {
namespace {

constexpr std::size_t max_instructions = 50'000;
constexpr int max_depth = 200;
constexpr int max_repeat = 1000;
constexpr char32_t last_code_point = 0x10ffff;

// The next code point, taken off the text; a byte that starts none stands for itself, beyond all
// code points.
char32_t take_code_point(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  char32_t c = length == 1 ? lead : lead & (0xffU >> (length + 1));
  bool good = lead < 0x80 || (lead >= 0xc2 && lead < 0xf5 && text.size() >= length);
  for (std::size_t i = 1; good && i < length; ++i) {
    good = (byte(i) & 0xc0U) == 0x80;
    c = c << 6 | (byte(i) & 0x3fU);
  }
  if (!good) {
    text.remove_prefix(1);
    return last_code_point + 1 + lead;
  }
  text.remove_prefix(length);
  return c;
}

bool is_word(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

}  // namespace

// Recursive descent into instructions. A piece is a run of them that goes on behind its end.
class regex_parser {
 public:
  regex_parser(regex& out, std::string_view pattern) : out_(out), rest_(pattern) {}

  void run() {
    flags();
    piece all = alternatives(0);
    if (!rest_.empty()) wrong("an unmatched )");
    append(all, {{.what = regex::action::done}});
    out_.program_ = std::move(all);
  }

 private:
  using instruction = regex::instruction;
  using range = regex::range;
  // Jumps are relative to the start of the piece.
  using piece = std::vector<instruction>;
  struct set {
    std::vector<range> ranges;
    bool negated = false;
  };

  [[noreturn]] static void wrong(const std::string& what) {
    throw error(errc::invalid_argument, "attribute 'pattern'", what);
  }
  [[noreturn]] static void unsupported(const std::string& what) {
    throw error(errc::unimplemented, "attribute 'pattern'", what);
  }

  bool accept(std::string_view what) {
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }

  void flags() {
    while (rest_.starts_with("(?i)") || rest_.starts_with("(?s)")) {
      (rest_[2] == 'i' ? ignore_case_ : dot_takes_newline_) = true;
      rest_.remove_prefix(4);
    }
  }

  void append(piece& to, const piece& more) {
    const auto shift = static_cast<std::uint32_t>(to.size());
    instructions_ += more.size();
    if (to.size() + more.size() > max_instructions || instructions_ > 8 * max_instructions) {
      throw error(errc::resource_exhausted, "attribute 'pattern'",
                  "it unfolds into too many states");
    }
    for (instruction i : more) {
      i.to += shift;
      i.or_to += shift;
      to.push_back(i);
    }
  }

  static instruction next(regex::action what) { return {.what = what, .to = 1}; }

  piece fork(std::uint32_t to, std::uint32_t or_to) {
    return {{.what = regex::action::fork, .to = to, .or_to = or_to}};
  }

  piece alternatives(int depth) {
    if (depth > max_depth) unsupported("groups nested too deeply");
    piece result = sequence(depth);
    while (accept("|")) {
      const piece other = sequence(depth);
      piece both;
      const auto first = static_cast<std::uint32_t>(result.size());
      append(both, fork(1, first + 2));
      append(both, result);
      append(both,
             {{.what = regex::action::jump, .to = static_cast<std::uint32_t>(other.size()) + 1}});
      append(both, other);
      result = std::move(both);
    }
    return result;
  }

  piece sequence(int depth) {
    piece result;
    while (!rest_.empty() && rest_.front() != '|' && rest_.front() != ')') {
      append(result, repeated(atom(depth)));
    }
    return result;
  }

  piece atom(int depth) {
    if (accept("(")) {
      if (accept("?")) {
        const bool named =
            accept("P<") || (!rest_.starts_with("<=") && !rest_.starts_with("<!") && accept("<"));
        if (named) {
          const std::size_t end = rest_.find('>');
          if (end == rest_.npos) wrong("a group's name without its end");
          rest_.remove_prefix(end + 1);
        } else if (!accept(":")) {
          unsupported("(? other than (?: and names, and than (?i) and (?s) at the front");
        }
      }
      piece inner = alternatives(depth + 1);
      if (!accept(")")) wrong("a group without its )");
      return inner;
    }
    if (accept("^") || accept("\\A")) return {next(regex::action::begin)};
    if (accept("$") || accept("\\z")) return {next(regex::action::end)};
    if (accept("\\b")) return {next(regex::action::boundary)};
    if (accept("\\B")) return {next(regex::action::no_boundary)};
    if (accept("[")) return one(bracket());
    if (accept(".")) {
      set all{{}, true};
      if (!dot_takes_newline_) all.ranges.push_back({'\n', '\n'});
      return one(std::move(all));
    }
    if (std::string_view("*+?").find(rest_.front()) != std::string_view::npos) {
      wrong("a repetition of nothing");
    }
    if (accept("\\")) {
      if (auto known = escaped_class()) return one(std::move(*known));
      return literal(escaped());
    }
    return literal(take_code_point(rest_));
  }

  piece literal(char32_t c) { return one({{{c, c}}, false}); }

  piece one(set s) {
    if (ignore_case_) {
      for (std::size_t i = 0, n = s.ranges.size(); i < n; ++i) {
        const range r = s.ranges[i];
        if (r.last >= 0x80 && r.first != r.last && r.last != last_code_point) {
          unsupported("(?i) with letters beyond ASCII");
        }
        if (r.first == r.last && r.first >= 0x80) unsupported("(?i) with letters beyond ASCII");
        for (char32_t c = std::max<char32_t>(r.first, 'A'); c <= std::min<char32_t>(r.last, 'z');
             ++c) {
          if ((c >= 'a' && c <= 'z') || c <= 'Z') s.ranges.push_back({c ^ 0x20U, c ^ 0x20U});
        }
      }
    }
    instruction i = next(regex::action::take);
    i.negated = s.negated;
    i.first = static_cast<std::uint32_t>(out_.ranges_.size());
    i.count = static_cast<std::uint32_t>(s.ranges.size());
    out_.ranges_.insert(out_.ranges_.end(), s.ranges.begin(), s.ranges.end());
    return {i};
  }

  std::optional<int> number() {
    if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return std::nullopt;
    int value = 0;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      value = value * 10 + (rest_.front() - '0');
      if (value > max_repeat) unsupported("a repetition of more than 1000");
      rest_.remove_prefix(1);
    }
    return value;
  }

  // {n}, {n,} or {n,m}; anything else behind { is text.
  std::optional<std::pair<int, std::optional<int>>> counts() {
    const std::string_view before = rest_;
    if (!accept("{")) return std::nullopt;
    const auto least = number();
    std::optional<int> most = least;
    if (least && accept(",")) most = number();
    if (!least || !accept("}")) {
      rest_ = before;
      return std::nullopt;
    }
    if (most && *most < *least) wrong("a repetition of less than its least");
    return std::pair(*least, most);
  }

  piece repeated(piece what) {
    for (;;) {
      int least = 0;
      std::optional<int> most;
      if (accept("*")) {
      } else if (accept("+")) {
        least = 1;
      } else if (accept("?")) {
        most = 1;
      } else if (const auto both = counts()) {
        std::tie(least, most) = *both;
      } else {
        return what;
      }
      accept("?");  // whether it takes much or little does not change what a whole match is
      piece result;
      for (int i = 0; i < least; ++i) append(result, what);
      const auto size = static_cast<std::uint32_t>(what.size());
      if (!most) {
        append(result, fork(1, size + 2));
        append(result, what);
        // Back to the fork.
        const auto here = static_cast<std::uint32_t>(result.size());
        append(result, {{.what = regex::action::jump}});
        result.back().to = here - size - 1;
      }
      for (int i = least; most && i < *most; ++i) {
        append(result, fork(1, size + 1));
        append(result, what);
      }
      what = std::move(result);
    }
  }

  static set class_of(char name) {
    set s;
    switch (name) {
      case 'd':
      case 'D':
        s.ranges = {{'0', '9'}};
        break;
      case 'w':
      case 'W':
        s.ranges = {{'0', '9'}, {'a', 'z'}, {'A', 'Z'}, {'_', '_'}};
        break;
      default:
        s.ranges = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
    }
    s.negated = name < 'a';
    return s;
  }

  std::optional<set> escaped_class() {
    if (rest_.empty()) wrong("a \\ at the end");
    const char name = rest_.front();
    if (std::string_view("dDwWsS").find(name) == std::string_view::npos) return std::nullopt;
    rest_.remove_prefix(1);
    return class_of(name);
  }

  char32_t escaped() {
    if (rest_.empty()) wrong("a \\ at the end");
    const char32_t c = take_code_point(rest_);
    switch (c) {
      case 'n':
        return '\n';
      case 't':
        return '\t';
      case 'r':
        return '\r';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return '\a';
      case 'x':
        return hexadecimal();
      default:
        if (is_word(c)) unsupported("the escape \\" + std::string(1, static_cast<char>(c)));
        return c;
    }
  }

  char32_t hexadecimal() {
    const bool braces = accept("{");
    char32_t value = 0;
    std::size_t digits = 0;
    while (!rest_.empty() && digits < (braces ? 6U : 2U)) {
      const char c = rest_.front();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) break;
      value = value * 16 + static_cast<char32_t>(digit);
      rest_.remove_prefix(1);
      ++digits;
    }
    if (digits == 0 || (!braces && digits != 2) || (braces && !accept("}")) ||
        value > last_code_point) {
      wrong("a wrong \\x");
    }
    return value;
  }

  void add_named(set& s, std::string_view name) {
    struct named {
      std::string_view name;
      std::vector<range> ranges;
    };
    static const std::vector<named> classes{
        {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
        {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
        {"blank", {{'\t', '\t'}, {' ', ' '}}},
        {"digit", {{'0', '9'}}},
        {"lower", {{'a', 'z'}}},
        {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
        {"space", {{'\t', '\r'}, {' ', ' '}}},
        {"upper", {{'A', 'Z'}}},
        {"word", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}, {'_', '_'}}},
        {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
    };
    for (const named& each : classes) {
      if (each.name != name) continue;
      s.ranges.insert(s.ranges.end(), each.ranges.begin(), each.ranges.end());
      return;
    }
    unsupported("the class [:" + std::string(name) + ":]");
  }

  // What a negated class leaves, as ranges.
  static std::vector<range> complement(std::vector<range> ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const range& a, const range& b) { return a.first < b.first; });
    std::vector<range> rest;
    char32_t from = 0;
    for (const range& r : ranges) {
      if (r.first > from) rest.push_back({from, r.first - 1});
      from = std::max<char32_t>(from, r.last + 1);
    }
    if (from <= last_code_point) rest.push_back({from, last_code_point});
    return rest;
  }

  set bracket() {
    set s;
    s.negated = accept("^");
    bool first = true;
    while (first || !rest_.starts_with("]")) {
      if (rest_.empty()) wrong("a [ without its ]");
      first = false;
      if (accept("[:")) {
        const std::size_t end = rest_.find(":]");
        if (end == rest_.npos) wrong("a [: without its :]");
        add_named(s, rest_.substr(0, end));
        rest_.remove_prefix(end + 2);
        continue;
      }
      char32_t low = 0;
      if (accept("\\")) {
        if (auto known = escaped_class()) {
          const auto add = known->negated ? complement(known->ranges) : known->ranges;
          s.ranges.insert(s.ranges.end(), add.begin(), add.end());
          continue;
        }
        low = escaped();
      } else {
        low = take_code_point(rest_);
      }
      char32_t high = low;
      if (rest_.starts_with("-") && rest_.size() > 1 && rest_[1] != ']') {
        rest_.remove_prefix(1);
        high = accept("\\") ? escaped() : take_code_point(rest_);
        if (high < low) wrong("a range that ends before it starts");
      }
      s.ranges.push_back({low, high});
    }
    rest_.remove_prefix(1);
    return s;
  }

  regex& out_;
  std::string_view rest_;
  bool ignore_case_ = false;
  bool dot_takes_newline_ = false;
  std::size_t instructions_ = 0;
};

regex::regex(std::string_view pattern) { regex_parser(*this, pattern).run(); }

bool regex::takes(const instruction& i, char32_t c) const noexcept {
  for (std::uint32_t k = i.first; k < i.first + i.count; ++k) {
    if (c >= ranges_[k].first && c <= ranges_[k].last) return !i.negated;
  }
  return i.negated;
}

bool regex::matches(std::string_view text, const cancellation& cancel) const {
  // The instructions that some way of matching is at, each once.
  std::vector<std::uint32_t> now, later, open;
  std::vector<bool> seen(program_.size());
  bool before_is_word = false;
  bool at_begin = true;
  const auto enter = [&](std::uint32_t at, std::string_view rest,
                         std::vector<std::uint32_t>& into) {
    std::string_view ahead = rest;
    const bool next_is_word = !rest.empty() && is_word(take_code_point(ahead));
    open.assign(1, at);
    while (!open.empty()) {
      const std::uint32_t i = open.back();
      open.pop_back();
      if (seen[i]) continue;
      seen[i] = true;
      const instruction& step = program_[i];
      switch (step.what) {
        case action::take:
        case action::done:
          into.push_back(i);
          break;
        case action::fork:
          open.push_back(step.or_to);
          open.push_back(step.to);
          break;
        case action::jump:
          open.push_back(step.to);
          break;
        case action::begin:
          if (at_begin) open.push_back(step.to);
          break;
        case action::end:
          if (rest.empty()) open.push_back(step.to);
          break;
        case action::boundary:
          if (before_is_word != next_is_word) open.push_back(step.to);
          break;
        case action::no_boundary:
          if (before_is_word == next_is_word) open.push_back(step.to);
          break;
      }
    }
  };
  enter(0, text, now);
  for (std::size_t steps = 0; !text.empty() && !now.empty(); ++steps) {
    if (steps % 256 == 255) cancel.check("match of a regular expression");
    const char32_t c = take_code_point(text);
    before_is_word = is_word(c);
    at_begin = false;
    later.clear();
    seen.assign(program_.size(), false);
    for (const std::uint32_t i : now) {
      if (program_[i].what == action::take && takes(program_[i], c)) {
        enter(program_[i].to, text, later);
      }
    }
    std::swap(now, later);
  }
  return text.empty() && std::any_of(now.begin(), now.end(), [&](std::uint32_t i) {
           return program_[i].what == action::done;
         });
}

}  // namespace mizzen::inference::detail
