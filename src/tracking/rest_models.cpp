// Logged models and the model registry on a tracking server.
#include "tracking/rest_backend.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t params_per_call = 100;
constexpr std::size_t search_page = 1000;  // MLflow's most for registered models

// Tags of a run that its models take over, as MLflow's client does it.
constexpr std::array<const char*, 3> inherited_tags = {"mlflow.user", "mlflow.source.name",
                                                       "mlflow.source.type"};

std::string model_path(std::string_view model_id) {
  check_text("model.id", model_id, 256);
  if (model_id.empty()) throw error(errc::invalid_argument, "model.id", "it is empty");
  return "logged-models/" + http::percent_encode(model_id);
}

json first_params(const string_map& params) {
  string_map first;
  for (const auto& entry : params) {
    if (first.size() == params_per_call) break;
    first.insert(entry);
  }
  return to_json(first);
}

bool exists_already(const mlflow_error& e) { return e.code() == errc::already_exists; }

}  // namespace

// --- logged models -------------------------------------------------------------------------------

logged_model rest_backend::create_logged_model(std::string_view run_id,
                                               const model_options& options) {
  const run_record run = get_run(run_id);
  string_map params = options.params;
  params.insert(run.params.begin(), run.params.end());
  string_map tags = options.tags;
  for (const char* key : inherited_tags) {
    const auto found = run.tags.find(key);
    if (found != run.tags.end()) tags.insert(*found);
  }
  const json answer = post("logged-models",
                           {{"experiment_id", run.experiment_id},
                            {"name", options.name},
                            {"source_run_id", run.id},
                            {"params", first_params(params)},
                            {"tags", to_json(tags)}},
                           repeatable::no);
  logged_model model = read_logged_model(required_field(answer, "model"));
  log_params_from(model.id, params, params_per_call);
  return model;
}

void rest_backend::finish_logged_model(const logged_model& model) {
  send("PATCH", model_path(model.id), {{"model_id", model.id}, {"status", "LOGGED_MODEL_READY"}},
       repeatable::yes);
  const json output = {{"model_id", model.id}, {"step", 0}};
  post("runs/outputs", {{"run_id", model.run_id}, {"models", json::array({output})}},
       repeatable::no);
  // What the run had measured by now describes the model; NaN cannot be kept there.
  json body = {{"run_id", model.run_id}};
  for (const auto& [key, point] : get_run(model.run_id).metrics) {
    json item = to_json(point);
    if (!item["value"].is_number()) continue;
    item["model_id"] = model.id;
    body["metrics"].push_back(std::move(item));
    if (body["metrics"].size() < limits::metrics_per_batch) continue;
    post("runs/log-batch", body, repeatable::yes);
    body["metrics"].clear();
  }
  if (body.contains("metrics") && !body["metrics"].empty()) {
    post("runs/log-batch", body, repeatable::yes);
  }
}

void rest_backend::fail_logged_model(const logged_model& model, std::string_view) {
  send("PATCH", model_path(model.id),
       {{"model_id", model.id}, {"status", "LOGGED_MODEL_UPLOAD_FAILED"}}, repeatable::yes);
}

logged_model rest_backend::get_logged_model(std::string_view model_id) {
  try {
    const json answer = get(model_path(model_id));
    return read_logged_model(required_field(answer, "model"));
  } catch (const mlflow_error& e) {
    auto transferred =
        e.code() == errc::not_found ? find_transferred_model(model_id) : std::nullopt;
    if (!transferred) throw;
    return *std::move(transferred);
  }
}

std::vector<logged_model> rest_backend::list_logged_models(std::string_view run_id) {
  const run_record run = get_run(run_id);
  std::vector<logged_model> models;
  const json by_time = {{"field_name", "creation_timestamp"}, {"ascending", true}};
  json body = {{"experiment_ids", json::array({run.experiment_id})},
               {"filter", "source_run_id = '" + run.id + "'"},
               {"order_by", json::array({by_time})}};
  for (;;) {
    const json answer = post("logged-models/search", body, repeatable::yes);
    for (const json& one : list_field(answer, "models")) models.push_back(read_logged_model(one));
    const std::string next = text_field(answer, "next_page_token");
    if (next.empty()) return models;
    body["page_token"] = next;
  }
}

page<logged_model> rest_backend::search_logged_models(const logged_model_query& query) {
  json body = {{"filter", query.filter}, {"max_results", query.max_results}};
  body["experiment_ids"] = experiments_of(query.experiment_ids);
  if (body["experiment_ids"].empty()) return {};
  for (const dataset_filter& data : query.datasets) {
    json one = {{"dataset_name", data.name}};
    if (!data.digest.empty()) one["dataset_digest"] = data.digest;
    body["datasets"].push_back(std::move(one));
  }
  for (const logged_model_order& by : query.order_by) {
    json one = {{"field_name", by.field}, {"ascending", by.ascending}};
    if (!by.dataset_name.empty()) one["dataset_name"] = by.dataset_name;
    if (!by.dataset_digest.empty()) one["dataset_digest"] = by.dataset_digest;
    body["order_by"].push_back(std::move(one));
  }
  if (!query.page_token.empty()) body["page_token"] = query.page_token;
  const json answer = post("logged-models/search", body, repeatable::yes);
  page<logged_model> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "models")) {
    found.items.push_back(read_logged_model(one));
  }
  return found;
}

logged_model rest_backend::create_logged_model(std::string_view experiment_id,
                                               const logged_model_options& options) {
  check_logged_model(options);
  json body = {{"experiment_id", experiment_id},
               {"name", options.name},
               {"params", first_params(options.params)},
               {"tags", to_json(options.tags)}};
  if (!options.run_id.empty()) body["source_run_id"] = options.run_id;
  if (!options.model_type.empty()) body["model_type"] = options.model_type;
  const json answer = post("logged-models", body, repeatable::no);
  const logged_model model = read_logged_model(required_field(answer, "model"));
  if (options.params.size() <= params_per_call) return model;
  log_params_from(model.id, options.params, params_per_call);
  return get_logged_model(model.id);
}

void rest_backend::log_model_params(std::string_view model_id, const string_map& params) {
  for (const auto& [key, value] : params) check_model_param(key, value);
  log_params_from(model_id, params, 0);
}

void rest_backend::log_params_from(std::string_view model_id, const string_map& params,
                                   std::size_t first) {
  auto rest = params.begin();
  std::advance(rest, std::min(params.size(), first));
  while (rest != params.end()) {
    string_map piece;
    for (; rest != params.end() && piece.size() < params_per_call; ++rest) piece.insert(*rest);
    post(model_path(model_id) + "/params", {{"model_id", model_id}, {"params", to_json(piece)}},
         repeatable::no);
  }
}

void rest_backend::log_model_metrics(std::string_view model_id, std::string_view run_id,
                                     std::span<const metric> points,
                                     const dataset_filter& measured_on) {
  check_model_metrics(points, measured_on.name, measured_on.digest);
  const std::int64_t now = unix_millis();
  for (std::size_t first = 0; first < points.size(); first += limits::metrics_per_batch) {
    json body = {{"run_id", run_id}};
    const auto most = std::min(limits::metrics_per_batch, points.size() - first);
    for (const metric& point : points.subspan(first, most)) {
      json item = to_json(point);
      if (!point.timestamp) item["timestamp"] = now;
      item["model_id"] = model_id;
      if (!measured_on.name.empty()) item["dataset_name"] = measured_on.name;
      if (!measured_on.digest.empty()) item["dataset_digest"] = measured_on.digest;
      body["metrics"].push_back(std::move(item));
    }
    post("runs/log-batch", body, repeatable::yes);
  }
}

logged_model rest_backend::finalize_logged_model(std::string_view model_id,
                                                 logged_model_status status) {
  check_final(status);
  const json answer =
      send("PATCH", model_path(model_id),
           {{"model_id", model_id},
            {"status", status == logged_model_status::ready ? "LOGGED_MODEL_READY"
                                                            : "LOGGED_MODEL_UPLOAD_FAILED"}},
           repeatable::yes);
  return read_logged_model(required_field(answer, "model"));
}

// --- model registry ------------------------------------------------------------------------------

registered_model rest_backend::create_registered_model(std::string_view name,
                                                       const registered_model_options& options) {
  check_model_name(name);
  check_text("registered_model.description", options.description, limits::description_length);
  for (const auto& [key, value] : options.tags) check_registry_tag(key, value);
  const json answer =
      post("registered-models/create",
           {{"name", name}, {"description", options.description}, {"tags", to_json(options.tags)}},
           repeatable::no);
  return read_registered_model(required_field(answer, "registered_model"));
}

registered_model rest_backend::get_registered_model(std::string_view name) {
  check_model_name(name);
  const json answer = get("registered-models/get", {{"name", std::string(name)}});
  return read_registered_model(required_field(answer, "registered_model"));
}

std::vector<registered_model> rest_backend::list_registered_models() {
  std::vector<registered_model> models;
  query_parameters query = {{"max_results", std::to_string(search_page)}};
  for (;;) {
    const json answer = get("registered-models/search", query);
    for (const json& one : list_field(answer, "registered_models")) {
      models.push_back(read_registered_model(one));
    }
    const std::string next = text_field(answer, "next_page_token");
    if (next.empty()) return models;
    query.resize(1);
    query.emplace_back("page_token", next);
  }
}

namespace {

template <typename Query>
query_parameters search_parameters(const Query& query) {
  query_parameters parameters = {{"max_results", std::to_string(query.max_results)}};
  if (!query.filter.empty()) parameters.emplace_back("filter", query.filter);
  for (const std::string& by : query.order_by) parameters.emplace_back("order_by", by);
  if (!query.page_token.empty()) parameters.emplace_back("page_token", query.page_token);
  return parameters;
}

}  // namespace

page<registered_model> rest_backend::search_registered_models(const registered_model_query& query) {
  const json answer = get("registered-models/search", search_parameters(query));
  page<registered_model> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "registered_models")) {
    found.items.push_back(read_registered_model(one));
  }
  return found;
}

page<model_version> rest_backend::search_model_versions(const model_version_query& query) {
  const json answer = get("model-versions/search", search_parameters(query));
  page<model_version> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "model_versions")) {
    found.items.push_back(read_model_version(one));
  }
  return found;
}

model_version rest_backend::register_model(std::string_view name, std::string_view source,
                                           const model_version_options& options) {
  check_model_name(name);
  check_text("source", source, 500);
  if (source.empty()) {
    throw error(errc::invalid_argument, "source", "it is empty; name a model, as models:/m-…");
  }
  check_text("model_version.run_id", options.run_id, 32);
  check_text("model_version.description", options.description, limits::description_length);
  for (const auto& [key, value] : options.tags) check_registry_tag(key, value);

  // What mlflow.register_model resolves on the client's side.
  std::string from(source);
  std::string run_id = options.run_id;
  std::string model_id;
  const auto take = [&](const logged_model& model) {
    from = model.uri;
    model_id = model.id;
    if (run_id.empty()) run_id = model.run_id;
  };
  if (source.starts_with("runs:/")) {
    const std::string_view rest = source.substr(6);
    const auto slash = rest.find('/');
    const std::string_view path =
        slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    check_artifact_path("source", path, false);
    const run_record run = get_run(rest.substr(0, slash));
    const std::vector<logged_model> models = list_logged_models(run.id);
    const auto found = std::find_if(models.rbegin(), models.rend(), [&](const logged_model& model) {
      return model.name == path &&
             std::find(run.model_ids.begin(), run.model_ids.end(), model.id) != run.model_ids.end();
    });
    if (found != models.rend()) {
      take(*found);
    } else {
      from = append_location(run.artifact_uri, path);
      if (run_id.empty()) run_id = run.id;
    }
  } else if (source.starts_with("models:/m-") &&
             source.find_first_of("/@", 10) == std::string_view::npos) {
    take(get_logged_model(source.substr(8)));
  }

  try {
    create_registered_model(name, {});
  } catch (const mlflow_error& e) {
    if (!exists_already(e)) throw;
  }
  json body = {{"name", name},
               {"source", from},
               {"description", options.description},
               {"tags", to_json(options.tags)}};
  if (!run_id.empty()) body["run_id"] = run_id;
  if (!model_id.empty()) body["model_id"] = model_id;
  const json answer = post("model-versions/create", body, repeatable::no);
  return read_model_version(required_field(answer, "model_version"));
}

model_version rest_backend::get_model_version(std::string_view name, std::int64_t version) {
  check_model_name(name);
  const json answer = get("model-versions/get",
                          {{"name", std::string(name)}, {"version", std::to_string(version)}});
  return read_model_version(required_field(answer, "model_version"));
}

model_version rest_backend::get_model_version_by_alias(std::string_view name,
                                                       std::string_view alias) {
  check_model_name(name);
  check_text("alias", alias, limits::alias_length);
  const json answer =
      get("registered-models/alias", {{"name", std::string(name)}, {"alias", std::string(alias)}});
  return read_model_version(required_field(answer, "model_version"));
}

std::vector<model_version> rest_backend::list_model_versions(std::string_view name) {
  // not_found, where the search would find nothing; and the aliases, which it leaves out.
  const registered_model model = get_registered_model(name);
  std::vector<model_version> versions;
  if (name.find('\'') != std::string_view::npos && name.find('"') != std::string_view::npos) {
    throw error(errc::unimplemented, "registered_model.name",
                "MLflow's search cannot quote a name with both kinds of quotes in it");
  }
  const char* quote = name.find('\'') == std::string_view::npos ? "'" : "\"";
  query_parameters query = {{"filter", std::string("name = ").append(quote).append(name) + quote},
                            {"max_results", std::to_string(search_page)}};
  for (;;) {
    const json answer = get("model-versions/search", query);
    for (const json& one : list_field(answer, "model_versions")) {
      versions.push_back(read_model_version(one));
    }
    const std::string next = text_field(answer, "next_page_token");
    if (next.empty()) break;
    query.resize(2);
    query.emplace_back("page_token", next);
  }
  for (model_version& version : versions) {
    version.aliases.clear();
    for (const auto& [alias, number] : model.aliases) {
      if (number == version.version) version.aliases.push_back(alias);
    }
  }
  std::stable_sort(versions.begin(), versions.end(),
                   [](const auto& a, const auto& b) { return a.version > b.version; });
  return versions;
}

void rest_backend::set_model_alias(std::string_view name, std::string_view alias,
                                   std::int64_t version) {
  check_model_name(name);
  check_alias(alias);
  post("registered-models/alias",
       {{"name", name}, {"alias", alias}, {"version", std::to_string(version)}}, repeatable::yes);
}

void rest_backend::delete_model_alias(std::string_view name, std::string_view alias) {
  check_model_name(name);
  check_text("alias", alias, limits::alias_length);
  send("DELETE", "registered-models/alias", {{"name", name}, {"alias", alias}}, repeatable::yes);
}

void rest_backend::set_registered_model_tag(std::string_view name, std::string_view key,
                                            std::string_view value) {
  check_model_name(name);
  check_registry_tag(key, value);
  post("registered-models/set-tag", {{"name", name}, {"key", key}, {"value", value}},
       repeatable::yes);
}

void rest_backend::set_model_version_tag(std::string_view name, std::int64_t version,
                                         std::string_view key, std::string_view value) {
  check_model_name(name);
  check_registry_tag(key, value);
  post("model-versions/set-tag",
       {{"name", name}, {"version", std::to_string(version)}, {"key", key}, {"value", value}},
       repeatable::yes);
}

}  // namespace mizzen::tracking::detail
