// Searches of traces.
#include "tracking/filter.hpp"
#include "tracking/page_token.hpp"
#include "tracking/search_sql.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace mizzen::tracking::detail {
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
