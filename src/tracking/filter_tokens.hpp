// The words of MLflow's filter language, cut as sqlparse 0.6 cuts SQL (its lexer's ordered rules).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

enum class token_kind {
  space,      // a run of it
  name,       // a word, or `…`
  symbol,     // "…"
  text,       // '…'
  integer,    // 12, -3
  floating,   // 1.5, .5, 2e-3
  operation,  // = != < LIKE …, also such as no field takes: ~ NOT LIKE
  dot,
  cast,   // ::
  open,   // (
  close,  // )
  comma,
  order,      // ASC, DESC NULLS LAST …
  timestamp,  // this word alone, which SQL has for a type
  and_,
  in,
  is,
  not_,
  not_null,  // NOT NULL, two words
  null,
  end,  // after the last
};

struct token {
  token_kind kind = token_kind::end;
  std::size_t from = 0;  // bytes
  std::size_t to = 0;
};

// The tokens of a text, with one `end` behind them. Throws error(invalid_argument) with the given
// subject: not UTF-8, too long (filter_length, 10,000 words), or a word that no filter can hold.
std::vector<token> read_tokens(std::string_view subject, std::string_view text);

// The error for what stands at [from, to): "character 7, near 'x': <what>".
[[noreturn]] void refuse_at(std::string_view subject, std::string_view text, std::size_t from,
                            std::size_t to, std::string_view what);

// Without the white space (Unicode's) at both ends.
std::string_view strip_space(std::string_view text);

std::string ascii_upper(std::string_view text);

}  // namespace mizzen::tracking::detail
