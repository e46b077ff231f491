// What changes or takes away what is in the store: names, deletion, restoration, stages, copies.
#include "tracking/store.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/time.hpp>

namespace mizzen::tracking::detail {
namespace {

error missing(std::string_view what, std::string_view name) {
  return {errc::not_found, std::string(what) + " '" + std::string(name) + "'",
          "there is none in this store"};
}

// Of the last statement: that it found what it was to change.
void require_change(connection& on, std::string_view what, std::string_view name) {
  if (on.changes() == 0) throw missing(what, name);
}

std::string version_name(std::string_view name, std::int64_t version) {
  return std::string(name) + " " + std::to_string(version);
}

std::string stage_of_experiment(connection& on, std::string_view id) {
  auto row =
      on.prepare("SELECT lifecycle_stage FROM experiments WHERE CAST(experiment_id AS TEXT) = ?1");
  if (!row.bind(id).step()) throw missing("experiment", id);
  return row.text(0);
}

void require_active_experiment(connection& on, std::string_view id) {
  if (stage_of_experiment(on, id) == "active") return;
  throw error(errc::failed_precondition, "experiment " + std::string(id),
              "it is deleted; restore it first");
}

void touch_model(connection& on, std::string_view name) {
  on.prepare(
        "UPDATE registered_models SET last_updated_time = ?1 WHERE workspace = 'default' AND "
        "name = ?2")
      .bind(unix_millis(), name)
      .run();
}

}  // namespace

// --- experiments and runs ------------------------------------------------------------------------

void store::rename_experiment(std::string_view id, std::string_view name) {
  check_text("experiment.id", id);
  check_experiment_name(name);
  writing([&](connection& on) {
    require_active_experiment(on, id);
    {
      auto row = on.prepare(
          "SELECT CAST(experiment_id AS TEXT) FROM experiments WHERE workspace = 'default' AND "
          "name = ?1");
      if (row.bind(name).step() && row.text(0) != id) {
        throw error(errc::already_exists, "experiment '" + std::string(name) + "'",
                    "there is one of this name already (id " + row.text(0) + ")");
      }
    }
    on.prepare(
          "UPDATE experiments SET name = ?1, last_update_time = ?2 WHERE CAST(experiment_id AS "
          "TEXT) = ?3")
        .bind(name, unix_millis(), id)
        .run();
  });
}

void store::set_experiment_stage(std::string_view id, lifecycle_stage stage) {
  check_text("experiment.id", id);
  const bool deleting = stage == lifecycle_stage::deleted;
  writing([&](connection& on) {
    if (stage_of_experiment(on, id) == to_string(stage)) {
      throw error(errc::failed_precondition, "experiment " + std::string(id),
                  deleting ? "it is deleted already" : "it is not deleted");
    }
    const std::int64_t now = unix_millis();
    on.prepare(
          "UPDATE experiments SET lifecycle_stage = ?1, last_update_time = ?2 WHERE "
          "CAST(experiment_id AS TEXT) = ?3")
        .bind(to_string(stage), now, id)
        .run();
    // As in MLflow its runs go and come with it.
    on.prepare(
          "UPDATE runs SET lifecycle_stage = ?1, deleted_time = ?2 WHERE CAST(experiment_id AS "
          "TEXT) = ?3")
        .bind(to_string(stage), deleting ? std::optional(now) : std::nullopt, id)
        .run();
  });
}

void store::delete_experiment_tag(std::string_view id, std::string_view key) {
  check_text("experiment.id", id);
  check_key("tag.key", key);
  writing([&](connection& on) {
    require_active_experiment(on, id);
    on.prepare("DELETE FROM experiment_tags WHERE CAST(experiment_id AS TEXT) = ?1 AND key = ?2")
        .bind(id, key)
        .run();
    require_change(on, "tag", key);
  });
}

void store::set_run_stage(std::string_view run_id, lifecycle_stage stage) {
  check_text("run.id", run_id);
  const bool deleting = stage == lifecycle_stage::deleted;
  writing([&](connection& on) {
    on.prepare("UPDATE runs SET lifecycle_stage = ?1, deleted_time = ?2 WHERE run_uuid = ?3")
        .bind(to_string(stage), deleting ? std::optional(unix_millis()) : std::nullopt, run_id)
        .run();
    require_change(on, "run", run_id);
  });
}

void store::rename_run(std::string_view run_id, std::string_view name) {
  check_text("run.id", run_id);
  check_text("run.name", name, limits::key_length);
  if (name.empty()) throw error(errc::invalid_argument, "run.name", "it is empty");
  log_batch(run_id, {}, {}, {{"mlflow.runName", std::string(name)}});
}

// --- logged models -------------------------------------------------------------------------------

void store::set_logged_model_tag(std::string_view model_id, std::string_view key,
                                 std::string_view value) {
  check_text("model.id", model_id);
  check_tag(key, value);
  writing([&](connection& on) {
    on.prepare(
          "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) "
          "SELECT model_id, experiment_id, ?2, ?3 FROM logged_models WHERE model_id = ?1 AND "
          "lifecycle_stage = 'active' "
          "ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value")
        .bind(model_id, key, value)
        .run();
    require_change(on, "logged model", model_id);
  });
}

void store::delete_logged_model_tag(std::string_view model_id, std::string_view key) {
  check_text("model.id", model_id);
  check_key("tag.key", key);
  writing([&](connection& on) {
    on.prepare("DELETE FROM logged_model_tags WHERE model_id = ?1 AND tag_key = ?2")
        .bind(model_id, key)
        .run();
    require_change(on, "tag", key);
  });
}

void store::delete_logged_model(std::string_view model_id) {
  check_text("model.id", model_id);
  writing([&](connection& on) {
    on.prepare(
          "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = ?2 "
          "WHERE model_id = ?1 AND lifecycle_stage = 'active'")
        .bind(model_id, unix_millis())
        .run();
    require_change(on, "logged model", model_id);
  });
}

// --- model registry ------------------------------------------------------------------------------

registered_model store::rename_registered_model(std::string_view name, std::string_view new_name) {
  check_model_name(name);
  check_model_name(new_name);
  writing([&](connection& on) {
    {
      auto row =
          on.prepare("SELECT 1 FROM registered_models WHERE workspace = 'default' AND name = ?1");
      if (row.bind(new_name).step()) {
        throw error(errc::already_exists, "registered model '" + std::string(new_name) + "'",
                    "there is one of this name already");
      }
    }
    // Versions, tags and aliases follow (ON UPDATE CASCADE).
    const std::int64_t now = unix_millis();
    on.prepare(
          "UPDATE registered_models SET name = ?1, last_updated_time = ?2 WHERE workspace = "
          "'default' AND name = ?3")
        .bind(new_name, now, name)
        .run();
    require_change(on, "registered model", name);
    on.prepare(
          "UPDATE model_versions SET last_updated_time = ?1 WHERE workspace = 'default' AND name = "
          "?2")
        .bind(now, new_name)
        .run();
  });
  return get_registered_model(new_name);
}

registered_model store::update_registered_model(std::string_view name,
                                                std::string_view description) {
  check_model_name(name);
  check_text("registered_model.description", description, limits::description_length);
  writing([&](connection& on) {
    on.prepare(
          "UPDATE registered_models SET description = ?1, last_updated_time = ?2 WHERE workspace = "
          "'default' AND name = ?3")
        .bind(description, unix_millis(), name)
        .run();
    require_change(on, "registered model", name);
  });
  return get_registered_model(name);
}

void store::delete_registered_model(std::string_view name) {
  check_model_name(name);
  writing([&](connection& on) {
    on.prepare("DELETE FROM model_version_tags WHERE workspace = 'default' AND name = ?1")
        .bind(name)
        .run();
    on.prepare("DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = ?1")
        .bind(name)
        .run();
    on.prepare("DELETE FROM registered_model_tags WHERE workspace = 'default' AND name = ?1")
        .bind(name)
        .run();
    on.prepare("DELETE FROM model_versions WHERE workspace = 'default' AND name = ?1")
        .bind(name)
        .run();
    on.prepare("DELETE FROM registered_models WHERE workspace = 'default' AND name = ?1")
        .bind(name)
        .run();
    require_change(on, "registered model", name);
  });
}

void store::delete_registered_model_tag(std::string_view name, std::string_view key) {
  check_model_name(name);
  check_key("tag.key", key);
  get_registered_model(name);
  writing([&](connection& on) {
    on.prepare(
          "DELETE FROM registered_model_tags WHERE workspace = 'default' AND name = ?1 AND key = "
          "?2")
        .bind(name, key)
        .run();
  });
}

model_version store::update_model_version(std::string_view name, std::int64_t version,
                                          std::string_view description) {
  check_model_name(name);
  check_text("model_version.description", description, limits::description_length);
  writing([&](connection& on) {
    on.prepare(
          "UPDATE model_versions SET description = ?1, last_updated_time = ?2 WHERE workspace = "
          "'default' AND name = ?3 AND version = ?4 AND current_stage <> 'Deleted_Internal'")
        .bind(description, unix_millis(), name, version)
        .run();
    require_change(on, "model version", version_name(name, version));
  });
  return get_model_version(name, version);
}

void store::delete_model_version(std::string_view name, std::int64_t version) {
  check_model_name(name);
  writing([&](connection& on) {
    // MLflow keeps the row, so that the number is not given again.
    on.prepare(
          "UPDATE model_versions SET current_stage = 'Deleted_Internal', last_updated_time = ?1, "
          "description = NULL, user_id = NULL, source = 'REDACTED-SOURCE-PATH', run_id = "
          "'REDACTED-RUN-ID', run_link = 'REDACTED-RUN-LINK', status_message = NULL WHERE "
          "workspace = 'default' AND name = ?2 AND version = ?3 AND current_stage <> "
          "'Deleted_Internal'")
        .bind(unix_millis(), name, version)
        .run();
    require_change(on, "model version", version_name(name, version));
    on.prepare(
          "DELETE FROM registered_model_aliases WHERE workspace = 'default' AND name = ?1 AND "
          "version = ?2")
        .bind(name, version)
        .run();
    touch_model(on, name);
  });
}

void store::delete_model_version_tag(std::string_view name, std::int64_t version,
                                     std::string_view key) {
  check_model_name(name);
  check_key("tag.key", key);
  get_model_version(name, version);
  writing([&](connection& on) {
    on.prepare(
          "DELETE FROM model_version_tags WHERE workspace = 'default' AND name = ?1 AND version = "
          "?2 AND key = ?3")
        .bind(name, version, key)
        .run();
  });
}

model_version store::copy_model_version(std::string_view name, std::int64_t version,
                                        std::string_view to) {
  check_model_name(name);
  check_model_name(to);
  const model_version from = get_model_version(name, version);
  const std::int64_t number = writing([&](connection& on) {
    const std::int64_t now = unix_millis();
    on.prepare(
          "INSERT INTO registered_models (name, creation_time, last_updated_time, description, "
          "workspace) VALUES (?1, ?2, ?2, NULL, 'default') ON CONFLICT DO NOTHING")
        .bind(to, now)
        .run();
    touch_model(on, to);
    std::int64_t next = 1;
    {
      auto row = on.prepare(
          "SELECT ifnull(max(version), 0) + 1 FROM model_versions WHERE workspace = 'default' AND "
          "name = ?1");
      if (row.bind(to).step()) next = row.integer(0);
    }
    const std::string source = "models:/" + from.name + "/" + std::to_string(from.version);
    on.prepare(
          "INSERT INTO model_versions (name, version, creation_time, last_updated_time, "
          "description, user_id, current_stage, source, run_id, status, storage_location, "
          "workspace) SELECT ?1, ?2, ?3, ?3, description, NULL, 'None', ?4, run_id, 'READY', "
          "ifnull(storage_location, source), 'default' FROM model_versions WHERE workspace = "
          "'default' AND name = ?5 AND version = ?6")
        .bind(to, next, now, source, name, version)
        .run();
    on.prepare(
          "INSERT INTO model_version_tags (key, value, name, version, workspace) SELECT key, "
          "value, "
          "?1, ?2, 'default' FROM model_version_tags WHERE workspace = 'default' AND name = ?3 AND "
          "version = ?4")
        .bind(to, next, name, version)
        .run();
    const auto node = [&](std::string_view of, std::int64_t at) {
      return record_node_in(
          on, {.kind = "model_version", .name = std::string(of), .version = std::to_string(at)});
    };
    link_nodes_in(on, node(name, version), node(to, next), "copied");
    return next;
  });
  return get_model_version(to, number);
}

std::string store::model_version_download_uri(std::string_view name, std::int64_t version) {
  return get_model_version(name, version).location;
}

}  // namespace mizzen::tracking::detail
