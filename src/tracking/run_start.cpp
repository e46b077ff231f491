#include "tracking/run_start.hpp"

#include "tracking/names.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <string_view>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr const char* run_name_tag = "mlflow.runName";

}  // namespace

run_start prepare_run(const run_options& options, const std::string& user,
                      const std::string& program) {
  string_map tags = options.tags;
  const auto own_tag = tags.find(run_name_tag);
  std::string name = options.name;
  if (own_tag != tags.end()) {
    if (!name.empty() && name != own_tag->second) {
      throw error(errc::invalid_argument, "run_options.name",
                  "it is '" + name + "', but the tag mlflow.runName is '" + own_tag->second +
                      "'; give one of them");
    }
    name = own_tag->second;
  }
  if (name.empty()) name = random_run_name();
  tags[run_name_tag] = name;
  tags.try_emplace("mlflow.user", user);
  tags.try_emplace("mlflow.source.name", program);
  tags.try_emplace("mlflow.source.type", "LOCAL");
  if (!options.description.empty()) tags["mlflow.note.content"] = options.description;
  if (!options.parent_run_id.empty()) tags["mlflow.parentRunId"] = options.parent_run_id;
  check_text("run_options.name", name, limits::key_length);
  for (const auto& [key, value] : tags) check_tag(key, value);
  for (const auto& [key, value] : options.params) check_param(key, value);
  const std::int64_t start = options.start_time.value_or(unix_millis());
  if (start < 0) {
    throw error(errc::invalid_argument, "run_options.start_time",
                "it is " + std::to_string(start) + "; Unix milliseconds are not negative");
  }
  return {std::move(name), std::move(tags), start};
}

string_map check_input(const dataset& data, const input_options& options) {
  const auto check_json = [](std::string_view field, std::string_view text, std::size_t limit) {
    check_text(field, text, limit);
    if (!text.empty() && !json::accept(text)) {
      throw error(errc::invalid_argument, field, "it is not JSON text");
    }
  };
  const auto check_filled = [](std::string_view field, std::string_view text, std::size_t limit) {
    if (text.empty()) throw error(errc::invalid_argument, field, "it is empty; say which it is");
    check_text(field, text, limit);
  };
  check_filled("dataset.name", data.name, limits::dataset_name_length);
  check_filled("dataset.digest", data.digest, limits::dataset_digest_length);
  check_filled("dataset.source_type", data.source_type, 36);
  check_json("dataset.source", data.source, limits::dataset_source_length);
  check_json("dataset.schema", data.schema, limits::dataset_schema_length);
  check_json("dataset.profile", data.profile, limits::dataset_profile_length);
  string_map tags = options.tags;
  if (!options.context.empty()) tags["mlflow.data.context"] = options.context;
  for (const auto& [key, value] : tags) {
    check_filled("input.tag.key", key, limits::input_tag_key_length);
    check_text("input.tag.value", value, limits::input_tag_length);
  }
  return tags;
}

}  // namespace mizzen::tracking::detail
