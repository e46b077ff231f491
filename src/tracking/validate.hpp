// The rules of MLflow for names and lengths (mlflow/utils/validation.py, MLflow 3.17). Each throws
// error(invalid_argument) whose subject is the given field.
//
// Lengths are in characters (code points), as MLflow counts them. MLflow shortens long values with
// a warning unless told otherwise; here they are refused, because shortening loses data.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mizzen::tracking::detail {

struct limits {
  static constexpr std::size_t metrics_per_batch = 1000;
  static constexpr std::size_t params_per_batch = 100;
  static constexpr std::size_t tags_per_batch = 100;
  static constexpr std::size_t entities_per_batch = 1000;
  static constexpr std::size_t key_length = 250;
  static constexpr std::size_t param_length = 6000;
  static constexpr std::size_t tag_length = 8000;
  static constexpr std::size_t experiment_name_length = 500;
  static constexpr std::size_t experiment_tag_length = 20000;
  static constexpr std::size_t registry_tag_length = 100000;
  static constexpr std::size_t description_length = 5000;
  static constexpr std::size_t alias_length = 255;
  static constexpr std::size_t dataset_name_length = 500;
  static constexpr std::size_t dataset_digest_length = 36;
  static constexpr std::size_t dataset_source_length = 65535;
  static constexpr std::size_t dataset_schema_length = 1048575;
  static constexpr std::size_t dataset_profile_length = 16777215;
  static constexpr std::size_t input_tag_key_length = 255;
  static constexpr std::size_t input_tag_length = 500;
};

// UTF-8 without NUL and, where a limit is given, at most that many characters.
void check_text(std::string_view field, std::string_view text,
                std::optional<std::size_t> limit = std::nullopt);

// A key of a metric, parameter or tag.
void check_key(std::string_view field, std::string_view key);

void check_metric(std::string_view key, std::optional<std::int64_t> timestamp);
void check_param(std::string_view key, std::string_view value);
void check_tag(std::string_view key, std::string_view value);
void check_experiment_tag(std::string_view key, std::string_view value);
void check_registry_tag(std::string_view key, std::string_view value);
// The limits and rules for a batch; the subject names the element ("metrics[3].key").
void check_batch(std::span<const metric> metrics, const string_map& params, const string_map& tags);
void check_experiment_name(std::string_view name);
void check_model_name(std::string_view name);                          // of a registered model
void check_logged_model_name(std::string_view name);                   // of a model of a run
void check_model_param(std::string_view key, std::string_view value);  // of a logged model
void check_logged_model(const logged_model_options& options);
// Points of a logged model, which has no place for NaN.
void check_model_metrics(std::span<const metric> points, std::string_view dataset_name,
                         std::string_view dataset_digest);
// Ready or failed.
void check_final(logged_model_status status);
void check_alias(std::string_view alias);
// Whether it is an id that a store could have given a run or a logged model; it is safe in a path.
bool is_entity_id(std::string_view id) noexcept;
// Only versions in staging or production can be archived by another that takes their place.
void check_archiving(model_stage stage, bool archive_existing);
// MLflow's spelling of a stage; "" and what is none of them: none.
model_stage read_stage(std::string_view text) noexcept;

// 1 to 25,000 points of a page of a metric's history.
void check_history_page(std::size_t max_results);
void check_history_sample(const history_sample& options);

// A path of an artifact below the artifact folder: relative, '/' between parts, none empty, "." or
// "..". may_be_empty: whether "" (the folder itself) is one.
void check_artifact_path(std::string_view field, std::string_view path, bool may_be_empty);

}  // namespace mizzen::tracking::detail
