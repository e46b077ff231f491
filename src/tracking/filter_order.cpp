#include "tracking/filter.hpp"
#include "tracking/filter_fields.hpp"
#include "tracking/filter_walker.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

// What shlex.split() makes of a text, or nothing where it fails.
std::optional<std::vector<std::string>> shell_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool open = false;  // a word has begun
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      if (open) words.push_back(std::exchange(word, {}));
      open = false;
      continue;
    }
    open = true;
    if (c == '\\') {
      if (++at == text.size()) return std::nullopt;
      word += text[at];
    } else if (c == '\'' || c == '"') {
      for (++at; at < text.size() && text[at] != c; ++at) {
        if (c == '"' && text[at] == '\\') {
          if (++at == text.size()) return std::nullopt;
          if (text[at] != '\\' && text[at] != '"') word += '\\';
        }
        word += text[at];
      }
      if (at >= text.size()) return std::nullopt;
    } else {
      word += c;
    }
  }
  if (open) words.push_back(word);
  return words;
}

}  // namespace

order_term parse_order(entity of, std::string_view text, std::size_t index) {
  const std::string subject = "order_by[" + std::to_string(index) + "]";
  const auto refuse = [&](std::string_view what) {
    refuse_at(subject, text, 0, text.size(), what);
  };
  const std::string allowed = "allowed is one of " + attribute_names(of, true) +
                              (of == entity::run     ? ", metrics.KEY, params.KEY, tags.KEY"
                               : of == entity::trace ? ", tags.KEY, metadata.KEY"
                                                     : "") +
                              ", then ASC or DESC";

  walker words(subject, text);
  walker::range place{words.here().from, words.here().to};
  if (words.here().kind == token_kind::timestamp) {
    if (words.text(words.take()) != "timestamp") refuse(allowed);
    if (words.here().kind == token_kind::space) {
      words.take();
      if (words.here().kind != token_kind::order) refuse(allowed);
    }
    if (words.here().kind == token_kind::order) place.to = words.take().to;
  } else if (words.here().kind == token_kind::name || words.here().kind == token_kind::symbol) {
    place = words.take_identifier();
  } else {
    refuse(allowed);
  }
  if (words.here().kind != token_kind::end) refuse(allowed);

  order_term term;
  std::string field(words.text(place));
  std::string quoted = field;
  std::replace(quoted.begin(), quoted.end(), '`', '"');
  const auto split = shell_words(quoted);
  if (!split || split->size() > 2) refuse(allowed);
  if (split->size() == 2) {
    const std::string direction = ascii_upper(split->at(1));
    if (direction != "ASC" && direction != "DESC") refuse("the second word is ASC or DESC");
    term.ascending = direction == "ASC";
    field = split->at(0);
  }
  std::string_view key = strip_space(field);

  if (of != entity::registered_model) {
    const auto dot = key.find('.');
    if (dot != std::string_view::npos) {
      const std::string_view prefix = key.substr(0, dot);
      std::optional<field_kind> kind;
      if (of == entity::run) {
        kind = run_prefix(without_backticks(prefix));
      } else if (of == entity::trace) {
        kind = trace_prefix(without_backticks(prefix));
      } else if (prefix == "attribute") {
        kind = field_kind::attribute;
      } else if (of == entity::model_version && (prefix == "tag" || prefix == "tags")) {
        // MLflow looks at the key alone here.
        kind = field_kind::attribute;
      }
      if (!kind || *kind == field_kind::dataset || *kind == field_kind::span) refuse(allowed);
      term.kind = *kind;
      key.remove_prefix(dot + 1);
    }
    key = bare_key(key);
  }
  if (of == entity::trace) {
    std::string known(key);
    term.kind = trace_kind(term.kind, known);
    field = known;  // which key may have pointed into
    key = field;
  }
  if (term.kind != field_kind::attribute) {
    term.key = of == entity::run ? without_alias(key) : key;
    return term;
  }
  const attribute* found = find_attribute(of, key, true);
  if (found == nullptr) refuse(allowed);
  term.key = found->column == "run_name" ? "name" : found->column;
  return term;
}

}  // namespace mizzen::tracking::detail
