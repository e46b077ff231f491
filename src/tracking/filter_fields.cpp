#include "tracking/filter_fields.hpp"

#include <algorithm>
#include <span>

namespace mizzen::tracking::detail {
namespace {

constexpr attribute run_attributes[] = {
    {"run_id", "run_uuid", false, true},
    {"run_name", "run_name"},
    {"run name", "run_name", false, false, false},
    {"Run name", "run_name", false, false, false},
    {"Run Name", "run_name", false, false, false},
    {"user_id", "user_id"},
    {"status", "status"},
    {"artifact_uri", "artifact_uri"},
    {"start_time", "start_time", true},
    {"end_time", "end_time", true},
    {"created", "start_time", true},
    {"Created", "start_time", true},
};
constexpr attribute experiment_attributes[] = {
    {"name", "name"},
    {"experiment_id", "experiment_id", false, true},
    {"creation_time", "creation_time", true},
    {"last_update_time", "last_update_time", true},
};
constexpr attribute registered_model_attributes[] = {
    {"name", "name", false, true},
    {"timestamp", "last_updated_time", true, false, true, false},
    {"last_updated_timestamp", "last_updated_time", true, false, true, false},
};
constexpr attribute model_version_attributes[] = {
    {"name", "name", false, true},
    {"version_number", "version", true},
    {"run_id", "run_id", false, true, false},
    {"source_path", "source", false, false, false},
    {"creation_timestamp", "creation_time", true, false, true, false},
    {"last_updated_timestamp", "last_updated_time", true, false, true, false},
};
// By the name of the column; logged_model_column() knows the aliases.
constexpr attribute logged_model_attributes[] = {
    {"model_id", "model_id", false, true},
    {"experiment_id", "experiment_id", false, true},
    {"name", "name", false, true},
    {"artifact_location", "artifact_location", false, true},
    {"creation_timestamp_ms", "creation_timestamp_ms", true},
    {"last_updated_timestamp_ms", "last_updated_timestamp_ms", true},
    {"status", "status", false, true},
    {"lifecycle_stage", "lifecycle_stage", false, true},
    {"model_type", "model_type", false, true},
    {"source_run_id", "source_run_id", false, true},
    {"status_message", "status_message", false, true},
};

// Of these, trace_name and run_id are a tag and a metadata to MLflow, text the stored spans.
constexpr attribute trace_attributes[] = {
    {"request_id", "request_id", false, true},
    {"status", "status", false, true},
    {"client_request_id", "client_request_id", false, true, false},
    {"name", "trace_name"},
    {"run_id", "run_id"},
    {"text", "text", false, false, false},
    {"timestamp_ms", "timestamp_ms", true},
    {"timestamp", "timestamp_ms", true},
    {"execution_time_ms", "execution_time_ms", true},
    {"execution_time", "execution_time_ms", true},
    {"end_time_ms", "end_time_ms", true, false, false},
    {"end_time", "end_time_ms", true, false, false},
    {"experiment_id", "experiment_id", true, false, true, false},
};

std::span<const attribute> attributes_of(entity of) {
  switch (of) {
    case entity::run:
      return run_attributes;
    case entity::experiment:
      return experiment_attributes;
    case entity::registered_model:
      return registered_model_attributes;
    case entity::model_version:
      return model_version_attributes;
    case entity::trace:
      return trace_attributes;
    case entity::logged_model:
      break;
  }
  return logged_model_attributes;
}

}  // namespace

const attribute* find_attribute(entity of, std::string_view name, bool to_order) {
  for (const attribute& one : attributes_of(of)) {
    if (one.name == name && (to_order ? one.ordered : one.searched)) return &one;
  }
  return nullptr;
}

std::string attribute_names(entity of, bool to_order) {
  std::string names;
  for (const attribute& one : attributes_of(of)) {
    if (!(to_order ? one.ordered : one.searched)) continue;
    if (one.name.find(' ') != std::string_view::npos || one.name == "Created") continue;
    if (!names.empty()) names += ", ";
    names += one.name;
  }
  return names;
}

std::optional<field_kind> run_prefix(std::string_view prefix) {
  if (prefix == "metric" || prefix == "metrics") return field_kind::metric;
  if (prefix == "param" || prefix == "params" || prefix == "parameter" || prefix == "parameters") {
    return field_kind::param;
  }
  if (prefix == "tag" || prefix == "tags") return field_kind::tag;
  if (prefix == "attribute" || prefix == "attributes" || prefix == "attr" || prefix == "run") {
    return field_kind::attribute;
  }
  if (prefix == "dataset" || prefix == "datasets") return field_kind::dataset;
  return std::nullopt;
}

std::optional<field_kind> trace_prefix(std::string_view prefix) {
  if (prefix == "tag" || prefix == "tags") return field_kind::tag;
  if (prefix == "metadata" || prefix == "request_metadata") return field_kind::metadata;
  if (prefix == "attribute" || prefix == "attributes" || prefix == "trace") {
    return field_kind::attribute;
  }
  if (prefix == "span") return field_kind::span;
  return std::nullopt;
}

field_kind trace_kind(field_kind kind, std::string& key) {
  std::string lower = key;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (kind == field_kind::tag && key == "mlflow.traceName") lower = "name";
  if (lower == "timestamp" || lower == "execution_time" || lower == "end_time") key = lower + "_ms";
  if (lower != "name" && lower != "run_id" && lower != "text") return kind;
  key = lower;
  return field_kind::attribute;
}

bool is_quoted(std::string_view text, char quote) {
  return text.size() >= 2 && text.front() == quote && text.back() == quote;
}

std::string_view without_backticks(std::string_view text) {
  return is_quoted(text, '`') ? text.substr(1, text.size() - 2) : text;
}

std::string_view bare_key(std::string_view text) {
  if (is_quoted(text, '\'') || is_quoted(text, '"')) text = text.substr(1, text.size() - 2);
  return without_backticks(text);
}

std::string_view without_alias(std::string_view key) {
  if (key == "created" || key == "Created") return "start_time";
  if (key == "run name" || key == "Run name" || key == "Run Name") return "run_name";
  return key;
}

std::string_view logged_model_column(std::string_view name) {
  if (name == "creation_time" || name == "creation_timestamp") return "creation_timestamp_ms";
  if (name == "last_updated_timestamp") return "last_updated_timestamp_ms";
  const attribute* found = find_attribute(entity::logged_model, name, true);
  return found == nullptr ? std::string_view() : found->column;
}

}  // namespace mizzen::tracking::detail
