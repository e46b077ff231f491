// The tokens of a filter or an order in their order.
#pragma once

#include "tracking/filter_tokens.hpp"

#include <cstddef>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// Walks over tokens; what several of them make up is given as the place in the text.
class walker {
 public:
  walker(std::string_view subject, std::string_view text)
      : subject_(subject), text_(text), tokens_(read_tokens(subject, text)) {}

  struct range {
    std::size_t from = 0;
    std::size_t to = 0;
  };

  const token& here() const { return tokens_[at_]; }
  const token& take() { return tokens_[at_++]; }
  // The next token that is no space.
  const token& next() {
    skip_spaces();
    return here();
  }
  bool take_if(token_kind kind) {
    if (next().kind != kind) return false;
    ++at_;
    return true;
  }

  bool at_identifier() {
    const token_kind kind = next().kind;
    return kind == token_kind::name || kind == token_kind::symbol;
  }

  // Names and quoted names with dots between them, with what SQL takes along: ASC or DESC and
  // "::type" behind.
  range take_identifier() {
    range whole{here().from, take().to};
    for (;;) {
      if (const token* dot = behind_spaces(token_kind::dot)) {
        whole.to = dot->to;
        for (const token_kind kind : {token_kind::name, token_kind::symbol, token_kind::text}) {
          if (const token* part = behind_spaces(kind)) {
            whole.to = part->to;
            break;
          }
        }
      } else if (const token* order = behind_spaces(token_kind::order)) {
        whole.to = order->to;
        while ((order = behind_spaces(token_kind::order)) != nullptr) whole.to = order->to;
        if (!take_cast(whole)) return whole;
      } else if (!take_cast(whole)) {
        return whole;
      }
    }
  }

  std::string_view text(range of) const { return text_.substr(of.from, of.to - of.from); }
  std::string_view text(const token& of) const { return text({of.from, of.to}); }

  [[noreturn]] void refuse(range at, std::string_view what) const {
    refuse_at(subject_, text_, at.from, at.to, what);
  }
  [[noreturn]] void refuse(const token& at, std::string_view what) const {
    refuse({at.from, at.to}, what);
  }

 private:
  void skip_spaces() {
    while (here().kind == token_kind::space) ++at_;
  }

  // The token of this kind that comes next, taken; or none, and nothing is.
  const token* behind_spaces(token_kind kind) {
    std::size_t at = at_;
    while (tokens_[at].kind == token_kind::space) ++at;
    if (tokens_[at].kind != kind) return nullptr;
    at_ = at + 1;
    return &tokens_[at];
  }

  bool take_cast(range& whole) {
    const std::size_t before = at_;
    if (behind_spaces(token_kind::cast) == nullptr) return false;
    for (const token_kind kind : {token_kind::name, token_kind::symbol, token_kind::text,
                                  token_kind::integer, token_kind::floating}) {
      if (const token* part = behind_spaces(kind)) {
        whole.to = part->to;
        return true;
      }
    }
    at_ = before;
    return false;
  }

  std::string_view subject_;
  std::string_view text_;
  std::vector<token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace mizzen::tracking::detail
