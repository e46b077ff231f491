// Searching a store: what may be asked, and the pages that come back.
//
// `filter` and `order_by` are in MLflow's own language (mlflow/utils/search_utils.py, MLflow 3.17),
// and mean what they mean there; an embedded store answers as MLflow does on the same file.
//
//   filter      clauses joined by AND: "metrics.loss < 0.1 AND params.`batch size` = '64'"
//     what      metrics.KEY (metric), params.KEY (param, parameter, parameters), tags.KEY (tag),
//               attributes.KEY (attribute, attr, run, or nothing before it), datasets.KEY
//               (dataset); a KEY with other characters than letters, digits, _ and . stands in `…`
//               or "…"
//     numbers   = != > >= < <=      against 3, -0.5, 1e-3; a metric that is NaN is != every number
//     texts     = != LIKE ILIKE     against 'text' or "text" (which cannot hold its own quote);
//               % is any text, _ any character; ILIKE ignores the case of ASCII letters
//     lists     IN NOT IN           against ('a', 'b'), where the entity below says so
//     presence  IS NULL IS NOT NULL of parameters and tags
//   order_by    "metrics.loss ASC", "start_time DESC"; what lacks the key comes last, NaN before
//   that
//
// What cannot be read is error(invalid_argument) with the subject "filter" or "order_by[i]" and the
// clause, its position and what is allowed.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

// What one call found, in order. Usable as a range of its items.
template <typename T>
struct page {
  std::vector<T> items = {};
  // Given to the next call, with all else the same, it continues after this page. Empty: this was
  // the last. An embedded store's token is MLflow's: base64 of {"offset": N}; so a row that appears
  // or vanishes between two calls shifts those behind it, as it does in MLflow.
  std::string next_page_token = {};

  std::size_t size() const noexcept { return items.size(); }
  bool empty() const noexcept { return items.empty(); }
  const T& operator[](std::size_t index) const { return items[index]; }
  const T& at(std::size_t index) const { return items.at(index); }
  auto begin() const noexcept { return items.begin(); }
  auto end() const noexcept { return items.end(); }
};

// Attributes: run_id (also IN, NOT IN), run_name, status, user_id, artifact_uri; the numbers
// start_time and end_time. Datasets: name, digest, context (all also IN, NOT IN; not in order_by).
struct run_query {
  std::vector<std::string> experiment_ids = {};  // empty: all active experiments
  std::string filter = {};
  // Behind them, and without them: start_time DESC, then the run's id.
  std::vector<std::string> order_by = {};
  // Short forms of what a filter could say; all must hold.
  std::optional<run_status> status = std::nullopt;
  string_map tags = {};                                            // must be equal
  std::optional<lifecycle_stage> stage = lifecycle_stage::active;  // nullopt: both
  std::size_t max_results = 1000;                                  // of a page: 1 to 50,000
  std::string page_token = {};
};

// Attributes: name; experiment_id (= != IN NOT IN, against texts); the numbers creation_time and
// last_update_time; and tags. Operators in capitals, as MLflow wants them here.
struct experiment_query {
  std::string filter = {};
  // Attributes only. Without them: creation_time DESC, experiment_id ASC.
  std::vector<std::string> order_by = {};
  std::optional<lifecycle_stage> stage = lifecycle_stage::active;  // nullopt: both
  std::size_t max_results = 1000;                                  // of a page: 1 to 50,000
  std::string page_token = {};
};

// Attribute: name (also IN, NOT IN); and tags. Prompts of MLflow's registry are left out unless the
// filter asks for them: tags.`mlflow.prompt.is_prompt` = 'true'.
struct registered_model_query {
  std::string filter = {};
  // name, last_updated_timestamp (or timestamp). Behind them, and without them: name ASC.
  std::vector<std::string> order_by = {};
  std::size_t max_results = 100;  // of a page: 1 to 1,000
  std::string page_token = {};
};

// Attributes: name, run_id (both also IN, NOT IN), source_path; the number version_number; and
// tags. Prompts as above.
struct model_version_query {
  std::string filter = {};
  // name, version_number, creation_timestamp, last_updated_timestamp. Without them:
  // last_updated_timestamp DESC, name ASC, version_number DESC.
  std::vector<std::string> order_by = {};
  std::size_t max_results = 10'000;  // of a page: 1 to 200,000
  std::string page_token = {};
};

// What a metric of a logged model was measured on.
struct dataset_filter {
  std::string name = {};
  std::string digest = {};  // empty: any
};

struct logged_model_order {
  std::string field = {};  // an attribute, or "metrics.KEY" (its latest point)
  bool ascending = true;
  std::string dataset_name = {};    // of the metric; empty: any
  std::string dataset_digest = {};  // only with a name; empty: any
};

// Attributes: name, model_id, model_type, status, source_run_id, experiment_id, artifact_location,
// lifecycle_stage, status_message (all also IN, NOT IN); the numbers creation_timestamp_ms
// (creation_timestamp, creation_time) and last_updated_timestamp_ms (last_updated_timestamp); and
// metrics, params, tags. MLflow reads this one with stricter rules: exactly those four prefixes
// ("attributes." before a column's own name only), keys in backticks, texts in single quotes.
struct logged_model_query {
  std::vector<std::string> experiment_ids = {};  // empty: all active experiments
  std::string filter = {};
  // Metrics that the filter names must have been measured on one of these; without such metrics in
  // the filter, any metric of the model.
  std::vector<dataset_filter> datasets = {};
  // Behind them, and without them: creation_timestamp DESC, model_id ASC.
  std::vector<logged_model_order> order_by = {};
  std::size_t max_results = 100;  // of a page: 1 to 50,000
  std::string page_token = {};
};

// A key or a text as a filter holds it, quoted: "tags." + quoted_key("a b") + " = " +
// quoted_text("it's"). Throws error(invalid_argument) for what MLflow's language has no form for: a
// key with both a backtick and a double quote, a text with both kinds of quotes, either with a
// backslash at its end.
std::string quoted_key(std::string_view key);
std::string quoted_text(std::string_view text);

}  // namespace mizzen::tracking
