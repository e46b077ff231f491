// Logged models, and the model registry.
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>

namespace mizzen::tracking::detail {
namespace {

// LoggedModelStatus of mlflow/protos/service.proto, whose numbers logged_model_status has.
constexpr int pending = 1;
constexpr int ready = 2;
constexpr int upload_failed = 3;

constexpr std::string_view versions_tag = "mlflow.modelVersions";

error no_such_model(std::string_view name) {
  return {errc::not_found, "registered model '" + std::string(name) + "'",
          "there is no registered model of this name"};
}

error no_such_version(std::string_view name, std::int64_t version) {
  return {errc::not_found, "model version '" + std::string(name) + "' " + std::to_string(version),
          "there is no such version"};
}

std::optional<logged_model> logged_model_by_id(connection& on, std::string_view id) {
  auto row = on.prepare(
      "SELECT model_id, name, artifact_location, experiment_id, source_run_id, "
      "creation_timestamp_ms FROM logged_models WHERE model_id = ?1 AND lifecycle_stage = "
      "'active'");
  if (!row.bind(id).step()) return std::nullopt;
  return read_logged_model(on, row);
}

void put_logged_model_tag(connection& on, const logged_model& model, std::string_view key,
                          std::string_view value) {
  on.prepare(
        "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) "
        "VALUES (?1, CAST(?2 AS INTEGER), ?3, ?4) "
        "ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value")
      .bind(model.id, model.experiment_id, key, value)
      .run();
}

std::string model_node(connection& on, const logged_model& model) {
  return record_node_in(on, {.kind = "model", .name = model.name, .version = model.id});
}

void insert_registered_model(connection& on, std::string_view name,
                             const registered_model_options& options) {
  const std::int64_t now = unix_millis();
  on.prepare(
        "INSERT INTO registered_models (name, creation_time, last_updated_time, description, "
        "workspace) VALUES (?1, ?2, ?2, nullif(?3, ''), 'default')")
      .bind(name, now, options.description)
      .run();
  for (const auto& [key, value] : options.tags) {
    on.prepare(
          "INSERT INTO registered_model_tags (key, value, name, workspace) "
          "VALUES (?1, ?2, ?3, 'default')")
        .bind(key, value, name)
        .run();
  }
}

// Deleted versions stay in the table, as MLflow leaves them.
std::optional<model_version> version_by_number(connection& on, std::string_view name,
                                               std::int64_t number) {
  auto row = on.prepare(
      "SELECT name, version, source, run_id, status, description, creation_time, "
      "last_updated_time, storage_location FROM model_versions WHERE workspace = 'default' AND "
      "name = ?1 AND version = ?2 AND current_stage <> 'Deleted_Internal'");
  if (!row.bind(name, number).step()) return std::nullopt;
  return read_version(on, row);
}

// Where a source of a model version points.
struct resolved_source {
  std::string source;
  std::string location;
  std::string run_id;
  std::optional<logged_model> model;
};

resolved_source from_logged_model(logged_model model) {
  return {model.uri, model.artifact_location, model.run_id, std::move(model)};
}

// runs:/<run id>/<path>: the logged model of that name if the run has one (the newest), else the
// folder below the run's artifacts. What mlflow.register_model does.
resolved_source resolve_run_source(connection& on, std::string_view source) {
  const std::string_view rest = source.substr(std::string_view("runs:/").size());
  const auto slash = rest.find('/');
  const std::string run_id(rest.substr(0, slash));
  const std::string path(slash == std::string_view::npos ? "" : rest.substr(slash + 1));
  check_artifact_path("source", path, false);
  std::string artifact_uri;
  {
    auto row = on.prepare("SELECT artifact_uri FROM runs WHERE run_uuid = ?1");
    if (!row.bind(run_id).step()) {
      throw error(errc::not_found, "run '" + run_id + "'", "there is no such run in this store");
    }
    artifact_uri = row.text(0);
  }
  auto row = on.prepare(
      "SELECT m.model_id, m.name, m.artifact_location, m.experiment_id, m.source_run_id, "
      "m.creation_timestamp_ms FROM logged_models m JOIN inputs i ON i.destination_id = m.model_id "
      "WHERE i.source_type = 'RUN_OUTPUT' AND i.source_id = ?1 AND i.destination_type = "
      "'MODEL_OUTPUT' AND m.name = ?2 AND m.lifecycle_stage = 'active' "
      "ORDER BY i.step DESC, m.creation_timestamp_ms DESC LIMIT 1");
  if (row.bind(run_id, path).step()) return from_logged_model(read_logged_model(on, row));
  const std::string location = append_location(artifact_uri, path);
  return {location, location, run_id, std::nullopt};
}

resolved_source resolve_source(connection& on, std::string_view source) {
  if (source.starts_with("runs:/")) return resolve_run_source(on, source);
  if (source.starts_with("models:/")) {
    const std::string_view id = source.substr(std::string_view("models:/").size());
    if (!id.starts_with("m-") || id.find_first_of("/@") != std::string_view::npos) {
      throw error(errc::unimplemented, "source",
                  "'" + std::string(source) +
                      "' names a registered version; register its logged model (models:/m-…)");
    }
    auto model = logged_model_by_id(on, id);
    if (!model) {
      throw error(errc::not_found, "logged model '" + std::string(id) + "'",
                  "there is no such logged model in this store");
    }
    return from_logged_model(*std::move(model));
  }
  const std::string location = resolve_artifact_location(source);
  return {location, location, {}, std::nullopt};
}

// Keeps MLflow's note, on the logged model, of the versions made from it.
void note_version(connection& on, const logged_model& model, std::string_view name,
                  std::int64_t version) {
  json list = json::array();
  if (const auto tag = model.tags.find(std::string(versions_tag)); tag != model.tags.end()) {
    json old = json::parse(tag->second, nullptr, false);
    if (old.is_array()) list = std::move(old);
  }
  list.push_back({{"name", name}, {"version", version}});
  put_logged_model_tag(on, model, versions_tag, list.dump());
}

}  // namespace

logged_model read_logged_model(connection& on, statement& row) {
  logged_model model;
  model.id = row.text(0);
  model.name = row.text(1);
  model.uri = "models:/" + model.id;
  model.artifact_location = row.text(2);
  model.experiment_id = std::to_string(row.integer(3));
  model.run_id = row.text(4);
  model.creation_time = row.integer(5);
  {
    auto tag = on.prepare("SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?1");
    tag.bind(model.id);
    while (tag.step()) model.tags[tag.text(0)] = tag.text(1);
  }
  {
    auto rest = on.prepare(
        "SELECT last_updated_timestamp_ms, model_type, status, status_message FROM logged_models "
        "WHERE model_id = ?1");
    if (rest.bind(model.id).step()) {
      model.last_update_time = rest.integer(0);
      model.model_type = rest.text(1);
      const std::int64_t status = rest.integer(2);
      if (status >= pending && status <= upload_failed) {
        model.status = static_cast<logged_model_status>(status);
      }
      model.status_message = rest.text(3);
    }
  }
  {
    auto param =
        on.prepare("SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?1");
    param.bind(model.id);
    while (param.step()) model.params[param.text(0)] = param.text(1);
  }
  auto point = on.prepare(
      "SELECT metric_name, metric_value, metric_step, metric_timestamp_ms, run_id, dataset_name, "
      "dataset_digest FROM logged_model_metrics WHERE model_id = ?1 ORDER BY metric_name, "
      "metric_timestamp_ms, metric_step, run_id");
  point.bind(model.id);
  while (point.step()) {
    model.metrics.push_back({point.text(0), point.real(1), point.integer(2), point.integer(3),
                             point.text(4), point.text(5), point.text(6)});
  }
  return model;
}

std::optional<registered_model> registered_model_by_name(connection& on, std::string_view name) {
  registered_model model;
  {
    auto row = on.prepare(
        "SELECT name, description, creation_time, last_updated_time FROM registered_models "
        "WHERE workspace = 'default' AND name = ?1");
    if (!row.bind(name).step()) return std::nullopt;
    model.name = row.text(0);
    model.description = row.text(1);
    model.creation_time = row.integer(2);
    model.last_update_time = row.integer(3);
  }
  {
    auto tag = on.prepare(
        "SELECT key, value FROM registered_model_tags WHERE workspace = 'default' AND name = ?1");
    tag.bind(name);
    while (tag.step()) model.tags[tag.text(0)] = tag.text(1);
  }
  auto alias = on.prepare(
      "SELECT alias, version FROM registered_model_aliases WHERE workspace = 'default' AND "
      "name = ?1");
  alias.bind(name);
  while (alias.step()) model.aliases[alias.text(0)] = alias.integer(1);
  return model;
}

model_version read_version(connection& on, statement& row) {
  model_version version;
  version.name = row.text(0);
  version.version = row.integer(1);
  version.source = row.text(2);
  version.run_id = row.text(3);
  version.status = row.text(4);
  version.description = row.text(5);
  version.creation_time = row.integer(6);
  version.last_update_time = row.integer(7);
  const std::string stored = row.is_null(8) ? version.source : row.text(8);
  const auto folder = local_folder(stored);
  version.location = folder ? folder->string() : stored;
  {
    auto tag = on.prepare(
        "SELECT key, value FROM model_version_tags WHERE workspace = 'default' AND name = ?1 AND "
        "version = ?2");
    tag.bind(version.name, version.version);
    while (tag.step()) version.tags[tag.text(0)] = tag.text(1);
  }
  auto alias = on.prepare(
      "SELECT alias FROM registered_model_aliases WHERE workspace = 'default' AND name = ?1 AND "
      "version = ?2 ORDER BY alias");
  alias.bind(version.name, version.version);
  while (alias.step()) version.aliases.push_back(alias.text(0));
  auto stage = on.prepare(
      "SELECT current_stage FROM model_versions WHERE workspace = 'default' AND name = ?1 AND "
      "version = ?2");
  if (stage.bind(version.name, version.version).step()) version.stage = read_stage(stage.text(0));
  return version;
}

// --- logged models -------------------------------------------------------------------------------

logged_model store::create_logged_model(std::string_view run_id, const model_options& options) {
  const std::int64_t now = unix_millis();
  const std::string id = "m-" + random_hex_id();
  return writing([&](connection& on) {
    require_active_run(on, run_id);
    {
      std::string location;
      {
        auto row = on.prepare(
            "SELECT e.artifact_location FROM experiments e JOIN runs r ON r.experiment_id = "
            "e.experiment_id WHERE r.run_uuid = ?1");
        if (row.bind(run_id).step()) location = row.text(0);
      }
      on.prepare(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, "
            "creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage, "
            "source_run_id) SELECT ?1, experiment_id, ?2, ?3, ?4, ?4, ?5, 'active', run_uuid FROM "
            "runs WHERE run_uuid = ?6")
          .bind(id, options.name, append_location(location, "models/" + id + "/artifacts"), now,
                pending, run_id)
          .run();
    }
    // MLflow's client gives a model its run's parameters and source tags.
    on.prepare(
          "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) "
          "SELECT ?1, r.experiment_id, p.key, p.value FROM params p JOIN runs r ON r.run_uuid = "
          "p.run_uuid WHERE r.run_uuid = ?2")
        .bind(id, run_id)
        .run();
    on.prepare(
          "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) "
          "SELECT ?1, r.experiment_id, t.key, t.value FROM tags t JOIN runs r ON r.run_uuid = "
          "t.run_uuid WHERE r.run_uuid = ?2 AND t.value IS NOT NULL AND t.key IN "
          "('mlflow.user', 'mlflow.source.name', 'mlflow.source.type')")
        .bind(id, run_id)
        .run();
    logged_model model = *logged_model_by_id(on, id);
    for (const auto& [key, value] : options.params) {
      on.prepare(
            "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) "
            "VALUES (?1, CAST(?2 AS INTEGER), ?3, ?4) "
            "ON CONFLICT (model_id, param_key) DO UPDATE SET param_value = excluded.param_value")
          .bind(id, model.experiment_id, key, value)
          .run();
    }
    for (const auto& [key, value] : options.tags) {
      put_logged_model_tag(on, model, key, value);
      model.tags[key] = value;
    }
    return model;
  });
}

void store::finish_logged_model(const logged_model& model) {
  writing([&](connection& on) {
    on.prepare(
          "UPDATE logged_models SET status = ?1, last_updated_timestamp_ms = ?2 WHERE model_id = "
          "?3")
        .bind(ready, unix_millis(), model.id)
        .run();
    on.prepare(
          "INSERT OR IGNORE INTO inputs (input_uuid, source_type, source_id, destination_type, "
          "destination_id, step) VALUES (?1, 'RUN_OUTPUT', ?2, 'MODEL_OUTPUT', ?3, 0)")
        .bind(random_hex_id(), model.run_id, model.id)
        .run();
    // What the run had measured by now describes the model; NaN cannot be kept there.
    on.prepare(
          "INSERT OR IGNORE INTO logged_model_metrics (model_id, metric_name, "
          "metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id) "
          "SELECT ?1, key, timestamp, step, value, CAST(?2 AS INTEGER), run_uuid FROM "
          "latest_metrics WHERE run_uuid = ?3 AND is_nan = 0 AND timestamp IS NOT NULL")
        .bind(model.id, model.experiment_id, model.run_id)
        .run();
    link_nodes_in(on, run_node_in(on, model.run_id), model_node(on, model), "output");
  });
}

void store::fail_logged_model(const logged_model& model, std::string_view reason) {
  writing([&](connection& on) {
    on.prepare(
          "UPDATE logged_models SET status = ?1, status_message = substr(?2, 1, 1000), "
          "last_updated_timestamp_ms = ?3 WHERE model_id = ?4")
        .bind(upload_failed, reason, unix_millis(), model.id)
        .run();
  });
}

logged_model store::get_logged_model(std::string_view model_id) {
  check_text("model.id", model_id);
  auto model = reading([&](connection& on) { return logged_model_by_id(on, model_id); });
  if (!model) {
    throw error(errc::not_found, "logged model '" + std::string(model_id) + "'",
                "there is no such logged model in this store");
  }
  return *std::move(model);
}

std::vector<logged_model> store::list_logged_models(std::string_view run_id) {
  check_text("run.id", run_id);
  return reading([&](connection& on) {
    std::vector<logged_model> models;
    auto row = on.prepare(
        "SELECT model_id, name, artifact_location, experiment_id, source_run_id, "
        "creation_timestamp_ms FROM logged_models WHERE source_run_id = ?1 AND lifecycle_stage = "
        "'active' ORDER BY creation_timestamp_ms, rowid");
    row.bind(run_id);
    while (row.step()) models.push_back(read_logged_model(on, row));
    return models;
  });
}

// --- model registry ------------------------------------------------------------------------------

registered_model store::create_registered_model(std::string_view name,
                                                const registered_model_options& options) {
  check_model_name(name);
  check_text("registered_model.description", options.description, limits::description_length);
  for (const auto& [key, value] : options.tags) check_registry_tag(key, value);
  return writing([&](connection& on) {
    if (registered_model_by_name(on, name)) {
      throw error(errc::already_exists, "registered model '" + std::string(name) + "'",
                  "there is one of this name already");
    }
    insert_registered_model(on, name, options);
    return *registered_model_by_name(on, name);
  });
}

registered_model store::get_registered_model(std::string_view name) {
  check_model_name(name);
  auto model = reading([&](connection& on) { return registered_model_by_name(on, name); });
  if (!model) throw no_such_model(name);
  return *std::move(model);
}

std::vector<registered_model> store::list_registered_models() {
  return reading([&](connection& on) {
    std::vector<std::string> names;
    {
      auto row = on.prepare(
          "SELECT name FROM registered_models WHERE workspace = 'default' ORDER BY name");
      while (row.step()) names.push_back(row.text(0));
    }
    std::vector<registered_model> models;
    models.reserve(names.size());
    for (const std::string& name : names) models.push_back(*registered_model_by_name(on, name));
    return models;
  });
}

model_version store::register_model(std::string_view name, std::string_view source,
                                    const model_version_options& options) {
  check_model_name(name);
  check_text("source", source, 500);
  if (source.empty()) {
    throw error(errc::invalid_argument, "source", "it is empty; name a model, as models:/m-…");
  }
  check_text("model_version.run_id", options.run_id, 32);
  check_text("model_version.description", options.description, limits::description_length);
  for (const auto& [key, value] : options.tags) check_registry_tag(key, value);
  const std::int64_t now = unix_millis();

  return writing([&](connection& on) {
    const resolved_source from = resolve_source(on, source);
    const std::string run_id = options.run_id.empty() ? from.run_id : options.run_id;
    if (!registered_model_by_name(on, name)) insert_registered_model(on, name, {});
    on.prepare(
          "UPDATE registered_models SET last_updated_time = ?1 WHERE workspace = 'default' AND "
          "name = ?2")
        .bind(now, name)
        .run();
    std::int64_t number = 1;
    {
      auto row = on.prepare(
          "SELECT ifnull(max(version), 0) + 1 FROM model_versions WHERE workspace = 'default' AND "
          "name = ?1");
      if (row.bind(name).step()) number = row.integer(0);
    }
    on.prepare(
          "INSERT INTO model_versions (name, version, creation_time, last_updated_time, "
          "description, user_id, current_stage, source, run_id, status, storage_location, "
          "workspace) VALUES (?1, ?2, ?3, ?3, nullif(?4, ''), NULL, 'None', ?5, nullif(?6, ''), "
          "'READY', ?7, 'default')")
        .bind(name, number, now, options.description, from.source, run_id, from.location)
        .run();
    for (const auto& [key, value] : options.tags) {
      on.prepare(
            "INSERT INTO model_version_tags (key, value, name, version, workspace) "
            "VALUES (?1, ?2, ?3, ?4, 'default')")
          .bind(key, value, name, number)
          .run();
    }
    if (from.model) note_version(on, *from.model, name, number);

    const std::string node = record_node_in(
        on,
        {.kind = "model_version", .name = std::string(name), .version = std::to_string(number)});
    if (from.model) {
      link_nodes_in(on, model_node(on, *from.model), node, "registered");
    } else if (!run_id.empty()) {
      link_nodes_in(on, run_node_in(on, run_id), node, "registered");
    }
    return *version_by_number(on, name, number);
  });
}

model_version store::get_model_version(std::string_view name, std::int64_t version) {
  check_model_name(name);
  auto found = reading([&](connection& on) { return version_by_number(on, name, version); });
  if (!found) throw no_such_version(name, version);
  return *std::move(found);
}

model_version store::get_model_version_by_alias(std::string_view name, std::string_view alias) {
  check_model_name(name);
  check_text("alias", alias, limits::alias_length);
  return reading([&](connection& on) {
    std::int64_t number = 0;
    {
      auto row = on.prepare(
          "SELECT version FROM registered_model_aliases WHERE workspace = 'default' AND name = ?1 "
          "AND alias = ?2");
      if (!row.bind(name, alias).step()) {
        if (!registered_model_by_name(on, name)) throw no_such_model(name);
        throw error(errc::not_found, "alias '" + std::string(alias) + "'",
                    "the registered model '" + std::string(name) + "' has no such alias");
      }
      number = row.integer(0);
    }
    auto found = version_by_number(on, name, number);
    if (!found) throw no_such_version(name, number);
    return *std::move(found);
  });
}

std::vector<model_version> store::list_model_versions(std::string_view name) {
  check_model_name(name);
  return reading([&](connection& on) {
    if (!registered_model_by_name(on, name)) throw no_such_model(name);
    std::vector<model_version> versions;
    auto row = on.prepare(
        "SELECT name, version, source, run_id, status, description, creation_time, "
        "last_updated_time, storage_location FROM model_versions WHERE workspace = 'default' AND "
        "name = ?1 AND current_stage <> 'Deleted_Internal' ORDER BY version DESC");
    row.bind(name);
    while (row.step()) versions.push_back(read_version(on, row));
    return versions;
  });
}

void store::set_model_alias(std::string_view name, std::string_view alias, std::int64_t version) {
  check_model_name(name);
  check_alias(alias);
  writing([&](connection& on) {
    if (!version_by_number(on, name, version)) throw no_such_version(name, version);
    on.prepare(
          "INSERT INTO registered_model_aliases (alias, version, name, workspace) "
          "VALUES (?1, ?2, ?3, 'default') ON CONFLICT (workspace, name, alias) DO UPDATE SET "
          "version = excluded.version")
        .bind(alias, version, name)
        .run();
  });
}

void store::delete_model_alias(std::string_view name, std::string_view alias) {
  check_model_name(name);
  check_text("alias", alias, limits::alias_length);
  writing([&](connection& on) {
    if (!registered_model_by_name(on, name)) throw no_such_model(name);
    on.prepare(
          "DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = ?1 AND "
          "alias = ?2")
        .bind(name, alias)
        .run();
  });
}

void store::set_registered_model_tag(std::string_view name, std::string_view key,
                                     std::string_view value) {
  check_model_name(name);
  check_registry_tag(key, value);
  writing([&](connection& on) {
    if (!registered_model_by_name(on, name)) throw no_such_model(name);
    on.prepare(
          "INSERT INTO registered_model_tags (key, value, name, workspace) "
          "VALUES (?1, ?2, ?3, 'default') ON CONFLICT (workspace, key, name) DO UPDATE SET "
          "value = excluded.value")
        .bind(key, value, name)
        .run();
  });
}

void store::set_model_version_tag(std::string_view name, std::int64_t version, std::string_view key,
                                  std::string_view value) {
  check_model_name(name);
  check_registry_tag(key, value);
  writing([&](connection& on) {
    if (!version_by_number(on, name, version)) throw no_such_version(name, version);
    on.prepare(
          "INSERT INTO model_version_tags (key, value, name, version, workspace) "
          "VALUES (?1, ?2, ?3, ?4, 'default') ON CONFLICT (workspace, key, name, version) DO "
          "UPDATE SET value = excluded.value")
        .bind(key, value, name, version)
        .run();
  });
}

}  // namespace mizzen::tracking::detail
