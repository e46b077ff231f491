#include "tracking/filter.hpp"

#include "tracking/filter_tokens.hpp"
#include "tracking/python_list.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/search.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view filter_subject = "filter";

// --- what each entity has ------------------------------------------------------------------------

struct attribute {
  std::string_view name;
  std::string_view column;
  bool numeric = false;
  bool lists = false;    // takes IN and NOT IN
  bool ordered = true;   // may be in order_by
  bool searched = true;  // may be in a filter
};

constexpr attribute run_attributes[] = {
    {"run_id", "run_uuid", false, true},
    {"run_name", "run_name"},
    {"run name", "run_name", false, false, false},
    {"Run name", "run_name", false, false, false},
    {"Run Name", "run_name", false, false, false},
    {"user_id", "user_id"},
    {"status", "status"},
    {"artifact_uri", "artifact_uri"},
    {"start_time", "start_time", true},
    {"end_time", "end_time", true},
    {"created", "start_time", true},
    {"Created", "start_time", true},
};
constexpr attribute experiment_attributes[] = {
    {"name", "name"},
    {"experiment_id", "experiment_id", false, true},
    {"creation_time", "creation_time", true},
    {"last_update_time", "last_update_time", true},
};
constexpr attribute registered_model_attributes[] = {
    {"name", "name", false, true},
    {"timestamp", "last_updated_time", true, false, true, false},
    {"last_updated_timestamp", "last_updated_time", true, false, true, false},
};
constexpr attribute model_version_attributes[] = {
    {"name", "name", false, true},
    {"version_number", "version", true},
    {"run_id", "run_id", false, true, false},
    {"source_path", "source", false, false, false},
    {"creation_timestamp", "creation_time", true, false, true, false},
    {"last_updated_timestamp", "last_updated_time", true, false, true, false},
};
// By the name of the column; logged_model_column() knows the aliases.
constexpr attribute logged_model_attributes[] = {
    {"model_id", "model_id", false, true},
    {"experiment_id", "experiment_id", false, true},
    {"name", "name", false, true},
    {"artifact_location", "artifact_location", false, true},
    {"creation_timestamp_ms", "creation_timestamp_ms", true},
    {"last_updated_timestamp_ms", "last_updated_timestamp_ms", true},
    {"status", "status", false, true},
    {"lifecycle_stage", "lifecycle_stage", false, true},
    {"model_type", "model_type", false, true},
    {"source_run_id", "source_run_id", false, true},
    {"status_message", "status_message", false, true},
};

// Of these, trace_name and run_id are a tag and a metadata to MLflow, text the stored spans.
constexpr attribute trace_attributes[] = {
    {"request_id", "request_id", false, true},
    {"status", "status", false, true},
    {"client_request_id", "client_request_id", false, true, false},
    {"name", "trace_name"},
    {"run_id", "run_id"},
    {"text", "text", false, false, false},
    {"timestamp_ms", "timestamp_ms", true},
    {"timestamp", "timestamp_ms", true},
    {"execution_time_ms", "execution_time_ms", true},
    {"execution_time", "execution_time_ms", true},
    {"end_time_ms", "end_time_ms", true, false, false},
    {"end_time", "end_time_ms", true, false, false},
    {"experiment_id", "experiment_id", true, false, true, false},
};

std::span<const attribute> attributes_of(entity of) {
  switch (of) {
    case entity::run:
      return run_attributes;
    case entity::experiment:
      return experiment_attributes;
    case entity::registered_model:
      return registered_model_attributes;
    case entity::model_version:
      return model_version_attributes;
    case entity::trace:
      return trace_attributes;
    case entity::logged_model:
      break;
  }
  return logged_model_attributes;
}

const attribute* find_attribute(entity of, std::string_view name, bool to_order) {
  for (const attribute& one : attributes_of(of)) {
    if (one.name == name && (to_order ? one.ordered : one.searched)) return &one;
  }
  return nullptr;
}

std::string attribute_names(entity of, bool to_order) {
  std::string names;
  for (const attribute& one : attributes_of(of)) {
    if (!(to_order ? one.ordered : one.searched)) continue;
    if (one.name.find(' ') != std::string_view::npos || one.name == "Created") continue;
    if (!names.empty()) names += ", ";
    names += one.name;
  }
  return names;
}

std::optional<field_kind> run_prefix(std::string_view prefix) {
  if (prefix == "metric" || prefix == "metrics") return field_kind::metric;
  if (prefix == "param" || prefix == "params" || prefix == "parameter" || prefix == "parameters") {
    return field_kind::param;
  }
  if (prefix == "tag" || prefix == "tags") return field_kind::tag;
  if (prefix == "attribute" || prefix == "attributes" || prefix == "attr" || prefix == "run") {
    return field_kind::attribute;
  }
  if (prefix == "dataset" || prefix == "datasets") return field_kind::dataset;
  return std::nullopt;
}

std::optional<field_kind> trace_prefix(std::string_view prefix) {
  if (prefix == "tag" || prefix == "tags") return field_kind::tag;
  if (prefix == "metadata" || prefix == "request_metadata") return field_kind::metadata;
  if (prefix == "attribute" || prefix == "attributes" || prefix == "trace") {
    return field_kind::attribute;
  }
  if (prefix == "span") return field_kind::span;
  return std::nullopt;
}

// MLflow takes some keys of traces for others, whatever stands before them.
field_kind trace_kind(field_kind kind, std::string& key) {
  std::string lower = key;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (kind == field_kind::tag && key == "mlflow.traceName") lower = "name";
  if (lower == "timestamp" || lower == "execution_time" || lower == "end_time") key = lower + "_ms";
  if (lower != "name" && lower != "run_id" && lower != "text") return kind;
  key = lower;
  return field_kind::attribute;
}

bool is_quoted(std::string_view text, char quote) {
  return text.size() >= 2 && text.front() == quote && text.back() == quote;
}

std::string_view without_backticks(std::string_view text) {
  return is_quoted(text, '`') ? text.substr(1, text.size() - 2) : text;
}

std::string_view bare_key(std::string_view text) {
  if (is_quoted(text, '\'') || is_quoted(text, '"')) text = text.substr(1, text.size() - 2);
  return without_backticks(text);
}

// The keys of runs that MLflow takes for others, also those of metrics, parameters and tags.
std::string_view without_alias(std::string_view key) {
  if (key == "created" || key == "Created") return "start_time";
  if (key == "run name" || key == "Run name" || key == "Run Name") return "run_name";
  return key;
}

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

// --- words in their order ------------------------------------------------------------------------

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

// --- filters -------------------------------------------------------------------------------------

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

// --- orders --------------------------------------------------------------------------------------

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

std::vector<clause> parse_filter(entity of, std::string_view text) {
  if (text.empty()) return {};
  return filter_parser(of, text).parse();
}

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

std::string_view logged_model_column(std::string_view name) {
  if (name == "creation_time" || name == "creation_timestamp") return "creation_timestamp_ms";
  if (name == "last_updated_timestamp") return "last_updated_timestamp_ms";
  const attribute* found = find_attribute(entity::logged_model, name, true);
  return found == nullptr ? std::string_view() : found->column;
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
