#include "tracking/filter.hpp"

#include "tracking/filter_fields.hpp"
#include "tracking/filter_walker.hpp"
#include "tracking/python_list.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/search.hpp>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view filter_subject = "filter";

constexpr std::string_view operator_names[] = {
    "=", "!=", ">", ">=", "<", "<=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"};

bool is_list(comparator op) { return op == comparator::in || op == comparator::not_in; }
bool is_presence(comparator op) {
  return op == comparator::is_null || op == comparator::is_not_null;
}
bool is_number_operator(comparator op) { return op <= comparator::less_equal; }
bool is_text_operator(comparator op) {
  return op == comparator::equal || op == comparator::not_equal || op == comparator::like ||
         op == comparator::ilike;
}

// What int() of Python makes of a text, within 64 bits.
std::optional<std::int64_t> python_integer(std::string_view text) {
  text = strip_space(text);
  std::string digits;
  if (text.starts_with('-')) digits = "-";
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.front() == '_' || text.back() == '_') return std::nullopt;
  if (text.find("__") != std::string_view::npos) return std::nullopt;
  for (const char c : text) {
    if (c == '_') continue;
    if (c < '0' || c > '9') return std::nullopt;
    digits += c;
  }
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (failed != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

// What float() of Python makes of a number as the lexer cuts it: what is too large is infinite.
double python_double(std::string_view text) {
  double number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec == std::errc::result_out_of_range) {
    const bool tiny =
        text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos;
    number = tiny ? 0 : std::numeric_limits<double>::infinity();
    if (text.starts_with('-')) number = -number;
  }
  return number;
}

class filter_parser {
 public:
  filter_parser(entity of, std::string_view text) : of_(of), words_(filter_subject, text) {}

  std::vector<clause> parse() {
    std::vector<clause> clauses;
    if (words_.next().kind == token_kind::end) {
      words_.refuse(words_.here(), "it is only white space; leave it empty to take all");
    }
    // Without an AND between them, SQL takes a lone name behind a value for its alias.
    bool may_alias = false;
    while (words_.next().kind != token_kind::end) {
      if (words_.take_if(token_kind::and_)) {
        may_alias = false;
        continue;
      }
      if (clauses.size() == filter_clauses) {
        words_.refuse(words_.here(), "a filter has at most 500 clauses");
      }
      clauses.push_back(read_clause(may_alias));
      may_alias = !is_presence(clauses.back().op);
    }
    return clauses;
  }

 private:
  using range = walker::range;

  clause read_clause(bool may_alias) {
    range place{};
    if (of_ == entity::trace && words_.next().kind == token_kind::timestamp) {
      const token& word = words_.take();
      place = {word.from, word.to};
    } else if (words_.at_identifier()) {
      place = words_.take_identifier();
    } else {
      words_.refuse(words_.here(), "a clause starts with what it looks at, as " + examples());
    }
    clause made;
    resolve(place, made);
    switch (words_.next().kind) {
      case token_kind::operation:
        read_comparison(made);
        return made;
      case token_kind::in:
      case token_kind::not_:
      case token_kind::is:
        if (may_alias) words_.refuse(place, "AND is missing before it");
        read_list_or_presence(made);
        return made;
      default:
        words_.refuse(words_.here(), "an operator is due here: " + allowed_operators(made));
    }
  }

  std::string examples() const {
    switch (of_) {
      case entity::run:
        return "metrics.loss, params.`batch size`, tags.team, datasets.name or status";
      case entity::experiment:
        return "name or tags.team";
      case entity::registered_model:
        return "name or tags.team";
      case entity::model_version:
        return "name, version_number or tags.team";
      case entity::trace:
        return "status, timestamp_ms, tags.team, metadata.user or span.name";
      case entity::logged_model:
        break;
    }
    return "metrics.loss, params.rate, tags.team or name";
  }

  // Finds out what an identifier names.
  void resolve(range place, clause& made) {
    const std::string_view whole = words_.text(place);
    if (of_ == entity::logged_model) return resolve_logged_model(place, whole, made);
    if (of_ == entity::trace) return resolve_trace(place, whole, made);
    const auto dot = whole.find('.');
    std::string_view key = whole;
    made.kind = field_kind::attribute;
    if (dot != std::string_view::npos) {
      key = whole.substr(dot + 1);
      const std::string_view prefix = whole.substr(0, dot);
      if (of_ == entity::run) {
        const auto kind = run_prefix(without_backticks(prefix));
        if (!kind) {
          words_.refuse(place,
                        "there is nothing of this name; before the dot stands metrics, params, "
                        "tags, attributes or datasets");
        }
        made.kind = *kind;
      } else if (prefix == "tag" || prefix == "tags") {
        made.kind = field_kind::tag;
      } else if (prefix != "attribute") {
        words_.refuse(place, "before the dot stands tag, tags or attribute");
      }
    }
    // Of models and versions MLflow takes an attribute without quotes only.
    const bool plain = of_ == entity::registered_model || of_ == entity::model_version;
    if (!plain || made.kind != field_kind::attribute) key = bare_key(key);
    if (made.kind == field_kind::attribute) {
      set_attribute(place, key, made);
    } else if (made.kind == field_kind::dataset) {
      if (key != "name" && key != "digest" && key != "context") {
        words_.refuse(place, "a dataset has name, digest and context");
      }
      made.key = key;
    } else {
      made.key = of_ == entity::run ? without_alias(key) : key;
    }
  }

  void resolve_trace(range place, std::string_view whole, clause& made) {
    const auto dot = whole.find('.');
    made.kind = field_kind::attribute;
    std::string_view key = whole;
    if (dot != std::string_view::npos) {
      const std::string_view prefix = without_backticks(whole.substr(0, dot));
      const auto kind = trace_prefix(prefix);
      if (prefix == "feedback" || prefix == "expectation" || prefix == "issue") {
        words_.refuse(place, "assessments are searched by a tracking server, not here");
      }
      if (!kind) {
        words_.refuse(place, "before the dot stands attributes, trace, tags, metadata or span");
      }
      made.kind = *kind;
      key = whole.substr(dot + 1);
    }
    made.key = bare_key(key);
    if (made.kind == field_kind::span) {
      if (made.key == "name" || made.key == "type" || made.key == "status") return;
      words_.refuse(place, "of a span, its name, type and status are searched here");
    }
    made.kind = trace_kind(made.kind, made.key);
    if (dot == std::string_view::npos && made.key == "text") {
      words_.refuse(place, "SQL has this word for a type; write trace.text");
    }
    if (made.kind == field_kind::attribute) set_attribute(place, std::string(made.key), made);
  }

  // The four prefixes as they are, or a column.
  void resolve_logged_model(range place, std::string_view whole, clause& made) {
    const auto dot = whole.find('.');
    const std::string_view prefix = whole.substr(0, dot);
    std::string_view key = dot == std::string_view::npos ? "" : whole.substr(dot + 1);
    const bool lower =
        std::all_of(prefix.begin(), prefix.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (dot == std::string_view::npos || key.empty() || !lower ||
        key.find('\n') != std::string_view::npos) {
      const std::string_view column = logged_model_column(whole);
      return set_attribute(place, column.empty() ? whole : column, made);
    }
    while (key.starts_with('`')) key.remove_prefix(1);
    while (key.ends_with('`')) key.remove_suffix(1);
    if (prefix == "attributes") return set_attribute(place, key, made);
    if (prefix == "metrics") {
      made.kind = field_kind::metric;
    } else if (prefix == "params") {
      made.kind = field_kind::param;
    } else if (prefix == "tags") {
      made.kind = field_kind::tag;
    } else {
      words_.refuse(place, "before the dot stands metrics, params, tags or attributes");
    }
    made.key = key;
  }

  void set_attribute(range place, std::string_view key, clause& made) {
    attribute_ = find_attribute(of_, key, false);
    if (attribute_ == nullptr) {
      words_.refuse(place, "there is no such attribute; there are " + attribute_names(of_, false));
    }
    made.kind = field_kind::attribute;
    made.key = attribute_->column;
  }

  bool is_numeric(const clause& made) const {
    return made.kind == field_kind::metric ||
           (made.kind == field_kind::attribute && attribute_->numeric);
  }

  bool takes_lists(const clause& made) const {
    if (of_ == entity::logged_model) return !is_numeric(made);
    if (made.kind == field_kind::dataset || made.kind == field_kind::span) return true;
    return made.kind == field_kind::attribute && attribute_->lists;
  }

  bool takes_presence(const clause& made) const {
    if (of_ == entity::run) return made.kind == field_kind::param || made.kind == field_kind::tag;
    if (of_ == entity::trace) {
      return made.kind == field_kind::tag || made.kind == field_kind::metadata ||
             made.key == "trace_name" || made.key == "run_id";
    }
    return of_ == entity::experiment && made.kind == field_kind::tag;
  }

  // The stored spans of a trace, which are only looked through.
  bool is_full_text(const clause& made) const {
    return of_ == entity::trace && made.kind == field_kind::attribute && made.key == "text";
  }

  // An experiment's number is matched whole.
  bool is_experiment_number(const clause& made) const {
    return of_ == entity::experiment && made.kind == field_kind::attribute &&
           made.key == "experiment_id";
  }

  std::string allowed_operators(const clause& made) const {
    std::string allowed = is_numeric(made)             ? "= != > >= < <="
                          : is_experiment_number(made) ? "= !="
                          : is_full_text(made)         ? "LIKE ILIKE"
                                                       : "= != LIKE ILIKE";
    if (takes_lists(made)) allowed += " IN, NOT IN";
    if (takes_presence(made)) allowed += " IS NULL, IS NOT NULL";
    return allowed;
  }

  void read_comparison(clause& made) {
    const token word = words_.take();
    // Experiments have their operators in capitals.
    const std::string spelled =
        of_ == entity::experiment ? std::string(words_.text(word)) : ascii_upper(words_.text(word));
    const auto* found = std::find(std::begin(operator_names), std::end(operator_names), spelled);
    const auto op = static_cast<comparator>(found - std::begin(operator_names));
    const bool known = found != std::end(operator_names) && !is_list(op) && !is_presence(op);
    const bool fits = known && (is_numeric(made)             ? is_number_operator(op)
                                : is_experiment_number(made) ? op <= comparator::not_equal
                                : is_full_text(made)         ? op >= comparator::like
                                                             : is_text_operator(op));
    if (!fits)
      words_.refuse(word, "this is no operator here; allowed are " + allowed_operators(made));
    made.op = op;

    if (words_.next().kind == token_kind::open) {
      words_.refuse(words_.here(), "a list stands behind IN or NOT IN only");
    }
    const token first = words_.here();
    range place{first.from, first.to};
    if (words_.at_identifier()) {
      place = words_.take_identifier();
    } else if (first.kind == token_kind::text || first.kind == token_kind::integer ||
               first.kind == token_kind::floating) {
      words_.take();
    } else {
      words_.refuse(first, is_numeric(made) ? "a number is due here, as 0.5"
                                            : "a text in quotes is due here, as 'adam'");
    }
    if (is_numeric(made)) {
      read_number(made, first.kind, place);
    } else {
      read_text(made, first.kind, place);
    }
    const token_kind behind = words_.next().kind;
    if (behind == token_kind::order || behind == token_kind::cast) {
      words_.refuse(words_.here(), "AND, or the end, is due here");
    }
  }

  void read_number(clause& made, token_kind kind, range place) {
    const std::string_view text = words_.text(place);
    const bool is_integer = kind == token_kind::integer;
    if (of_ == entity::logged_model && kind == token_kind::name) {
      // Where MLflow calls float() on the word itself.
      const std::string word = ascii_upper(text);
      if (word == "NAN") made.value = std::numeric_limits<double>::quiet_NaN();
      if (word == "INF" || word == "INFINITY") {
        made.value = std::numeric_limits<double>::infinity();
      }
      if (std::holds_alternative<double>(made.value)) return;
    }
    const bool from_text =
        of_ == entity::model_version && (kind == token_kind::text || kind == token_kind::symbol);
    if (!is_integer && kind != token_kind::floating && !from_text) {
      words_.refuse(place, "a number without quotes is due here, as 0.5");
    }
    if (made.kind == field_kind::metric || of_ == entity::logged_model) {
      made.value = python_double(text);
      return;
    }
    if (kind == token_kind::floating) {
      if (of_ != entity::run && of_ != entity::trace) {
        words_.refuse(place, "a whole number is due here");
      }
      made.value = python_double(text);
      return;
    }
    if (from_text && !is_quoted(text, '\'') && !is_quoted(text, '"')) {
      words_.refuse(place, "a number is due here, as 3");
    }
    const auto number = python_integer(from_text ? text.substr(1, text.size() - 2) : text);
    if (!number) words_.refuse(place, "a whole number of at most 64 bits is due here");
    made.value = *number;
  }

  void read_text(clause& made, token_kind kind, range place) {
    std::string_view text = words_.text(place);
    if (of_ == entity::logged_model) {
      while (text.starts_with('\'')) text.remove_prefix(1);
      while (text.ends_with('\'')) text.remove_suffix(1);
      made.value = std::string(text);
      return;
    }
    const bool quoted = kind != token_kind::integer && kind != token_kind::floating &&
                        (is_quoted(text, '\'') || is_quoted(text, '"'));
    if (!quoted) words_.refuse(place, "a text in quotes is due here, as 'adam'");
    text = text.substr(1, text.size() - 2);
    if (is_experiment_number(made)) {
      made.value = experiment_number(text, place);
    } else {
      made.value = std::string(text);
    }
  }

  std::int64_t experiment_number(std::string_view text, range place) const {
    const auto number = python_integer(text);
    if (!number) words_.refuse(place, "the id of an experiment is a whole number in quotes");
    return *number;
  }

  void read_list_or_presence(clause& made) {
    const token first = words_.take();
    if (first.kind == token_kind::is) {
      const token second = words_.next();
      const bool null = second.kind == token_kind::null;
      // MLflow wants exactly one space within NOT NULL.
      if (!null && !(second.kind == token_kind::not_null &&
                     ascii_upper(words_.text(second)) == "NOT NULL")) {
        words_.refuse(second, "NULL or NOT NULL is due here");
      }
      if (!takes_presence(made)) {
        words_.refuse(first, "only " +
                                 std::string(of_ == entity::run     ? "parameters and tags"
                                             : of_ == entity::trace ? "tags and metadata of traces"
                                                                    : "tags of experiments") +
                                 " are NULL; allowed are " + allowed_operators(made));
      }
      words_.take();
      made.op = null ? comparator::is_null : comparator::is_not_null;
      return;
    }
    made.op = comparator::in;
    const bool capitals = words_.text(first) == "IN";
    if (first.kind == token_kind::not_) {
      made.op = comparator::not_in;
      if (!words_.take_if(token_kind::in)) words_.refuse(words_.here(), "IN is due here");
    } else if (of_ == entity::experiment && !capitals) {
      words_.refuse(first, "it is written IN here");
    }
    if (!takes_lists(made)) {
      words_.refuse(first, "no lists here; allowed are " + allowed_operators(made));
    }
    read_list(made);
  }

  void read_list(clause& made) {
    if (words_.next().kind != token_kind::open) {
      words_.refuse(words_.here(), "a list is due here, as ('a', 'b')");
    }
    range place{words_.here().from, words_.here().to};
    std::size_t depth = 0;
    do {
      const token& one = words_.take();
      if (one.kind == token_kind::end) words_.refuse(place, "this parenthesis is never closed");
      if (one.kind == token_kind::open) ++depth;
      if (one.kind == token_kind::close) --depth;
      place.to = one.to;
    } while (depth > 0);

    auto texts = read_python_list(words_.text(place), filter_list);
    if (!texts || (texts->empty() && of_ != entity::logged_model)) {
      words_.refuse(place, "a list is one to 10,000 texts in quotes, as ('a', 'b')");
    }
    if (is_experiment_number(made)) {
      for (std::string& text : *texts) text = std::to_string(experiment_number(text, place));
    }
    made.value = *std::move(texts);
  }

  entity of_;
  walker words_;
  const attribute* attribute_ = nullptr;  // of the clause that is read
};

}  // namespace

std::vector<clause> parse_filter(entity of, std::string_view text) {
  if (text.empty()) return {};
  return filter_parser(of, text).parse();
}

}  // namespace mizzen::tracking::detail

namespace mizzen::tracking {
namespace {

// A backslash at the end could take the closing quote along.
void check_quotable(std::string_view subject, std::string_view text, bool quotable) {
  if (quotable && !text.ends_with('\\')) return;
  throw error(
      errc::invalid_argument, subject,
      "'" + std::string(text) +
          "' cannot be written in MLflow's filter language: it has both kinds of quotes, or "
          "ends with a backslash");
}

}  // namespace

std::string quoted_key(std::string_view key) {
  const bool ticks = key.find('`') == std::string_view::npos;
  check_quotable("filter.key", key, ticks || key.find('"') == std::string_view::npos);
  const std::string quote = ticks ? "`" : "\"";
  return quote + std::string(key) + quote;
}

std::string quoted_text(std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos;
  check_quotable("filter.text", text, single || text.find('"') == std::string_view::npos);
  const std::string quote = single ? "'" : "\"";
  return quote + std::string(text) + quote;
}

}  // namespace mizzen::tracking
