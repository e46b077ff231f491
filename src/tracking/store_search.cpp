// Searches of runs and experiments.
#include "tracking/filter.hpp"
#include "tracking/page_token.hpp"
#include "tracking/search_sql.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

void add_stage(sql_text& sql, std::optional<lifecycle_stage> stage) {
  if (stage) {
    sql << " AND lifecycle_stage = " << sql.bound(std::string(to_string(*stage)));
  } else {
    sql << " AND lifecycle_stage IN ('active', 'deleted')";
  }
}

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

// Whether to go through all of the table in its order rather than through the index on keys, which
// leads to a place of the table for each run. Measured: where an eighth of the rows have the key.
bool prefers_scan(connection& on, const clause& c) {
  const std::string table(table_of(c.kind));
  const connection::once last(on, "SELECT ifnull(max(rowid), 0) / 8 FROM " + table);
  statement row = last.use();
  const std::int64_t eighth = row.step() ? row.integer(0) : 0;
  const connection::once some(
      on, "SELECT count(*) FROM (SELECT 1 FROM " + table + " WHERE key = ?1 LIMIT ?2)");
  statement count = some.use();
  return count.bind(c.key, eighth).step() && count.integer(0) >= eighth;
}

void add_dataset_clause(sql_text& sql, std::string_view run_id, const clause& c) {
  sql << " AND EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id";
  const bool context = c.key == "context";
  if (context) sql << " JOIN input_tags g ON g.input_uuid = i.input_uuid";
  sql << " WHERE i.destination_id = " << run_id << " AND ";
  if (context) sql << "g.name = 'mlflow.data.context' AND ";
  const std::string fits = comparison(sql, context ? "g.value" : "d." + c.key, c);
  sql << fits << ")";
}

// run_id: the column that holds it in the first table that is gone through, so that SQLite can
// leave a run out before it looks at the other tables.
void add_run_clause(sql_text& sql, std::string_view run_id, const clause& c) {
  if (c.kind == field_kind::dataset) return add_dataset_clause(sql, run_id, c);
  if (!on_side_table(c)) {
    const std::string fits = comparison(sql, "runs." + c.key, c);
    sql << " AND " << fits;
    return;
  }
  sql << (c.op == comparator::is_null ? " AND NOT EXISTS" : " AND EXISTS") << " (SELECT 1 FROM "
      << table_of(c.kind) << " t WHERE t.run_uuid = " << run_id
      << " AND t.key = " << sql.bound(c.key);
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
  const auto add_rest = [&] {
    sql << "runs.";
    add_experiments(sql, query.experiment_ids);
    add_stage(sql, query.stage);
    if (query.status) {
      sql << " AND runs.status = " << sql.bound(std::string(to_string(*query.status)));
    }
    const std::string_view run_id = leading ? "lead.run_uuid" : "runs.run_uuid";
    for (const clause& c : clauses) add_run_clause(sql, run_id, c);
    sql << " ORDER BY " << order.terms;
  };

  return reading([&](connection& on) {
    sql << "SELECT runs.rowid FROM ";
    if (leading) {
      // SQLite takes the tables of a CROSS JOIN in the order that is written; a + keeps it from an
      // index.
      sql << table_of(leading->kind) << " lead CROSS JOIN runs ON runs.run_uuid = lead.run_uuid"
          << order.joins << " WHERE " << (prefers_scan(on, *leading) ? "+" : "")
          << "lead.key = " << sql.bound(leading->key) << " AND "
          << fitting_value(sql, "lead", *leading) << " AND ";
    } else {
      sql << "runs" << order.joins << " WHERE ";
    }
    add_rest();

    page<run_record> found;
    const connection::once one(
        on, "SELECT " + std::string(run_columns) + " FROM runs WHERE rowid = ?1");
    for (const std::int64_t id : found_runs_.read(on, sql, offset, query.max_results + 1)) {
      statement row = one.use();
      if (row.bind(id).step()) found.items.push_back(read_run_row(row));
    }
    cut_page(found, query.max_results, offset);
    read_run_details(on, found.items);
    return found;
  });
}

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

}  // namespace mizzen::tracking::detail
