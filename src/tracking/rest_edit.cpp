// What changes or takes away what a server holds: names, deletion, restoration, stages, copies.
#include "tracking/rest_backend.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

namespace mizzen::tracking::detail {
namespace {

void check_id(std::string_view field, std::string_view id) {
  check_text(field, id, 256);
  if (id.empty()) throw error(errc::invalid_argument, field, "it is empty");
}

std::string model_path(std::string_view model_id) {
  check_id("model.id", model_id);
  return "logged-models/" + http::percent_encode(model_id);
}

json version_key(std::string_view name, std::int64_t version) {
  check_model_name(name);
  return {{"name", name}, {"version", std::to_string(version)}};
}

}  // namespace

void rest_backend::rename_experiment(std::string_view id, std::string_view name) {
  check_id("experiment.id", id);
  check_experiment_name(name);
  post("experiments/update", {{"experiment_id", id}, {"new_name", name}}, repeatable::yes);
}

void rest_backend::set_experiment_stage(std::string_view id, lifecycle_stage stage) {
  check_id("experiment.id", id);
  post(stage == lifecycle_stage::deleted ? "experiments/delete" : "experiments/restore",
       {{"experiment_id", id}}, repeatable::no);
}

void rest_backend::delete_experiment_tag(std::string_view id, std::string_view key) {
  check_id("experiment.id", id);
  check_key("tag.key", key);
  post("experiments/delete-experiment-tag", {{"experiment_id", id}, {"key", key}}, repeatable::no);
}

void rest_backend::set_run_stage(std::string_view run_id, lifecycle_stage stage) {
  check_id("run.id", run_id);
  post(stage == lifecycle_stage::deleted ? "runs/delete" : "runs/restore", {{"run_id", run_id}},
       repeatable::yes);
}

void rest_backend::rename_run(std::string_view run_id, std::string_view name) {
  check_id("run.id", run_id);
  check_text("run.name", name, limits::key_length);
  if (name.empty()) throw error(errc::invalid_argument, "run.name", "it is empty");
  post("runs/update", {{"run_id", run_id}, {"run_name", name}}, repeatable::yes);
}

void rest_backend::set_logged_model_tag(std::string_view model_id, std::string_view key,
                                        std::string_view value) {
  check_tag(key, value);
  send("PATCH", model_path(model_id) + "/tags",
       {{"tags", to_json(string_map{{std::string(key), std::string(value)}})}}, repeatable::yes);
}

void rest_backend::delete_logged_model_tag(std::string_view model_id, std::string_view key) {
  check_key("tag.key", key);
  send("DELETE", model_path(model_id) + "/tags/" + http::percent_encode(key), json::object(),
       repeatable::no);
}

void rest_backend::delete_logged_model(std::string_view model_id) {
  send("DELETE", model_path(model_id), {{"model_id", model_id}}, repeatable::no);
}

registered_model rest_backend::rename_registered_model(std::string_view name,
                                                       std::string_view new_name) {
  check_model_name(name);
  check_model_name(new_name);
  const json answer =
      post("registered-models/rename", {{"name", name}, {"new_name", new_name}}, repeatable::no);
  return read_registered_model(required_field(answer, "registered_model"));
}

registered_model rest_backend::update_registered_model(std::string_view name,
                                                       std::string_view description) {
  check_model_name(name);
  check_text("registered_model.description", description, limits::description_length);
  const json answer = send("PATCH", "registered-models/update",
                           {{"name", name}, {"description", description}}, repeatable::yes);
  return read_registered_model(required_field(answer, "registered_model"));
}

void rest_backend::delete_registered_model(std::string_view name) {
  check_model_name(name);
  send("DELETE", "registered-models/delete", {{"name", name}}, repeatable::no);
}

void rest_backend::delete_registered_model_tag(std::string_view name, std::string_view key) {
  check_model_name(name);
  check_key("tag.key", key);
  send("DELETE", "registered-models/delete-tag", {{"name", name}, {"key", key}}, repeatable::yes);
}

model_version rest_backend::update_model_version(std::string_view name, std::int64_t version,
                                                 std::string_view description) {
  check_text("model_version.description", description, limits::description_length);
  json body = version_key(name, version);
  body["description"] = description;
  const json answer = send("PATCH", "model-versions/update", body, repeatable::yes);
  return read_model_version(required_field(answer, "model_version"));
}

void rest_backend::delete_model_version(std::string_view name, std::int64_t version) {
  send("DELETE", "model-versions/delete", version_key(name, version), repeatable::no);
}

void rest_backend::delete_model_version_tag(std::string_view name, std::int64_t version,
                                            std::string_view key) {
  check_key("tag.key", key);
  json body = version_key(name, version);
  body["key"] = key;
  send("DELETE", "model-versions/delete-tag", body, repeatable::yes);
}

model_version rest_backend::transition_model_version(std::string_view name, std::int64_t version,
                                                     model_stage stage, bool archive_existing) {
  check_archiving(stage, archive_existing);
  json body = version_key(name, version);
  body["stage"] = to_string(stage);
  body["archive_existing_versions"] = archive_existing;
  const json answer = post("model-versions/transition-stage", body, repeatable::yes);
  return read_model_version(required_field(answer, "model_version"));
}

std::vector<stage_change> rest_backend::stage_history(std::string_view name,
                                                      std::optional<std::int64_t>) {
  throw error(errc::unimplemented, "registered model '" + std::string(name) + "'",
              "a tracking server keeps no history of stages; an embedded store does");
}

model_version rest_backend::copy_model_version(std::string_view name, std::int64_t version,
                                               std::string_view to) {
  check_model_name(to);
  const model_version from = get_model_version(name, version);
  try {
    create_registered_model(to, {});
  } catch (const mlflow_error& e) {
    if (e.code() != errc::already_exists) throw;
  }
  json body = {{"name", to},
               {"source", "models:/" + from.name + "/" + std::to_string(version)},
               {"description", from.description},
               {"tags", to_json(from.tags)}};
  if (!from.run_id.empty()) body["run_id"] = from.run_id;
  const json answer = post("model-versions/create", body, repeatable::no);
  return read_model_version(required_field(answer, "model_version"));
}

std::string rest_backend::model_version_download_uri(std::string_view name, std::int64_t version) {
  check_model_name(name);
  const json answer = get("model-versions/get-download-uri",
                          {{"name", std::string(name)}, {"version", std::to_string(version)}});
  return text_field(answer, "artifact_uri");
}

}  // namespace mizzen::tracking::detail
