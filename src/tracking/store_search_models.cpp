// Searches of registered models, their versions, and logged models.
#include "tracking/filter.hpp"
#include "tracking/page_token.hpp"
#include "tracking/search_sql.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <set>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view prompt_tag = "mlflow.prompt.is_prompt";

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

}  // namespace mizzen::tracking::detail
