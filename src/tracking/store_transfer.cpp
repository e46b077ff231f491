// The embedded store at either end of a transfer: ids, numbers and times are kept as they are.
#include "tracking/files.hpp"
#include "tracking/run_start.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/transfer_target.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>

#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fcntl.h>
#include <iterator>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

// LoggedModelStatus of mlflow/protos/service.proto, by its numbers.
constexpr std::array<std::string_view, 4> model_statuses = {"UNSPECIFIED", "PENDING", "READY",
                                                            "UPLOAD_FAILED"};

int model_status_number(std::string_view name) {
  const auto found = std::find(model_statuses.begin(), model_statuses.end(), name);
  return static_cast<int>(found == model_statuses.end() ? 2 : found - model_statuses.begin());
}

error deleted(const std::string& what) {
  return {errc::failed_precondition, what,
          "it is deleted over there; restore it, and transfer again"};
}

void require_id(std::string_view field, const std::string& id) {
  if (is_entity_id(id)) return;
  throw error(errc::invalid_argument, field,
              "'" + id.substr(0, 80) + "' is no id: letters, digits, - and _, at most 36");
}

std::optional<placed_entity> run_in(connection& on, std::string_view id) {
  auto row = on.prepare("SELECT artifact_uri, lifecycle_stage FROM runs WHERE run_uuid = ?1");
  if (!row.bind(id).step()) return std::nullopt;
  if (row.text(1) == "deleted") throw deleted("run '" + std::string(id) + "'");
  return placed_entity{std::string(id), row.text(0), {}};
}

std::optional<placed_entity> model_in(connection& on, std::string_view id) {
  auto row = on.prepare(
      "SELECT artifact_location, lifecycle_stage FROM logged_models WHERE model_id = ?1");
  if (!row.bind(id).step()) return std::nullopt;
  if (row.text(1) == "deleted") throw deleted("logged model '" + std::string(id) + "'");
  return placed_entity{std::string(id), row.text(0), {}};
}

std::string artifact_location_of(connection& on, std::string_view experiment_id) {
  auto row = on.prepare(
      "SELECT artifact_location FROM experiments WHERE CAST(experiment_id AS TEXT) = ?1");
  if (row.bind(experiment_id).step()) return row.text(0);
  throw error(errc::not_found, "experiment " + std::string(experiment_id),
              "there is no such experiment");
}

}  // namespace

class store_target final : public transfer_target {
 public:
  explicit store_target(store& into) : store_(into) {}

  experiment place_experiment(const experiment& from) override {
    check_experiment_name(from.name);
    for (const auto& [key, value] : from.tags) check_experiment_tag(key, value);
    const std::string id = store_.writing([&](connection& on) {
      std::string number;
      {
        auto row = on.prepare(
            "SELECT experiment_id, lifecycle_stage FROM experiments WHERE workspace = 'default' "
            "AND name = ?1");
        if (row.bind(from.name).step()) {
          if (row.text(1) == "deleted") throw deleted("experiment '" + from.name + "'");
          number = std::to_string(row.integer(0));
        }
      }
      if (number.empty()) number = insert_experiment(on, from);
      for (const auto& [key, value] : from.tags) {
        on.prepare(
              "INSERT OR IGNORE INTO experiment_tags (key, value, experiment_id) VALUES (?1, ?2, "
              "CAST(?3 AS INTEGER))")
            .bind(key, value, number)
            .run();
      }
      return number;
    });
    return store_.get_experiment(id);
  }

  placed_entity place_run(const run_record& from, const std::string& experiment_id) override {
    require_id("run.id", from.id);
    return store_.writing([&](connection& on) {
      if (auto there = run_in(on, from.id)) return *std::move(there);
      const std::string location =
          append_location(artifact_location_of(on, experiment_id), from.id + "/artifacts");
      on.prepare(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, "
            "user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, "
            "experiment_id, deleted_time) VALUES (?1, ?2, 'UNKNOWN', '', '', ?3, 'RUNNING', ?4, "
            "NULL, '', 'active', ?5, CAST(?6 AS INTEGER), NULL)")
          .bind(from.id, from.name, from.user, from.start_time, location, experiment_id)
          .run();
      return placed_entity{from.id, location, {}};
    });
  }

  std::optional<placed_entity> find_run(const std::string& id) override {
    return store_.reading([&](connection& on) { return run_in(on, id); });
  }

  void fill_run(const placed_entity& run, const run_record& from) override {
    check_text("run.name", from.name, limits::key_length);
    // MLflow keeps the name in a tag too.
    string_map tags = from.tags;
    if (!from.name.empty()) tags["mlflow.runName"] = from.name;
    for (const auto& [key, value] : tags) check_tag(key, value);
    store_.log_batch(run.id, {}, {}, tags);
    for (const dataset_input& input : from.inputs) {
      store_.log_input(run.id, input.dataset, {.tags = input.tags});
    }
  }

  void link_models(const placed_entity& run, std::span<const model_use> uses) override {
    store_.writing([&](connection& on) {
      for (const model_use& use : uses) {
        on.prepare(
              "INSERT OR IGNORE INTO inputs (input_uuid, source_type, source_id, "
              "destination_type, destination_id, step) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .bind(random_hex_id(), use.made ? "RUN_OUTPUT" : "RUN_INPUT", run.id,
                  use.made ? "MODEL_OUTPUT" : "MODEL_INPUT", use.model_id, use.step)
            .run();
        const std::string of_run = run_node_in(on, run.id);
        const std::string of_model = model_node(on, use.model_id);
        link_nodes_in(on, use.made ? of_run : of_model, use.made ? of_model : of_run,
                      use.made ? "output" : "input");
      }
    });
  }

  void finish_run(const placed_entity& run, const run_record& from, std::string_view) override {
    store_.writing([&](connection& on) {
      on.prepare(
            "UPDATE runs SET status = ?1, start_time = ?2, end_time = ?3, user_id = ?4 WHERE "
            "run_uuid = ?5")
          .bind(to_string(from.status), from.start_time, from.end_time, from.user, run.id)
          .run();
    });
  }

  placed_entity place_model(const model_record& from, const std::string& experiment_id) override {
    require_id("model.id", from.model.id);
    check_logged_model_name(from.model.name);
    return store_.writing([&](connection& on) {
      if (auto there = model_in(on, from.model.id)) return *std::move(there);
      const std::string location = append_location(artifact_location_of(on, experiment_id),
                                                   "models/" + from.model.id + "/artifacts");
      on.prepare(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, "
            "creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage, "
            "model_type, source_run_id) VALUES (?1, CAST(?2 AS INTEGER), ?3, ?4, ?5, ?6, ?7, "
            "'active', nullif(?8, ''), nullif(?9, ''))")
          .bind(from.model.id, experiment_id, from.model.name, location, from.model.creation_time,
                from.last_update_time, model_status_number("PENDING"), from.type, from.model.run_id)
          .run();
      return placed_entity{from.model.id, location, {}};
    });
  }

  std::optional<placed_entity> find_model(const std::string& id) override {
    return store_.reading([&](connection& on) { return model_in(on, id); });
  }

  void fill_model(const placed_entity& model, const model_record& from) override {
    for (const auto& [key, value] : from.model.tags) check_tag(key, value);
    for (const auto& [key, value] : from.params) check_param(key, value);
    store_.writing([&](connection& on) {
      std::string experiment;
      {
        auto row = on.prepare("SELECT experiment_id FROM logged_models WHERE model_id = ?1");
        if (row.bind(model.id).step()) experiment = row.text(0);
      }
      for (const auto& [key, value] : from.params) {
        on.prepare(
              "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) "
              "VALUES (?1, CAST(?2 AS INTEGER), ?3, ?4) ON CONFLICT (model_id, param_key) DO "
              "UPDATE SET param_value = excluded.param_value")
            .bind(model.id, experiment, key, value)
            .run();
      }
      for (const auto& [key, value] : from.model.tags) {
        on.prepare(
              "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) "
              "VALUES (?1, CAST(?2 AS INTEGER), ?3, ?4) ON CONFLICT (model_id, tag_key) DO UPDATE "
              "SET tag_value = excluded.tag_value")
            .bind(model.id, experiment, key, value)
            .run();
      }
      for (const model_metric& one : from.metrics) {
        if (std::isnan(one.point.value)) continue;  // the table cannot keep it
        on.prepare(
              "INSERT OR IGNORE INTO logged_model_metrics (model_id, metric_name, "
              "metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id, "
              "dataset_uuid, dataset_name, dataset_digest) VALUES (?1, ?2, ?3, ?4, ?5, CAST(?6 AS "
              "INTEGER), ?7, (SELECT dataset_uuid FROM datasets WHERE experiment_id = CAST(?6 AS "
              "INTEGER) AND name = ?8 AND digest = ?9), nullif(?8, ''), nullif(?9, ''))")
            .bind(model.id, one.point.key, one.point.timestamp.value_or(0), one.point.step,
                  one.point.value, experiment, one.run_id, one.dataset_name, one.dataset_digest)
            .run();
      }
      on.prepare(
            "UPDATE logged_models SET status = ?1, status_message = nullif(?2, ''), "
            "last_updated_timestamp_ms = ?3 WHERE model_id = ?4")
          .bind(model_status_number(from.status), from.status_message, from.last_update_time,
                model.id)
          .run();
    });
  }

  void place_registered_model(const registered_model& from) override {
    check_model_name(from.name);
    check_text("registered_model.description", from.description, limits::description_length);
    for (const auto& [key, value] : from.tags) check_registry_tag(key, value);
    store_.writing([&](connection& on) {
      on.prepare(
            "INSERT OR IGNORE INTO registered_models (name, creation_time, last_updated_time, "
            "description, workspace) VALUES (?1, ?2, ?3, nullif(?4, ''), 'default')")
          .bind(from.name, from.creation_time, from.last_update_time, from.description)
          .run();
      for (const auto& [key, value] : from.tags) {
        on.prepare(
              "INSERT OR IGNORE INTO registered_model_tags (key, value, name, workspace) VALUES "
              "(?1, ?2, ?3, 'default')")
            .bind(key, value, from.name)
            .run();
      }
    });
  }

  std::int64_t place_version(const model_version& from, const std::string& model_id) override {
    check_text("source", from.source, 500);
    check_text("model_version.run_id", from.run_id, 36);
    check_text("model_version.description", from.description, limits::description_length);
    for (const auto& [key, value] : from.tags) check_registry_tag(key, value);
    const std::string subject = "model version '" + from.name + "' " + std::to_string(from.version);
    store_.writing([&](connection& on) {
      {
        auto row = on.prepare(
            "SELECT creation_time, current_stage FROM model_versions WHERE workspace = 'default' "
            "AND name = ?1 AND version = ?2");
        if (row.bind(from.name, from.version).step()) {
          if (row.text(1) == "Deleted_Internal") throw deleted(subject);
          if (row.integer(0) != from.creation_time) {
            throw error(errc::already_exists, subject,
                        "there is another version of this number, made at " +
                            std::to_string(row.integer(0)) + ", not at " +
                            std::to_string(from.creation_time) + "; rename one of the models");
          }
        }
      }
      std::string location = from.source;
      if (const auto model = model_id.empty() ? std::nullopt : model_in(on, model_id)) {
        location = model->location;
      } else if (from.source.starts_with("models:/")) {
        location = location_of_copy(on, from.source);
      }
      on.prepare(
            "INSERT INTO model_versions (name, version, creation_time, last_updated_time, "
            "description, current_stage, source, run_id, status, storage_location, workspace) "
            "VALUES (?1, ?2, ?3, ?4, nullif(?5, ''), ?6, ?7, nullif(?8, ''), ?9, ?10, 'default') "
            "ON CONFLICT (workspace, name, version) DO UPDATE SET last_updated_time = "
            "excluded.last_updated_time, description = excluded.description, current_stage = "
            "excluded.current_stage, status = excluded.status")
          .bind(from.name, from.version, from.creation_time, from.last_update_time,
                from.description, to_string(from.stage), from.source, from.run_id,
                from.status.empty() ? std::string_view("READY") : std::string_view(from.status),
                location)
          .run();
      for (const auto& [key, value] : from.tags) {
        on.prepare(
              "INSERT INTO model_version_tags (key, value, name, version, workspace) "
              "VALUES (?1, ?2, ?3, ?4, 'default') ON CONFLICT (workspace, key, name, version) DO "
              "UPDATE SET value = excluded.value")
            .bind(key, value, from.name, from.version)
            .run();
      }
      const std::string node = record_node_in(
          on,
          {.kind = "model_version", .name = from.name, .version = std::to_string(from.version)});
      if (!model_id.empty()) {
        link_nodes_in(on, model_node(on, model_id), node, "registered");
      } else if (from.source.starts_with("models:/")) {
        const auto [name, number] = copied_version(from.source);
        const std::string original =
            record_node_in(on, {.kind = "model_version", .name = name, .version = number});
        link_nodes_in(on, original, node, "copied");
      } else if (!from.run_id.empty() && run_in(on, from.run_id)) {
        link_nodes_in(on, run_node_in(on, from.run_id), node, "registered");
      }
    });
    return from.version;
  }

 private:
  // Under its own id where that is free.
  std::string insert_experiment(connection& on, const experiment& from) {
    std::optional<std::int64_t> number;
    if (!from.id.empty() && from.id.find_first_not_of("0123456789") == std::string::npos &&
        from.id.size() <= 18) {
      number = experiment_number(from.id);
      auto row = on.prepare("SELECT 1 FROM experiments WHERE experiment_id = ?1");
      if (row.bind(*number).step()) number.reset();
    }
    on.prepare(
          "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, "
          "creation_time, last_update_time, workspace) VALUES (?1, ?2, NULL, 'active', ?3, ?4, "
          "'default')")
        .bind(number, from.name, from.creation_time, from.last_update_time)
        .run();
    std::string id = std::to_string(on.last_row());
    on.prepare(
          "UPDATE experiments SET artifact_location = ?1 WHERE experiment_id = CAST(?2 AS INTEGER)")
        .bind(append_location(store_.artifact_root_, id), id)
        .run();
    return id;
  }

  static std::string model_node(connection& on, const std::string& model_id) {
    std::string name;
    {
      auto row = on.prepare("SELECT name FROM logged_models WHERE model_id = ?1");
      if (row.bind(model_id).step()) name = row.text(0);
    }
    return record_node_in(on, {.kind = "model", .name = name, .version = model_id});
  }

  // Of "models:/<name>/<version>".
  static std::pair<std::string, std::string> copied_version(const std::string& source) {
    const auto slash = source.rfind('/');
    return {source.substr(8, slash - 8), source.substr(slash + 1)};
  }
  // Where the files of that version are.
  static std::string location_of_copy(connection& on, const std::string& source) {
    const auto [name, number] = copied_version(source);
    auto row = on.prepare(
        "SELECT ifnull(storage_location, source) FROM model_versions WHERE workspace = 'default' "
        "AND name = ?1 AND CAST(version AS TEXT) = ?2");
    return row.bind(name, number).step() ? row.text(0) : source;
  }

  store& store_;
};

std::unique_ptr<transfer_target> store::receive() { return std::make_unique<store_target>(*this); }

std::shared_ptr<void> store::lock_for_transfer() {
  check_process();
  const std::string path = writer_->path() + ".mizzen-transfer";
  auto held = std::make_shared<descriptor>(open_file(path, O_RDWR | O_CREAT, 0666));
  if (::flock(held->get(), LOCK_EX | LOCK_NB) != 0) {
    throw error(errc::unavailable, "store '" + writer_->path() + "'",
                "another transfer out of it is under way (it holds '" + path + "')");
  }
  return held;
}

model_record store::get_model_record(std::string_view model_id) {
  model_record record{.model = get_logged_model(model_id)};
  return reading([&](connection& on) {
    {
      auto row = on.prepare(
          "SELECT status, status_message, model_type, last_updated_timestamp_ms FROM "
          "logged_models WHERE model_id = ?1");
      if (row.bind(model_id).step()) {
        const auto status = static_cast<std::size_t>(row.integer(0));
        record.status = model_statuses.at(std::min(status, model_statuses.size() - 1));
        record.status_message = row.text(1);
        record.type = row.text(2);
        record.last_update_time = row.integer(3);
      }
    }
    {
      auto row =
          on.prepare("SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?1");
      row.bind(model_id);
      while (row.step()) record.params[row.text(0)] = row.text(1);
    }
    auto row = on.prepare(
        "SELECT metric_name, metric_value, metric_step, metric_timestamp_ms, run_id, dataset_name, "
        "dataset_digest FROM logged_model_metrics WHERE model_id = ?1 AND metric_value IS NOT "
        "NULL");
    row.bind(model_id);
    while (row.step()) {
      record.metrics.push_back({{row.text(0), row.real(1), row.integer(2), row.integer(3)},
                                row.text(4),
                                row.text(5),
                                row.text(6)});
    }
    return std::move(record);
  });
}

std::vector<model_use> store::model_uses(std::string_view run_id) {
  return reading([&](connection& on) {
    std::vector<model_use> uses;
    auto row = on.prepare(
        "SELECT destination_id, step, source_type = 'RUN_OUTPUT' FROM inputs WHERE source_type IN "
        "('RUN_OUTPUT', 'RUN_INPUT') AND source_id = ?1 AND destination_type IN ('MODEL_OUTPUT', "
        "'MODEL_INPUT') ORDER BY rowid");
    row.bind(run_id);
    while (row.step()) uses.push_back({row.text(0), row.integer(1), row.integer(2) != 0});
    return uses;
  });
}

std::optional<std::map<std::string, std::uint64_t>> store::count_points(std::string_view run_id) {
  return reading([&](connection& on) {
    std::optional<std::map<std::string, std::uint64_t>> counts(std::in_place);
    auto row = on.prepare("SELECT key, count(*) FROM metrics WHERE run_uuid = ?1 GROUP BY key");
    row.bind(run_id);
    while (row.step()) (*counts)[row.text(0)] = static_cast<std::uint64_t>(row.integer(1));
    return counts;
  });
}

}  // namespace mizzen::tracking::detail
