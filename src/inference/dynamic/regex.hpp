// Regular expressions whose time and memory are bounded, whatever the expression and the text.
#pragma once

#include <mizzen/core/cancellation.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

// An expression in the syntax of RE2, on UTF-8: literals, ., classes ([a-z], [^…], \d \w \s and
// their negations, [:alpha:] …), groups (without captures), |, * + ? {n,m} and their lazy forms,
// ^ $ \b \B \A \z, escapes, (?i) and (?s) at the front. Matching follows all possibilities at once:
// its time is at most the product of the lengths of text and expression.
class regex {
 public:
  // Throws error(invalid_argument) for a wrong expression, error(unimplemented) for what is not
  // supported, error(resource_exhausted) for one that unfolds into too much.
  explicit regex(std::string_view pattern);

  // Whether the expression matches the whole text. Bytes that are no UTF-8 stand for themselves.
  // Throws cancelled / deadline_exceeded.
  bool matches(std::string_view text, const cancellation& cancel = {}) const;

 private:
  friend class regex_parser;

  struct range {
    char32_t first, last;
  };
  // What an instruction does: takes a code point, goes on at one or two places, or asks about the
  // place it is at.
  enum class action : std::uint8_t { take, jump, fork, begin, end, boundary, no_boundary, done };
  struct instruction {
    action what = action::done;
    bool negated = false;     // take: anything but the ranges
    std::uint32_t to = 0;     // where to go on
    std::uint32_t or_to = 0;  // fork
    std::uint32_t first = 0;  // take: its ranges
    std::uint32_t count = 0;
  };

  bool takes(const instruction& i, char32_t c) const noexcept;

  std::vector<instruction> program_;
  std::vector<range> ranges_;
};

}  // namespace mizzen::inference::detail
