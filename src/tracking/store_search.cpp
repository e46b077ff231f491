// Searches: the clauses of a filter and the terms of an order as SQL on MLflow's tables, with the
// meaning that MLflow's own SQL gives them (SqlAlchemyStore._search_runs and its like). Values are
// always bound, never written into the text.
#include "tracking/filter.hpp"
#include "tracking/page_token.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/validate.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view prompt_tag = "mlflow.prompt.is_prompt";
constexpr std::size_t most_values = 30'000;     // SQLite binds 32,766
constexpr std::size_t pattern_length = 50'000;  // bytes, SQLite's bound for LIKE

// SQL in the making, with the values that it binds.
class sql_text {
 public:
  sql_text& operator<<(std::string_view part) {
    text_ += part;
    return *this;
  }

  using value = std::variant<std::string, std::int64_t, double>;
  // The name of the parameter that stands for this value.
  std::string bound(value held) {
    if (values_.size() == most_values) {
      throw error(errc::invalid_argument, "filter",
                  "it holds more than 30,000 values; ask for less at once");
    }
    values_.push_back(std::move(held));
    return "?" + std::to_string(values_.size());
  }

  // Runs it and gives each row to `take`.
  template <typename Take>
  void run(connection& on, Take&& take) const {
    const connection::once prepared(on, text_);
    statement row = prepared.use();
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const int index = static_cast<int>(i) + 1;
      if (const auto* text = std::get_if<std::string>(&values_[i])) {
        row.bind_one(index, std::string_view(*text));
      } else if (const auto* integer = std::get_if<std::int64_t>(&values_[i])) {
        row.bind_one(index, *integer);
      } else {
        row.bind_one(index, std::get<double>(values_[i]));
      }
    }
    while (row.step()) take(row);
  }

 private:
  std::string text_;
  std::vector<value> values_;
};

// `column <op> value`.
std::string comparison(sql_text& sql, const std::string& column, const clause& c) {
  const auto value = [&]() -> sql_text::value {
    if (const auto* text = std::get_if<std::string>(&c.value)) return *text;
    if (const auto* integer = std::get_if<std::int64_t>(&c.value)) return *integer;
    return std::get<double>(c.value);
  };
  const auto binary = [&](std::string_view op) {
    return column + std::string(op) + sql.bound(value());
  };
  switch (c.op) {
    case comparator::equal:
      return binary(" = ");
    case comparator::not_equal:
      return binary(" != ");
    case comparator::greater:
      return binary(" > ");
    case comparator::greater_equal:
      return binary(" >= ");
    case comparator::less:
      return binary(" < ");
    case comparator::less_equal:
      return binary(" <= ");
    case comparator::like:
    case comparator::ilike:
      if (std::get<std::string>(c.value).size() > pattern_length) {
        throw error(errc::invalid_argument, "filter", "a pattern of LIKE has at most 50,000 bytes");
      }
      return c.op == comparator::like
                 ? binary(" LIKE ")
                 : "lower(" + column + ") LIKE lower(" + sql.bound(value()) + ")";
    case comparator::in:
    case comparator::not_in: {
      std::string list;
      for (const std::string& text : std::get<std::vector<std::string>>(c.value)) {
        list += (list.empty() ? "" : ", ") + sql.bound(text);
      }
      return column + (c.op == comparator::in ? " IN (" : " NOT IN (") + list + ")";
    }
    case comparator::is_null:
    case comparator::is_not_null:
      break;
  }
  throw error(errc::internal, "filter", "NULL is no value of a column");
}

// Where an entity keeps what hangs on it under keys.
struct side_table {
  std::string_view name;
  std::string_view join;  // with the row that is searched; the table is t
  std::string_view key = "key";
  std::string_view value = "value";
};

// Whether a row of the side table is there (or not), and fits.
void add_side_clause(sql_text& sql, const side_table& table, const clause& c,
                     std::string_view extra = {}) {
  const auto part = [](std::string_view text) { return std::string(text); };
  sql << (c.op == comparator::is_null ? " AND NOT EXISTS" : " AND EXISTS") << " (SELECT 1 FROM "
      << table.name << " t WHERE " << table.join << " AND t." << table.key << " = "
      << sql.bound(c.key);
  if (c.op != comparator::is_null && c.op != comparator::is_not_null) {
    const std::string fits = comparison(sql, "t." + part(table.value), c);
    sql << " AND " << fits;
  }
  sql << extra << ")";
}

void check_max_results(std::size_t wanted, std::size_t most) {
  if (wanted >= 1 && wanted <= most) return;
  throw error(
      errc::invalid_argument, "max_results",
      "it is " + std::to_string(wanted) + "; a page has 1 to " + std::to_string(most) + " results");
}

// One row more than wanted says whether there is a next page.
void add_page(sql_text& sql, std::size_t max_results, std::int64_t offset) {
  sql << " LIMIT " << std::to_string(max_results + 1) << " OFFSET " << std::to_string(offset);
}

template <typename T>
void cut_page(page<T>& found, std::size_t max_results, std::int64_t offset) {
  if (found.items.size() <= max_results) return;
  found.items.resize(max_results);
  found.next_page_token = make_page_token(offset + static_cast<std::int64_t>(max_results));
}

void add_stage(sql_text& sql, std::optional<lifecycle_stage> stage) {
  if (stage) {
    sql << " AND lifecycle_stage = " << sql.bound(std::string(to_string(*stage)));
  } else {
    sql << " AND lifecycle_stage IN ('active', 'deleted')";
  }
}

void add_experiments(sql_text& sql, const std::vector<std::string>& ids) {
  if (ids.empty()) {
    sql << "experiment_id IN (SELECT experiment_id FROM experiments WHERE workspace = 'default' "
           "AND lifecycle_stage = 'active')";
    return;
  }
  sql << "experiment_id IN (";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::int64_t number = 0;
    try {
      number = experiment_number(ids[i]);
    } catch (const error& e) {
      throw error(e.code(), "experiment_ids[" + std::to_string(i) + "]", e.message());
    }
    sql << (i == 0 ? "" : ", ") << sql.bound(number);
  }
  sql << ")";
}

[[noreturn]] void refuse_twice(std::size_t index) {
  throw error(errc::invalid_argument, "order_by[" + std::to_string(index) + "]",
              "an element before it orders by the same; leave one of them out");
}

// --- runs ----------------------------------------------------------------------------------------

// Where a run keeps what clauses of this kind are about; a run has at most one row of a key.
std::string_view table_of(field_kind kind) {
  return kind == field_kind::metric ? "latest_metrics"
         : kind == field_kind::tag  ? "tags"
                                    : "params";
}

// Whether the row of a side table fits.
std::string fitting_value(sql_text& sql, const std::string& alias, const clause& c) {
  const std::string fits = comparison(sql, alias + ".value", c);
  if (c.kind != field_kind::metric) return fits;
  // A NaN is kept as a zero and differs from every number.
  return c.op == comparator::not_equal ? "(" + fits + " OR " + alias + ".is_nan = 1)"
                                       : fits + " AND " + alias + ".is_nan = 0";
}

bool asks_for_presence(const clause& c) {
  return c.op == comparator::is_null || c.op == comparator::is_not_null;
}

bool on_side_table(const clause& c) {
  return c.kind == field_kind::metric || c.kind == field_kind::param || c.kind == field_kind::tag;
}

// All that must hold of a run, a name as the tag that MLflow looks at.
std::vector<clause> run_clauses(const run_query& query) {
  std::vector<clause> all = parse_filter(entity::run, query.filter);
  for (clause& c : all) {
    if (c.kind == field_kind::attribute && c.key == "run_name") {
      c.kind = field_kind::tag;
      c.key = "mlflow.runName";
    }
  }
  for (const auto& [key, value] : query.tags) {
    all.push_back({field_kind::tag, key, comparator::equal, value});
  }
  return all;
}

// Takes the clause whose rows are gone through first, by the index on keys, before the runs that
// they belong to: half the time of going through all runs. The one that leaves fewest, by guess.
std::optional<clause> take_leading(std::vector<clause>& clauses) {
  auto best = clauses.end();
  for (auto c = clauses.begin(); c != clauses.end(); ++c) {
    if (!on_side_table(*c) || asks_for_presence(*c)) continue;
    if (best == clauses.end() || (c->op == comparator::equal && best->op != comparator::equal)) {
      best = c;
    }
  }
  if (best == clauses.end()) return std::nullopt;
  clause taken = std::move(*best);
  clauses.erase(best);
  return taken;
}

void add_dataset_clause(sql_text& sql, const clause& c) {
  sql << " AND EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id";
  const bool context = c.key == "context";
  if (context) sql << " JOIN input_tags g ON g.input_uuid = i.input_uuid";
  sql << " WHERE i.destination_id = runs.run_uuid AND ";
  if (context) sql << "g.name = 'mlflow.data.context' AND ";
  const std::string fits = comparison(sql, context ? "g.value" : "d." + c.key, c);
  sql << fits << ")";
}

void add_run_clause(sql_text& sql, const clause& c) {
  if (c.kind == field_kind::dataset) return add_dataset_clause(sql, c);
  if (!on_side_table(c)) {
    const std::string fits = comparison(sql, "runs." + c.key, c);
    sql << " AND " << fits;
    return;
  }
  sql << (c.op == comparator::is_null ? " AND NOT EXISTS" : " AND EXISTS") << " (SELECT 1 FROM "
      << table_of(c.kind) << " t WHERE t.run_uuid = runs.run_uuid AND t.key = " << sql.bound(c.key);
  if (!asks_for_presence(c)) sql << " AND " << fitting_value(sql, "t", c);
  sql << ")";
}

struct run_order_sql {
  sql_text& sql;
  std::string joins = {};
  std::string terms = {};

  void add(const std::vector<std::string>& order_by) {
    std::set<std::pair<field_kind, std::string>> seen;
    for (std::size_t i = 0; i < order_by.size(); ++i) {
      const order_term term = parse_order(entity::run, order_by[i], i);
      if (!seen.emplace(term.kind, term.key).second) refuse_twice(i);
      add(term, "o" + std::to_string(i));
    }
    if (!seen.contains({field_kind::attribute, "start_time"})) terms += "runs.start_time DESC, ";
    terms += "runs.run_uuid";
  }

 private:
  // What lacks the value comes last either way, NaN before it.
  void add(const order_term& term, const std::string& alias) {
    std::string value = "runs." + term.key;
    if (term.kind != field_kind::attribute) {
      value = alias + ".value";
      joins += " LEFT JOIN " + std::string(table_of(term.kind)) + " " + alias + " ON " + alias +
               ".key = " + sql.bound(term.key) + " AND " + alias + ".run_uuid = runs.run_uuid";
    }
    if (term.kind == field_kind::metric) {
      terms += "CASE WHEN " + alias + ".is_nan = 1 THEN 1 WHEN " + value +
               " IS NULL THEN 2 ELSE 0 END, ";
    } else {
      terms += value + " IS NULL, ";
    }
    terms += value + (term.ascending ? ", " : " DESC, ");
  }
};

}  // namespace

page<run_record> store::search_runs(const run_query& query) {
  check_max_results(query.max_results, 50'000);
  const std::int64_t offset = read_page_token(query.page_token);
  sql_text sql;
  run_order_sql order{sql};
  order.add(query.order_by);
  std::vector<clause> clauses = run_clauses(query);
  const std::optional<clause> leading = take_leading(clauses);
  sql << "SELECT " << run_columns << " FROM ";
  // SQLite takes the tables of a CROSS JOIN in the order that is written.
  if (leading) {
    sql << table_of(leading->kind) << " lead CROSS JOIN runs ON runs.run_uuid = lead.run_uuid";
  } else {
    sql << "runs";
  }
  sql << order.joins << " WHERE ";
  if (leading) {
    sql << "lead.key = " << sql.bound(leading->key) << " AND "
        << fitting_value(sql, "lead", *leading) << " AND ";
  }
  sql << "runs.";
  add_experiments(sql, query.experiment_ids);
  add_stage(sql, query.stage);
  if (query.status)
    sql << " AND runs.status = " << sql.bound(std::string(to_string(*query.status)));
  for (const clause& c : clauses) add_run_clause(sql, c);
  sql << " ORDER BY " << order.terms;
  add_page(sql, query.max_results, offset);

  return reading([&](connection& on) {
    page<run_record> found;
    sql.run(on, [&](statement& row) { found.items.push_back(read_run_row(row)); });
    cut_page(found, query.max_results, offset);
    read_run_details(on, found.items);
    return found;
  });
}

// --- experiments ---------------------------------------------------------------------------------

page<experiment> store::search_experiments(const experiment_query& query) {
  check_max_results(query.max_results, 50'000);
  const std::int64_t offset = read_page_token(query.page_token);
  constexpr side_table tags{"experiment_tags", "t.experiment_id = experiments.experiment_id"};
  sql_text sql;
  sql << "SELECT " << experiment_columns << " FROM experiments WHERE workspace = 'default'";
  add_stage(sql, query.stage);
  for (const clause& c : parse_filter(entity::experiment, query.filter)) {
    if (c.kind == field_kind::tag) {
      add_side_clause(sql, tags, c);
    } else {
      const std::string fits = comparison(sql, c.key, c);
      sql << " AND " << fits;
    }
  }
  sql << " ORDER BY ";
  bool by_id = query.order_by.empty();
  if (by_id) sql << "creation_time DESC, experiment_id";
  for (std::size_t i = 0; i < query.order_by.size(); ++i) {
    const order_term term = parse_order(entity::experiment, query.order_by[i], i);
    by_id = by_id || term.key == "experiment_id";
    sql << (i == 0 ? "" : ", ") << term.key << (term.ascending ? "" : " DESC");
  }
  if (!by_id) sql << ", experiment_id DESC";
  add_page(sql, query.max_results, offset);

  return reading([&](connection& on) {
    page<experiment> found;
    sql.run(on, [&](statement& row) { found.items.push_back(read_experiment(on, row)); });
    cut_page(found, query.max_results, offset);
    return found;
  });
}

// --- model registry ------------------------------------------------------------------------------

namespace {

// Clauses of a registered model or a version. Prompts, which MLflow keeps among the models, are
// left out unless the first clause on their tag asks for them.
void add_registry_clauses(sql_text& sql, const side_table& tags,
                          const std::vector<clause>& clauses) {
  const auto asks = std::find_if(clauses.begin(), clauses.end(), [](const clause& c) {
    return c.kind == field_kind::tag && c.key == prompt_tag;
  });
  bool prompts = false;
  if (asks != clauses.end()) {
    std::string value = std::get<std::string>(asks->value);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    prompts = (asks->op == comparator::equal && value == "true") ||
              (asks->op == comparator::not_equal && value == "false");
  }
  for (const clause& c : clauses) {
    if (c.kind != field_kind::tag) {
      const std::string fits = comparison(sql, "m." + c.key, c);
      sql << " AND " << fits;
    } else if (prompts || c.key != prompt_tag) {
      add_side_clause(sql, tags, c, " AND t.workspace = 'default'");
    }
  }
  if (!prompts) {
    sql << " AND NOT EXISTS (SELECT 1 FROM " << tags.name
        << " t WHERE t.workspace = 'default' AND t.key = 'mlflow.prompt.is_prompt' AND "
           "t.value = 'true' AND t.name = m.name)";
  }
}

// Adds the terms, and then the given ones on columns that have none yet.
void add_registry_order(sql_text& sql, entity of, const std::vector<std::string>& order_by,
                        std::initializer_list<std::pair<std::string_view, std::string_view>> then) {
  std::set<std::string, std::less<>> seen;
  std::string terms;
  for (std::size_t i = 0; i < order_by.size(); ++i) {
    const order_term term = parse_order(of, order_by[i], i);
    if (!seen.insert(term.key).second) refuse_twice(i);
    terms += "m." + term.key + (term.ascending ? ", " : " DESC, ");
  }
  for (const auto& [column, direction] : then) {
    if (!seen.contains(column)) {
      terms += "m." + std::string(column) + std::string(direction) + ", ";
    }
  }
  terms.resize(terms.size() - 2);
  sql << " ORDER BY " << terms;
}

}  // namespace

page<registered_model> store::search_registered_models(const registered_model_query& query) {
  check_max_results(query.max_results, 1000);
  const std::int64_t offset = read_page_token(query.page_token);
  sql_text sql;
  sql << "SELECT m.name FROM registered_models m WHERE m.workspace = 'default'";
  add_registry_clauses(sql, {"registered_model_tags", "t.name = m.name"},
                       parse_filter(entity::registered_model, query.filter));
  add_registry_order(sql, entity::registered_model, query.order_by, {{"name", ""}});
  add_page(sql, query.max_results, offset);

  return reading([&](connection& on) {
    page<registered_model> found;
    sql.run(on, [&](statement& row) {
      found.items.push_back(*registered_model_by_name(on, row.text(0)));
    });
    cut_page(found, query.max_results, offset);
    return found;
  });
}

page<model_version> store::search_model_versions(const model_version_query& query) {
  check_max_results(query.max_results, 200'000);
  const std::int64_t offset = read_page_token(query.page_token);
  sql_text sql;
  sql << "SELECT " << model_version_columns
      << " FROM model_versions m WHERE m.workspace = 'default' AND m.current_stage != "
         "'Deleted_Internal'";
  add_registry_clauses(sql, {"model_version_tags", "t.name = m.name AND t.version = m.version"},
                       parse_filter(entity::model_version, query.filter));
  if (query.order_by.empty()) {
    sql << " ORDER BY m.last_updated_time DESC, m.name, m.version DESC";
  } else {
    add_registry_order(sql, entity::model_version, query.order_by,
                       {{"name", ""}, {"version", " DESC"}});
  }
  add_page(sql, query.max_results, offset);

  return reading([&](connection& on) {
    page<model_version> found;
    sql.run(on, [&](statement& row) { found.items.push_back(read_version(on, row)); });
    cut_page(found, query.max_results, offset);
    return found;
  });
}

// --- logged models -------------------------------------------------------------------------------

namespace {

constexpr side_table model_params{"logged_model_params", "t.model_id = m.model_id", "param_key",
                                  "param_value"};
constexpr side_table model_tags{"logged_model_tags", "t.model_id = m.model_id", "tag_key",
                                "tag_value"};
constexpr side_table model_metrics{"logged_model_metrics", "t.model_id = m.model_id", "metric_name",
                                   "metric_value"};

// " AND (…)" for the datasets that a metric may have been measured on.
std::string on_datasets(sql_text& sql, const std::vector<dataset_filter>& datasets) {
  if (datasets.empty()) return {};
  std::string any;
  for (const dataset_filter& data : datasets) {
    if (data.name.empty()) {
      throw error(errc::invalid_argument, "datasets.name", "it is empty; name the dataset");
    }
    any += (any.empty() ? "(" : " OR (") + ("t.dataset_name = " + sql.bound(data.name));
    if (!data.digest.empty()) any += " AND t.dataset_digest = " + sql.bound(data.digest);
    any += ")";
  }
  return " AND (" + any + ")";
}

struct logged_model_order_sql {
  sql_text& sql;
  std::string joins = {};
  std::string terms = {};

  void add(const std::vector<logged_model_order>& order_by) {
    bool by_time = false;
    bool by_id = false;
    for (std::size_t i = 0; i < order_by.size(); ++i) {
      const logged_model_order& by = order_by[i];
      std::string value;
      if (const auto dot = by.field.find('.'); dot != std::string::npos) {
        if (by.field.substr(0, dot) != "metrics") refuse(i);
        value = "o" + std::to_string(i) + ".metric_value";
        join(by, by.field.substr(dot + 1), "o" + std::to_string(i));
      } else {
        const std::string_view column = logged_model_column(by.field);
        if (column.empty()) refuse(i);
        by_time = by_time || column == "creation_timestamp_ms";
        by_id = by_id || column == "model_id";
        value = "m." + std::string(column);
      }
      terms += value + " IS NULL, " + value + (by.ascending ? ", " : " DESC, ");
    }
    if (!by_time) terms += "m.creation_timestamp_ms DESC, ";
    if (!by_id) terms += "m.model_id, ";
    terms.resize(terms.size() - 2);
  }

 private:
  [[noreturn]] static void refuse(std::size_t index) {
    throw error(errc::invalid_argument, "order_by[" + std::to_string(index) + "].field",
                "there is no such column; give an attribute of a logged model, or metrics.KEY");
  }

  // The latest point of the metric, of each model that has one.
  void join(const logged_model_order& by, const std::string& key, const std::string& alias) {
    std::string text =
        " LEFT JOIN (SELECT model_id, metric_value, row_number() OVER (PARTITION BY model_id ORDER "
        "BY metric_timestamp_ms DESC, metric_step DESC, run_id) AS place FROM logged_model_metrics "
        "WHERE metric_name = " +
        sql.bound(key);
    if (!by.dataset_name.empty()) text += " AND dataset_name = " + sql.bound(by.dataset_name);
    if (!by.dataset_digest.empty()) text += " AND dataset_digest = " + sql.bound(by.dataset_digest);
    joins +=
        text + ") " + alias + " ON " + alias + ".model_id = m.model_id AND " + alias + ".place = 1";
  }
};

}  // namespace

page<logged_model> store::search_logged_models(const logged_model_query& query) {
  check_max_results(query.max_results, 50'000);
  const std::int64_t offset = read_page_token(query.page_token);
  sql_text sql;
  logged_model_order_sql order{sql};
  order.add(query.order_by);
  std::string columns = "m." + std::string(logged_model_columns);
  for (std::size_t at = 0; (at = columns.find(", ", at)) != std::string::npos; at += 4) {
    columns.insert(at + 2, "m.");
  }
  sql << "SELECT " << columns << " FROM logged_models m" << order.joins << " WHERE m.";
  add_experiments(sql, query.experiment_ids);
  sql << " AND m.lifecycle_stage != 'deleted'";
  bool on_metrics = false;
  for (const clause& c : parse_filter(entity::logged_model, query.filter)) {
    switch (c.kind) {
      case field_kind::metric:
        on_metrics = true;
        add_side_clause(sql, model_metrics, c, on_datasets(sql, query.datasets));
        break;
      case field_kind::param:
        add_side_clause(sql, model_params, c);
        break;
      case field_kind::tag:
        add_side_clause(sql, model_tags, c);
        break;
      case field_kind::attribute:
      case field_kind::dataset:
      case field_kind::metadata:
      case field_kind::span: {
        const std::string fits = comparison(sql, "m." + c.key, c);
        sql << " AND " << fits;
        break;
      }
    }
  }
  if (!query.datasets.empty() && !on_metrics) {
    const std::string fits = on_datasets(sql, query.datasets);
    sql << " AND EXISTS (SELECT 1 FROM logged_model_metrics t WHERE t.model_id = m.model_id" << fits
        << ")";
  }
  sql << " ORDER BY " << order.terms;
  add_page(sql, query.max_results, offset);

  return reading([&](connection& on) {
    page<logged_model> found;
    sql.run(on, [&](statement& row) { found.items.push_back(read_logged_model(on, row)); });
    cut_page(found, query.max_results, offset);
    return found;
  });
}

// --- traces --------------------------------------------------------------------------------------

namespace {

constexpr side_table trace_tags{"trace_tags", "t.request_id = i.request_id"};
constexpr side_table trace_metadata{"trace_request_metadata", "t.request_id = i.request_id"};
constexpr const char* source_run = "mlflow.sourceRun";
// How far before its trace a span may have begun by another clock.
constexpr std::int64_t clock_skew_ms = 10'000;

void add_trace_clause(sql_text& sql, clause c) {
  if (c.kind == field_kind::tag) return add_side_clause(sql, trace_tags, c);
  const bool of_run = c.kind == field_kind::attribute && c.key == "run_id";
  if (of_run) c.key = source_run;
  if (c.kind == field_kind::metadata || of_run) {
    if (c.key == "mlflow.trace.session") {
      c.key = "session_id";  // which is a column
    } else if (c.key == source_run && c.op == comparator::equal) {
      // Also those that were linked to the run afterwards.
      const std::string run = sql.bound(std::get<std::string>(c.value));
      sql << " AND EXISTS (SELECT 1 FROM entity_associations a WHERE a.source_id = i.request_id "
             "AND a.source_type = 'trace' AND a.destination_type = 'run' AND a.destination_id = "
          << run
          << " UNION ALL SELECT 1 FROM trace_request_metadata t WHERE t.request_id = i.request_id "
             "AND t.key = 'mlflow.sourceRun' AND t.value = "
          << run << ")";
      return;
    } else if (c.key == "mlflow.trace.tokenUsage" || c.key == "mlflow.trace.cost") {
      throw error(errc::invalid_argument, "filter",
                  c.key + " is kept as numbers; they are not searched here");
    } else {
      return add_side_clause(sql, trace_metadata, c);
    }
  }
  const std::string column =
      c.key == "end_time_ms" ? "(i.timestamp_ms + ifnull(i.execution_time_ms, 0))" : "i." + c.key;
  if (c.op == comparator::is_null || c.op == comparator::is_not_null) {
    sql << " AND " << column << (c.op == comparator::is_null ? " IS NULL" : " IS NOT NULL");
  } else {
    const std::string fits = comparison(sql, column, c);
    sql << " AND " << fits;
  }
}

bool is_of_spans(const clause& c) {
  return c.kind == field_kind::span || (c.kind == field_kind::attribute && c.key == "text");
}

// What one span must fulfil together.
void add_span_clauses(sql_text& sql, const std::vector<clause>& clauses) {
  if (std::none_of(clauses.begin(), clauses.end(), is_of_spans)) return;
  sql << " AND EXISTS (SELECT 1 FROM spans s WHERE s.trace_id = i.request_id AND s.experiment_id = "
         "i.experiment_id";
  for (const clause& c : clauses) {
    if (is_of_spans(c)) {
      const std::string fits =
          comparison(sql, c.kind == field_kind::span ? "s." + c.key : "s.content", c);
      sql << " AND " << fits;
    } else if (c.kind == field_kind::attribute && c.key == "timestamp_ms" &&
               (c.op == comparator::greater || c.op == comparator::greater_equal)) {
      sql << " AND s.start_time_unix_nano >= (";
      sql << (std::holds_alternative<double>(c.value) ? sql.bound(std::get<double>(c.value))
                                                      : sql.bound(std::get<std::int64_t>(c.value)));
      sql << " - " << std::to_string(clock_skew_ms) << ") * 1000000";
    }
  }
  sql << ")";
}

struct trace_order_sql {
  sql_text& sql;
  std::string joins = {};
  std::string terms = {};

  void add(const std::vector<std::string>& order_by) {
    std::set<std::pair<field_kind, std::string>> seen;
    for (std::size_t i = 0; i < order_by.size(); ++i) {
      order_term term = parse_order(entity::trace, order_by[i], i);
      if (term.kind == field_kind::attribute && term.key == "run_id") {
        term = {field_kind::metadata, source_run, term.ascending};
      }
      if (!seen.emplace(term.kind, term.key).second) refuse_twice(i);
      add(term, "o" + std::to_string(i));
    }
    if (!seen.contains({field_kind::attribute, "timestamp_ms"})) terms += "i.timestamp_ms DESC, ";
    if (!seen.contains({field_kind::attribute, "request_id"})) terms += "i.request_id, ";
    terms += "1";
  }

 private:
  // What lacks the value comes last either way.
  void add(const order_term& term, const std::string& alias) {
    std::string value = "i." + term.key;
    if (term.kind == field_kind::metadata && term.key == "mlflow.trace.session") {
      value = "i.session_id";
    } else if (term.kind != field_kind::attribute) {
      value = alias + ".value";
      joins += " LEFT JOIN " +
               std::string(term.kind == field_kind::tag ? trace_tags.name : trace_metadata.name) +
               " " + alias + " ON " + alias + ".key = " + sql.bound(term.key) + " AND " + alias +
               ".request_id = i.request_id";
    }
    terms += value + " IS NULL, " + value + (term.ascending ? ", " : " DESC, ");
  }
};

}  // namespace

page<trace_info> store::search_traces(const trace_query& query) {
  check_max_results(query.max_results, 500);
  const std::int64_t offset = read_page_token(query.page_token);
  sql_text sql;
  trace_order_sql order{sql};
  order.add(query.order_by);
  std::string columns = "i." + std::string(trace_columns);
  for (std::size_t at = 0; (at = columns.find(", ", at)) != std::string::npos; at += 4) {
    columns.insert(at + 2, "i.");
  }
  sql << "SELECT " << columns << " FROM trace_info i" << order.joins << " WHERE i.";
  add_experiments(sql, query.experiment_ids);
  std::vector<clause> clauses = parse_filter(entity::trace, query.filter);
  add_span_clauses(sql, clauses);
  for (clause& c : clauses) {
    if (!is_of_spans(c)) add_trace_clause(sql, std::move(c));
  }
  sql << " ORDER BY " << order.terms;
  add_page(sql, query.max_results, offset);

  return reading([&](connection& on) {
    page<trace_info> found;
    sql.run(on, [&](statement& row) { found.items.push_back(read_trace_row(on, row)); });
    cut_page(found, query.max_results, offset);
    return found;
  });
}

}  // namespace mizzen::tracking::detail
