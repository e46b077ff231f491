// Logged models whose files come from elsewhere: what else MLflow's API does to them.
#include "tracking/store.hpp"
#include "tracking/store_rows.hpp"
#include "tracking/stored_value.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/time.hpp>

namespace mizzen::tracking::detail {
namespace {

void put_param(connection& on, std::string_view model_id, std::string_view key,
               std::string_view value) {
  {
    auto row = on.prepare(
        "SELECT param_value FROM logged_model_params WHERE model_id = ?1 AND param_key = ?2");
    if (row.bind(model_id, key).step()) {
      throw error(errc::already_exists, "model.params." + std::string(key),
                  "the model has this parameter already, as '" + row.text(0).substr(0, 80) + "'");
    }
  }
  on.prepare(
        "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value) SELECT "
        "model_id, experiment_id, ?2, ?3 FROM logged_models WHERE model_id = ?1")
      .bind(model_id, key, value)
      .run();
}

void require_model(connection& on, std::string_view id) {
  auto row =
      on.prepare("SELECT 1 FROM logged_models WHERE model_id = ?1 AND lifecycle_stage = 'active'");
  if (row.bind(id).step()) return;
  throw error(errc::not_found, "logged model '" + std::string(id) + "'",
              "there is no such logged model in this store");
}

}  // namespace

logged_model store::create_logged_model(std::string_view experiment_id,
                                        const logged_model_options& options) {
  check_logged_model(options);
  const std::int64_t experiment = experiment_number(experiment_id);
  const std::string id = "m-" + random_hex_id();
  writing([&](connection& on) {
    std::string folder;
    {
      auto row = on.prepare(
          "SELECT artifact_location, lifecycle_stage FROM experiments WHERE experiment_id = ?1");
      if (!row.bind(experiment).step()) {
        throw error(errc::not_found, "experiment " + std::string(experiment_id),
                    "there is no such experiment in this store");
      }
      if (row.text(1) != "active") {
        throw error(errc::failed_precondition, "experiment " + std::string(experiment_id),
                    "it is deleted; restore it first");
      }
      folder = row.text(0);
    }
    on.prepare(
          "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, "
          "creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage, model_type, "
          "source_run_id) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, 'active', nullif(?7, ''), "
          "nullif(?8, ''))")
        .bind(id, experiment, options.name, append_location(folder, "models/" + id + "/artifacts"),
              unix_millis(), static_cast<int>(logged_model_status::pending), options.model_type,
              options.run_id)
        .run();
    for (const auto& [key, value] : options.params) put_param(on, id, key, value);
    for (const auto& [key, value] : options.tags) {
      on.prepare(
            "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES "
            "(?1, ?2, ?3, ?4)")
          .bind(id, experiment, key, value)
          .run();
    }
  });
  return get_logged_model(id);
}

void store::log_model_params(std::string_view model_id, const string_map& params) {
  check_text("model.id", model_id);
  for (const auto& [key, value] : params) check_model_param(key, value);
  writing([&](connection& on) {
    require_model(on, model_id);
    for (const auto& [key, value] : params) put_param(on, model_id, key, value);
  });
}

void store::log_model_metrics(std::string_view model_id, std::string_view run_id,
                              std::span<const metric> points, const dataset_filter& measured_on) {
  check_text("model.id", model_id);
  check_model_metrics(points, measured_on.name, measured_on.digest);
  const std::int64_t now = unix_millis();
  writing([&](connection& on) {
    require_active_run(on, run_id);
    require_model(on, model_id);
    for (const metric& point : points) {
      const std::int64_t time = point.timestamp.value_or(now);
      insert_metric(on, run_id, point.key, point.value, point.step, time);
      on.prepare(
            "INSERT OR IGNORE INTO logged_model_metrics (model_id, metric_name, "
            "metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id, dataset_uuid, "
            "dataset_name, dataset_digest) SELECT ?1, ?2, ?3, ?4, ?5, m.experiment_id, ?6, "
            "(SELECT dataset_uuid FROM datasets d WHERE d.experiment_id = m.experiment_id AND "
            "d.name = ?7 AND d.digest = ?8), nullif(?7, ''), nullif(?8, '') FROM logged_models m "
            "WHERE m.model_id = ?1")
          .bind(model_id, point.key, time, point.step, to_stored(point.value).value, run_id,
                measured_on.name, measured_on.digest)
          .run();
    }
  });
}

logged_model store::finalize_logged_model(std::string_view model_id, logged_model_status status) {
  check_text("model.id", model_id);
  check_final(status);
  writing([&](connection& on) {
    require_model(on, model_id);
    on.prepare(
          "UPDATE logged_models SET status = ?2, last_updated_timestamp_ms = ?3 WHERE model_id = "
          "?1")
        .bind(model_id, static_cast<int>(status), unix_millis())
        .run();
  });
  return get_logged_model(model_id);
}

}  // namespace mizzen::tracking::detail
