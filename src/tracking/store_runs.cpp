// Runs: their life, metrics, parameters, tags and inputs.
#include "tracking/run_start.hpp"
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/stored_value.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <limits>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view run_name_tag = "mlflow.runName";

error no_such_run(std::string_view run_id) {
  return {errc::not_found, "run '" + std::string(run_id) + "'",
          "there is no such run in this store"};
}

void insert_param(connection& on, std::string_view run_id, std::string_view key,
                  std::string_view value) {
  {
    auto row = on.prepare("SELECT value FROM params WHERE key = ?1 AND run_uuid = ?2");
    if (row.bind(key, run_id).step()) {
      const std::string old = row.text(0);
      if (old == value) return;
      throw error(errc::already_exists, "param '" + std::string(key) + "'",
                  "it is '" + old + "' already and cannot become '" + std::string(value) +
                      "'; a parameter is set once per run (use a tag for what changes)");
    }
  }
  on.prepare("INSERT INTO params (key, value, run_uuid) VALUES (?1, ?2, ?3)")
      .bind(key, value, run_id)
      .run();
}

void put_tag(connection& on, std::string_view run_id, std::string_view key,
             std::string_view value) {
  on.prepare(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value")
      .bind(key, value, run_id)
      .run();
  if (key == run_name_tag) {
    on.prepare("UPDATE runs SET name = ?1 WHERE run_uuid = ?2").bind(value, run_id).run();
  }
}

std::optional<run_record> run_by_id(connection& on, std::string_view run_id) {
  std::optional<run_record> run;
  {
    auto row = on.prepare(
        "SELECT run_uuid, experiment_id, name, user_id, status, lifecycle_stage, start_time, "
        "end_time, artifact_uri FROM runs WHERE run_uuid = ?1");
    if (!row.bind(run_id).step()) return std::nullopt;
    run = read_run_row(row);
  }
  read_run_details(on, {&*run, 1});
  return run;
}

}  // namespace

// Later by step, then timestamp, then value (SqlAlchemyStore._update_latest_metrics_if_necessary).
void insert_metric(connection& on, std::string_view run_id, std::string_view key, double value,
                   std::int64_t step, std::int64_t timestamp) {
  const stored_value stored = to_stored(value);
  on.prepare(
        "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
      .bind(key, stored.value, timestamp, run_id, step, stored.is_nan)
      .run();
  on.prepare(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
        "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, "
        "timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan "
        "WHERE (excluded.step, excluded.timestamp, excluded.value) > "
        "(latest_metrics.step, ifnull(latest_metrics.timestamp, 0), latest_metrics.value)")
      .bind(key, stored.value, timestamp, step, stored.is_nan, run_id)
      .run();
}

void require_active_run(connection& on, std::string_view run_id) {
  auto row = on.prepare("SELECT lifecycle_stage = 'active' FROM runs WHERE run_uuid = ?1");
  if (!row.bind(run_id).step()) throw no_such_run(run_id);
  if (row.integer(0) == 0) {
    throw error(errc::failed_precondition, "run '" + std::string(run_id) + "'",
                "it is deleted; restore it with `mlflow runs restore`, or start another");
  }
}

run_record store::start_run(std::string_view experiment_id, const run_options& options) {
  const auto [name, tags, start] = prepare_run(options, user_, program_);
  return writing([&](connection& on) {
    if (!options.parent_run_id.empty()) require_active_run(on, options.parent_run_id);
    std::string location;
    {
      auto row = on.prepare(
          "SELECT artifact_location, lifecycle_stage = 'active' FROM experiments "
          "WHERE CAST(experiment_id AS TEXT) = ?1");
      if (!row.bind(experiment_id).step()) {
        throw error(errc::not_found, "experiment " + std::string(experiment_id),
                    "there is no such experiment");
      }
      if (row.integer(1) == 0) {
        throw error(errc::failed_precondition, "experiment " + std::string(experiment_id),
                    "it is deleted; restore it with MLflow, or take another");
      }
      location = row.text(0);
    }
    const std::string id = random_hex_id();
    on.prepare(
          "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, "
          "status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, "
          "experiment_id, deleted_time) VALUES (?1, ?2, 'UNKNOWN', '', '', ?3, 'RUNNING', ?4, "
          "NULL, '', 'active', ?5, CAST(?6 AS INTEGER), NULL)")
        .bind(id, name, user_, start, append_location(location, id + "/artifacts"), experiment_id)
        .run();
    for (const auto& [key, value] : tags) put_tag(on, id, key, value);
    for (const auto& [key, value] : options.params) insert_param(on, id, key, value);
    return *run_by_id(on, id);
  });
}

run_record store::resume_run(std::string_view run_id) {
  check_text("run.id", run_id);
  return writing([&](connection& on) {
    require_active_run(on, run_id);
    on.prepare("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?1")
        .bind(run_id)
        .run();
    return *run_by_id(on, run_id);
  });
}

void store::end_run(std::string_view run_id, run_status status, std::optional<std::int64_t> ended) {
  writing([&](connection& on) {
    require_active_run(on, run_id);
    const bool over = status != run_status::running && status != run_status::scheduled;
    on.prepare("UPDATE runs SET status = ?1, end_time = ?2 WHERE run_uuid = ?3")
        .bind(to_string(status), over ? std::optional(ended.value_or(unix_millis())) : std::nullopt,
              run_id)
        .run();
  });
}

run_record store::get_run(std::string_view run_id) {
  check_text("run.id", run_id);
  auto run = reading([&](connection& on) { return run_by_id(on, run_id); });
  if (!run) throw no_such_run(run_id);
  return *std::move(run);
}

void store::log_metric(std::string_view run_id, std::string_view key, double value,
                       std::int64_t step, std::int64_t timestamp) {
  writing([&](connection& on) {
    require_active_run(on, run_id);
    insert_metric(on, run_id, key, value, step, timestamp);
  });
}

void store::log_batch(std::string_view run_id, std::span<const metric> metrics,
                      const string_map& params, const string_map& tags) {
  const std::int64_t now = unix_millis();
  writing([&](connection& on) {
    require_active_run(on, run_id);
    for (const auto& [key, value] : params) insert_param(on, run_id, key, value);
    for (const metric& point : metrics) {
      insert_metric(on, run_id, point.key, point.value, point.step, point.timestamp.value_or(now));
    }
    for (const auto& [key, value] : tags) put_tag(on, run_id, key, value);
  });
}

void store::delete_tag(std::string_view run_id, std::string_view key) {
  check_key("tag.key", key);
  writing([&](connection& on) {
    require_active_run(on, run_id);
    on.prepare("DELETE FROM tags WHERE key = ?1 AND run_uuid = ?2").bind(key, run_id).run();
    if (on.changes() == 0) {
      throw error(errc::not_found, "tag '" + std::string(key) + "'", "the run has no such tag");
    }
  });
}

void store::log_input(std::string_view run_id, const dataset& data, const input_options& options) {
  const string_map tags = check_input(data, options);
  writing([&](connection& on) {
    require_active_run(on, run_id);
    const auto or_null = [](const std::string& text) -> std::optional<std::string_view> {
      if (text.empty()) return std::nullopt;
      return text;
    };
    on.prepare(
          "INSERT OR IGNORE INTO datasets (dataset_uuid, experiment_id, name, digest, "
          "dataset_source_type, dataset_source, dataset_schema, dataset_profile) "
          "SELECT ?1, experiment_id, ?2, ?3, ?4, ?5, ?6, ?7 FROM runs WHERE run_uuid = ?8")
        .bind(random_hex_id(), data.name, data.digest, data.source_type, data.source,
              or_null(data.schema), or_null(data.profile), run_id)
        .run();
    const std::string input_id = random_hex_id();
    on.prepare(
          "INSERT OR IGNORE INTO inputs (input_uuid, source_type, source_id, destination_type, "
          "destination_id) SELECT ?1, 'DATASET', d.dataset_uuid, 'RUN', r.run_uuid FROM runs r "
          "JOIN datasets d ON d.experiment_id = r.experiment_id AND d.name = ?2 AND d.digest = ?3 "
          "WHERE r.run_uuid = ?4")
        .bind(input_id, data.name, data.digest, run_id)
        .run();
    // As in MLflow, the first use of a dataset by a run decides its tags.
    if (on.changes() > 0) {
      for (const auto& [key, value] : tags) {
        on.prepare("INSERT INTO input_tags (input_uuid, name, value) VALUES (?1, ?2, ?3)")
            .bind(input_id, key, value)
            .run();
      }
    }
    const std::string from =
        record_node_in(on, {.kind = "dataset", .name = data.name, .version = data.digest});
    link_nodes_in(on, from, run_node_in(on, run_id), "input");
  });
}

}  // namespace mizzen::tracking::detail
