// Experiments and runs on a tracking server.
#include "tracking/rest_backend.hpp"

#include "tracking/names.hpp"
#include "tracking/rest_artifacts.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/run_start.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <algorithm>
#include <set>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view api = "/api/2.0/mlflow/";
// What one answer may hold: metric points, and things that are searched for.
constexpr const char* history_page = "25000";
constexpr std::size_t runs_per_history = 100;
constexpr std::size_t search_page = 1000;

// A table cannot be made of an id; MLflow would say so too, but not which field it was.
void check_id(std::string_view field, std::string_view id) {
  check_text(field, id, 256);
  if (id.empty()) throw error(errc::invalid_argument, field, "it is empty");
}

const char* view_of(std::optional<lifecycle_stage> stage) {
  if (!stage) return "ALL";
  return *stage == lifecycle_stage::active ? "ACTIVE_ONLY" : "DELETED_ONLY";
}

bool is_missing(const mlflow_error& e) { return e.code() == errc::not_found; }

}  // namespace

rest_backend::rest_backend(rest_settings settings, const client_options& options)
    : process_(getpid()),
      user_(options.user.empty() ? process_user() : options.user),
      program_(process_program()),
      log_(options.log),
      connection_(std::make_shared<rest_connection>(std::move(settings), options.log)),
      artifact_stores_(options.log) {
  check_text("client_options.user", options.user, 256);
}

rest_backend::rest_backend(const rest_backend& other, rest_connection::patience how)
    : process_(other.process_),
      user_(other.user_),
      program_(other.program_),
      log_(other.log_),
      connection_(std::make_shared<rest_connection>(other.connection_->settings(), log_, how)),
      artifact_stores_(log_) {}

std::shared_ptr<backend> rest_backend::without_patience() const {
  return std::make_shared<rest_backend>(*this, rest_connection::patience::once);
}

bool rest_backend::is_own_process() const noexcept { return process_ == getpid(); }

rest_connection& rest_backend::server() const {
  if (is_own_process()) return *connection_;
  throw error(errc::failed_precondition, "server '" + uri() + "'",
              "it was opened before fork(); make a client in the child process");
}

json rest_backend::get(std::string_view path, const query_parameters& query) const {
  return server().get(std::string(api).append(path), query);
}

json rest_backend::post(std::string_view path, const json& body, repeatable again) const {
  return send("POST", path, body, again);
}

json rest_backend::send(std::string_view method, std::string_view path, const json& body,
                        repeatable again) const {
  return server().send(method, std::string(api).append(path), body, again);
}

// --- experiments ---------------------------------------------------------------------------------

experiment rest_backend::create_experiment(std::string_view name,
                                           const experiment_options& options) {
  check_experiment_name(name);
  for (const auto& [key, value] : options.tags) check_experiment_tag(key, value);
  json body = {{"name", name}, {"tags", to_json(options.tags)}};
  if (!options.artifact_location.empty()) {
    check_text("experiment_options.artifact_location", options.artifact_location);
    body["artifact_location"] = options.artifact_location;
  }
  const json answer = post("experiments/create", body, repeatable::no);
  return get_experiment(text_field(answer, "experiment_id"));
}

experiment rest_backend::get_experiment(std::string_view id) {
  check_id("experiment.id", id);
  const json answer = get("experiments/get", {{"experiment_id", std::string(id)}});
  return read_experiment(required_field(answer, "experiment"));
}

std::optional<experiment> rest_backend::find_experiment(std::string_view name) {
  check_text("experiment.name", name);
  try {
    const json answer = get("experiments/get-by-name", {{"experiment_name", std::string(name)}});
    return read_experiment(required_field(answer, "experiment"));
  } catch (const mlflow_error& e) {
    if (is_missing(e)) return std::nullopt;
    throw;
  }
}

experiment rest_backend::get_or_create_experiment(std::string_view name,
                                                  const experiment_options& options) {
  check_experiment_name(name);
  for (const auto& [key, value] : options.tags) check_experiment_tag(key, value);
  auto found = find_experiment(name);
  if (!found) {
    try {
      return create_experiment(name, options);
    } catch (const error& e) {
      // Another process was first, or an answer that was lost had made it.
      found = find_experiment(name);
      if (!found) throw;
    }
  }
  if (found->stage == lifecycle_stage::deleted) {
    throw error(errc::failed_precondition, "experiment '" + std::string(name) + "'",
                "it is deleted; restore it with `mlflow experiments restore --experiment-id " +
                    found->id + "`, or take another name");
  }
  return *std::move(found);
}

std::vector<experiment> rest_backend::list_experiments(std::optional<lifecycle_stage> stage) {
  std::vector<experiment> all;
  json body = {{"max_results", search_page},
               {"view_type", view_of(stage)},
               {"order_by", json::array({"experiment_id ASC"})}};
  for (;;) {
    const json answer = post("experiments/search", body, repeatable::yes);
    for (const json& one : list_field(answer, "experiments")) all.push_back(read_experiment(one));
    const std::string next = text_field(answer, "next_page_token");
    if (next.empty()) return all;
    body["page_token"] = next;
  }
}

page<experiment> rest_backend::search_experiments(const experiment_query& query) {
  json body = {{"view_type", view_of(query.stage)},
               {"filter", query.filter},
               {"order_by", query.order_by},
               {"max_results", query.max_results}};
  if (!query.page_token.empty()) body["page_token"] = query.page_token;
  const json answer = post("experiments/search", body, repeatable::yes);
  page<experiment> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "experiments")) {
    found.items.push_back(read_experiment(one));
  }
  return found;
}

void rest_backend::set_experiment_tag(std::string_view id, std::string_view key,
                                      std::string_view value) {
  check_id("experiment.id", id);
  check_experiment_tag(key, value);
  post("experiments/set-experiment-tag", {{"experiment_id", id}, {"key", key}, {"value", value}},
       repeatable::yes);
}

// --- runs ----------------------------------------------------------------------------------------

run_record rest_backend::start_run(std::string_view experiment_id, const run_options& options) {
  check_id("experiment.id", experiment_id);
  const run_start start = prepare_run(options, user_, program_);
  const json answer = post("runs/create",
                           {{"experiment_id", experiment_id},
                            {"user_id", user_},
                            {"run_name", start.name},
                            {"start_time", start.start_time},
                            {"tags", to_json(start.tags)}},
                           repeatable::no);
  run_record run = read_run(required_field(answer, "run"));
  if (!options.params.empty()) {
    log_batch(run.id, {}, options.params, {});
    run.params = options.params;
  }
  return run;
}

run_record rest_backend::resume_run(std::string_view run_id) {
  try {
    post("runs/update", {{"run_id", run_id}, {"status", "RUNNING"}}, repeatable::yes);
  } catch (const mlflow_error& e) {
    const auto transferred = is_missing(e) ? find_transferred_run(run_id) : std::nullopt;
    if (!transferred) throw;
    return resume_run(transferred->id);
  }
  return get_run(run_id);
}

void rest_backend::end_run(std::string_view run_id, run_status status,
                           std::optional<std::int64_t> ended) {
  check_id("run.id", run_id);
  json body = {{"run_id", run_id}, {"status", to_string(status)}};
  if (status != run_status::running && status != run_status::scheduled) {
    body["end_time"] = ended.value_or(unix_millis());
  }
  post("runs/update", body, repeatable::yes);
}

run_record rest_backend::get_run(std::string_view run_id) {
  check_id("run.id", run_id);
  try {
    const json answer = get("runs/get", {{"run_id", std::string(run_id)}});
    return read_run(required_field(answer, "run"));
  } catch (const mlflow_error& e) {
    auto transferred = is_missing(e) ? find_transferred_run(run_id) : std::nullopt;
    if (!transferred) throw;
    return *std::move(transferred);
  }
}

page<run_record> rest_backend::search_runs(const run_query& query) {
  json body = {{"run_view_type", view_of(query.stage)},
               {"order_by", query.order_by},
               {"max_results", query.max_results}};
  if (!query.page_token.empty()) body["page_token"] = query.page_token;
  body["experiment_ids"] = experiments_of(query.experiment_ids);
  if (body["experiment_ids"].empty()) return {};
  // What cannot be asked for is looked for here.
  const std::optional<std::string> filter = filter_of(query);
  body["filter"] = filter ? *filter : query.filter;
  const auto matches = [&](const run_record& run) {
    if (query.status && run.status != *query.status) return false;
    return std::all_of(query.tags.begin(), query.tags.end(), [&](const auto& tag) {
      const auto found = run.tags.find(tag.first);
      return found != run.tags.end() && found->second == tag.second;
    });
  };

  const json answer = post("runs/search", body, repeatable::yes);
  page<run_record> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "runs")) {
    run_record run = read_run(one);
    if (filter || matches(run)) found.items.push_back(std::move(run));
  }
  return found;
}

json rest_backend::experiments_of(const std::vector<std::string>& ids) {
  json list = json::array();
  if (ids.empty()) {
    for (const experiment& one : list_experiments(lifecycle_stage::active)) list.push_back(one.id);
  }
  for (const std::string& id : ids) {
    check_id("experiment_ids", id);
    list.push_back(id);
  }
  return list;
}

void rest_backend::log_metric(std::string_view run_id, std::string_view key, double value,
                              std::int64_t step, std::int64_t timestamp) {
  const metric point{std::string(key), value, step, timestamp};
  log_batch(run_id, {&point, 1}, {}, {});
}

void rest_backend::log_batch(std::string_view run_id, std::span<const metric> metrics,
                             const string_map& params, const string_map& tags) {
  check_id("run.id", run_id);
  for (const json& body : split_batch(run_id, metrics, params, tags)) {
    try {
      post("runs/log-batch", body, repeatable::yes);
    } catch (const mlflow_error& e) {
      // MLflow says of a deleted run what it says of a bad value.
      if (e.code() != errc::invalid_argument) throw;
      if (get_run(run_id).stage != lifecycle_stage::deleted) throw;
      throw error(errc::failed_precondition, "run '" + std::string(run_id) + "'",
                  "it is deleted; restore it to write to it", std::current_exception());
    }
  }
}

void rest_backend::delete_tag(std::string_view run_id, std::string_view key) {
  check_id("run.id", run_id);
  check_key("tag.key", key);
  post("runs/delete-tag", {{"run_id", run_id}, {"key", key}}, repeatable::no);
}

void rest_backend::log_input(std::string_view run_id, const dataset& data,
                             const input_options& options) {
  check_id("run.id", run_id);
  const string_map tags = check_input(data, options);
  const json input = {{"tags", to_json(tags)}, {"dataset", to_json(data)}};
  post("runs/log-inputs", {{"run_id", run_id}, {"datasets", json::array({input})}},
       repeatable::yes);
}

std::vector<metric> rest_backend::metric_history(std::string_view run_id, std::string_view key) {
  std::vector<metric> points;
  visit_metric_history(run_id, key, [&](const metric& point) {
    points.push_back(point);
    return true;
  });
  return points;
}

void rest_backend::visit_metric_history(std::string_view run_id, std::string_view key,
                                        const std::function<bool(const metric&)>& visit) {
  check_id("run.id", run_id);
  check_text("metric.key", key);
  query_parameters query = {{"run_id", std::string(run_id)},
                            {"metric_key", std::string(key)},
                            {"max_results", history_page}};
  for (bool is_first = true;; is_first = false) {
    json answer = get("metrics/get-history", query);
    if (is_first && list_field(answer, "metrics").empty()) {
      // So does a server say of a run that it does not have, or has under another id.
      query[0].second = get_run(run_id).id;
      if (query[0].second == run_id) return;
      answer = get("metrics/get-history", query);
    }
    for (const json& point : list_field(answer, "metrics")) {
      if (!visit(read_metric(point))) return;
    }
    const std::string next = text_field(answer, "next_page_token");
    if (next.empty()) return;
    query.resize(3);
    query.emplace_back("page_token", next);
  }
}

page<metric> rest_backend::metric_history_page(std::string_view run_id, std::string_view key,
                                               std::size_t max_results,
                                               std::string_view page_token) {
  check_id("run.id", run_id);
  check_text("metric.key", key);
  check_history_page(max_results);
  query_parameters query = {{"run_id", std::string(run_id)},
                            {"metric_key", std::string(key)},
                            {"max_results", std::to_string(max_results)}};
  if (!page_token.empty()) query.emplace_back("page_token", page_token);
  const json answer = get("metrics/get-history", query);
  page<metric> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& point : list_field(answer, "metrics")) found.items.push_back(read_metric(point));
  return found;
}

std::map<std::string, std::vector<metric>> rest_backend::metric_histories(
    std::span<const std::string> run_ids, std::string_view key) {
  check_text("metric.key", key);
  std::map<std::string, std::vector<metric>> histories;
  for (std::size_t first = 0; first < run_ids.size(); first += runs_per_history) {
    const auto part = run_ids.subspan(first, std::min(runs_per_history, run_ids.size() - first));
    query_parameters query = {{"metric_key", std::string(key)}, {"max_results", history_page}};
    for (const std::string& id : part) {
      check_id("run.id", id);
      query.emplace_back("run_id", id);
    }
    // A call of MLflow's UI; it gives the runs in order of their ids, and no more than this.
    const json answer = server().get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", query);
    const json& points = list_field(answer, "metrics");
    std::string last;
    for (const json& point : points) {
      last = text_field(point, "run_id");
      histories[last].push_back(read_metric(point));
    }
    if (std::to_string(points.size()) != history_page) continue;
    // Cut off: the last run is not whole, and those behind it are missing.
    for (const std::string& id : part) {
      if (id < last) continue;
      histories.erase(id);
      try {
        std::vector<metric> whole = metric_history(id, key);
        if (!whole.empty()) histories[id] = std::move(whole);
      } catch (const mlflow_error& e) {
        if (!is_missing(e)) throw;
      }
    }
  }
  return histories;
}

std::map<std::string, std::vector<metric>> rest_backend::sample_metric_histories(
    std::span<const std::string> run_ids, std::string_view key, const history_sample& options) {
  check_text("metric.key", key);
  check_history_sample(options);
  const std::set<std::string> once(run_ids.begin(), run_ids.end());
  const std::vector<std::string> ids(once.begin(), once.end());
  std::map<std::string, std::vector<metric>> histories;
  for (std::size_t first = 0; first < ids.size(); first += runs_per_history) {
    const auto part = std::span(ids).subspan(first, std::min(runs_per_history, ids.size() - first));
    query_parameters query = {{"metric_key", std::string(key)},
                              {"max_results", std::to_string(options.max_points)}};
    if (options.first_step) {
      query.emplace_back("start_step", std::to_string(*options.first_step));
      query.emplace_back("end_step", std::to_string(*options.last_step));
    }
    for (const std::string& id : part) {
      check_id("run.id", id);
      query.emplace_back("run_ids", id);
    }
    const json answer = get("metrics/get-history-bulk-interval", query);
    for (const json& point : list_field(answer, "metrics")) {
      histories[text_field(point, "run_id")].push_back(read_metric(point));
    }
  }
  return histories;
}

std::shared_ptr<artifact_repository> rest_backend::artifacts(std::string_view location) {
  server();
  if (!location.starts_with("mlflow-artifacts:")) return artifact_stores_.open(location);
  return proxy_repository(connection_, location, resolve_multipart_settings(process_environment()));
}

// --- lineage -------------------------------------------------------------------------------------

namespace {

[[noreturn]] void refuse_lineage(const std::string& uri) {
  throw error(errc::unimplemented, "lineage of '" + uri + "'",
              "an MLflow server keeps no lineage graph; an embedded store does");
}

}  // namespace

std::string rest_backend::record_node(const lineage_node&) { refuse_lineage(uri()); }
void rest_backend::link_nodes(std::string_view, std::string_view, std::string_view) {
  refuse_lineage(uri());
}
lineage_node rest_backend::get_node(std::string_view) { refuse_lineage(uri()); }
std::optional<lineage_node> rest_backend::find_node(std::string_view, std::string_view,
                                                    std::string_view) {
  refuse_lineage(uri());
}
lineage_graph rest_backend::reachable_nodes(std::string_view, lineage_direction) {
  refuse_lineage(uri());
}
lineage_graph rest_backend::all_nodes() { refuse_lineage(uri()); }

}  // namespace mizzen::tracking::detail
