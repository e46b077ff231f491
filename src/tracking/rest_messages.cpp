#include "tracking/rest_messages.hpp"

#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace mizzen::tracking::detail {
namespace {

// What one request body may take (MAX_BATCH_LOG_REQUEST_SIZE), less a reserve for its frame.
constexpr std::size_t most_body = 1'000'000 - 2'000;
constexpr std::size_t most_depth = 200;

[[noreturn]] void refuse(const char* key, std::string_view message) {
  throw error(errc::data_loss, std::string("answer.") + key, message);
}

const json* find(const json& object, const char* key) {
  if (!object.is_object()) refuse(key, "what should hold it is not a JSON object");
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Python writes NaN, Infinity and -Infinity bare, which is not JSON: quotes them, outside of text.
std::string with_quoted_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 64);
  bool in_text = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\' && i + 1 < text.size()) {
        out.append(text.substr(i, 2));
        i += 2;
        continue;
      }
      in_text = c != '"';
      out += c;
      ++i;
      continue;
    }
    bool quoted = false;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
      if (!text.substr(i).starts_with(word)) continue;
      const bool starts = i == 0 || !is_word_character(text[i - 1]);
      const std::size_t end = i + word.size();
      if (!starts || (end < text.size() && is_word_character(text[end]))) continue;
      out.append("\"").append(word).append("\"");
      i = end;
      quoted = true;
      break;
    }
    if (quoted) continue;
    in_text = c == '"';
    out += c;
    ++i;
  }
  return out;
}

json parse_bounded(std::string_view text) {
  bool too_deep = false;
  json parsed = json::parse(text, [&](int depth, json::parse_event_t, json&) {
    if (depth > static_cast<int>(most_depth)) too_deep = true;
    return !too_deep;
  });
  if (too_deep) throw error(errc::data_loss, "answer", "it is nested more than 200 levels deep");
  return parsed;
}

run_status read_status(const json& info) {
  const std::string text = text_field(info, "status");
  if (text.empty()) return run_status::running;
  try {
    return parse_run_status(text);
  } catch (const error&) {
    refuse("status", "'" + text + "' is no status of a run");
  }
}

lifecycle_stage read_stage(const json& info) {
  return text_field(info, "lifecycle_stage") == "deleted" ? lifecycle_stage::deleted
                                                          : lifecycle_stage::active;
}

}  // namespace

json parse_answer(std::string_view text) {
  try {
    return parse_bounded(text);
  } catch (const json::parse_error&) {
    if (text.find("NaN") == std::string_view::npos &&
        text.find("Infinity") == std::string_view::npos) {
      throw;
    }
  }
  return parse_bounded(with_quoted_numbers(text));
}

std::string text_field(const json& object, const char* key) {
  const json* value = find(object, key);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  if (value->is_number_integer()) return value->dump();  // an id, say
  refuse(key, "it is not text");
}

std::optional<std::int64_t> optional_integer_field(const json& object, const char* key) {
  const json* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number_unsigned()) {
    const auto number = value->get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      refuse(key, "it does not fit into 64 bits");
    }
    return static_cast<std::int64_t>(number);
  }
  if (value->is_number_integer()) return value->get<std::int64_t>();
  if (value->is_number_float()) {
    const double number = value->get<double>();
    // Above 2^53 a double does not tell neighbours apart, but protobuf takes it too.
    if (number == std::floor(number) && std::abs(number) < 0x1p63) {
      return static_cast<std::int64_t>(number);
    }
    refuse(key, "it is not a whole number of 64 bits");
  }
  if (!value->is_string()) refuse(key, "it is not a number");
  const auto& text = value->get_ref<const std::string&>();
  if (text.empty()) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size()) {
    refuse(key, "'" + text.substr(0, 40) + "' is not a whole number of 64 bits");
  }
  return number;
}

std::int64_t integer_field(const json& object, const char* key) {
  return optional_integer_field(object, key).value_or(0);
}

double real_field(const json& object, const char* key) {
  const json* value = find(object, key);
  if (value == nullptr) return 0;
  if (value->is_number()) return value->get<double>();
  if (!value->is_string()) refuse(key, "it is not a number");
  const auto& text = value->get_ref<const std::string&>();
  if (text == "NaN" || text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity" || text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity" || text == "-inf") return -std::numeric_limits<double>::infinity();
  double number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size()) {
    refuse(key, "'" + text.substr(0, 40) + "' is not a number");
  }
  return number;
}

bool flag_field(const json& object, const char* key) {
  const json* value = find(object, key);
  if (value == nullptr) return false;
  if (!value->is_boolean()) refuse(key, "it is neither true nor false");
  return value->get<bool>();
}

const json& list_field(const json& object, const char* key) {
  static const json none = json::array();
  const json* value = find(object, key);
  if (value == nullptr) return none;
  if (!value->is_array()) refuse(key, "it is not a list");
  return *value;
}

const json& object_field(const json& object, const char* key) {
  static const json none = json::object();
  const json* value = find(object, key);
  if (value == nullptr) return none;
  if (!value->is_object()) refuse(key, "it is not an object");
  return *value;
}

const json& required_field(const json& object, const char* key) {
  const json* value = find(object, key);
  if (value == nullptr) refuse(key, "it is missing");
  if (!value->is_object()) refuse(key, "it is not an object");
  return *value;
}

string_map pairs_field(const json& object, const char* key) {
  string_map pairs;
  for (const json& pair : list_field(object, key)) {
    pairs[text_field(pair, "key")] = text_field(pair, "value");
  }
  return pairs;
}

experiment read_experiment(const json& message) {
  experiment out;
  out.id = text_field(message, "experiment_id");
  if (out.id.empty()) refuse("experiment_id", "it is missing");
  out.name = text_field(message, "name");
  out.artifact_location = text_field(message, "artifact_location");
  out.stage = read_stage(message);
  out.creation_time = integer_field(message, "creation_time");
  out.last_update_time = integer_field(message, "last_update_time");
  out.tags = pairs_field(message, "tags");
  return out;
}

metric read_metric(const json& message) {
  return {text_field(message, "key"), real_field(message, "value"), integer_field(message, "step"),
          integer_field(message, "timestamp")};
}

run_record read_run(const json& message) {
  const json& info = required_field(message, "info");
  run_record out;
  out.id = text_field(info, "run_id");
  if (out.id.empty()) out.id = text_field(info, "run_uuid");
  if (out.id.empty()) refuse("run_id", "it is missing");
  out.experiment_id = text_field(info, "experiment_id");
  out.name = text_field(info, "run_name");
  out.user = text_field(info, "user_id");
  out.status = read_status(info);
  out.stage = read_stage(info);
  out.start_time = integer_field(info, "start_time");
  out.end_time = optional_integer_field(info, "end_time");
  if (out.end_time == 0) out.end_time.reset();  // protobuf's default: it goes on
  out.artifact_uri = text_field(info, "artifact_uri");
  const json& data = object_field(message, "data");
  for (const json& point : list_field(data, "metrics")) {
    metric latest = read_metric(point);
    out.metrics[latest.key] = latest;
  }
  out.params = pairs_field(data, "params");
  out.tags = pairs_field(data, "tags");
  for (const json& input : list_field(object_field(message, "inputs"), "dataset_inputs")) {
    const json& data_of = object_field(input, "dataset");
    dataset_input& read = out.inputs.emplace_back();
    read.dataset = {text_field(data_of, "name"),        text_field(data_of, "digest"),
                    text_field(data_of, "source_type"), text_field(data_of, "source"),
                    text_field(data_of, "schema"),      text_field(data_of, "profile")};
    read.tags = pairs_field(input, "tags");
  }
  for (const json& output : list_field(object_field(message, "outputs"), "model_outputs")) {
    out.model_ids.push_back(text_field(output, "model_id"));
  }
  for (const json& input : list_field(object_field(message, "inputs"), "model_inputs")) {
    out.input_model_ids.push_back(text_field(input, "model_id"));
  }
  return out;
}

logged_model read_logged_model(const json& message) {
  const json& info = required_field(message, "info");
  logged_model out;
  out.id = text_field(info, "model_id");
  if (out.id.empty()) refuse("model_id", "it is missing");
  out.name = text_field(info, "name");
  out.uri = "models:/" + out.id;
  out.artifact_location = text_field(info, "artifact_uri");
  out.experiment_id = text_field(info, "experiment_id");
  out.run_id = text_field(info, "source_run_id");
  out.creation_time = integer_field(info, "creation_timestamp_ms");
  out.tags = pairs_field(info, "tags");
  out.last_update_time = integer_field(info, "last_updated_timestamp_ms");
  out.model_type = text_field(info, "model_type");
  const std::string status = text_field(info, "status");
  if (status == "LOGGED_MODEL_PENDING") out.status = logged_model_status::pending;
  if (status == "LOGGED_MODEL_READY") out.status = logged_model_status::ready;
  if (status == "LOGGED_MODEL_UPLOAD_FAILED") out.status = logged_model_status::failed;
  out.status_message = text_field(info, "status_message");
  const json& data = object_field(message, "data");
  out.params = pairs_field(data, "params");
  for (const json& point : list_field(data, "metrics")) {
    out.metrics.push_back({text_field(point, "key"), real_field(point, "value"),
                           integer_field(point, "step"), integer_field(point, "timestamp"),
                           text_field(point, "run_id"), text_field(point, "dataset_name"),
                           text_field(point, "dataset_digest")});
  }
  return out;
}

registered_model read_registered_model(const json& message) {
  registered_model out;
  out.name = text_field(message, "name");
  out.description = text_field(message, "description");
  out.creation_time = integer_field(message, "creation_timestamp");
  out.last_update_time = integer_field(message, "last_updated_timestamp");
  out.tags = pairs_field(message, "tags");
  for (const json& alias : list_field(message, "aliases")) {
    out.aliases[text_field(alias, "alias")] = integer_field(alias, "version");
  }
  return out;
}

model_version read_model_version(const json& message) {
  model_version out;
  out.name = text_field(message, "name");
  out.version = integer_field(message, "version");
  out.source = text_field(message, "source");
  const auto folder = local_folder(out.source);
  out.location = folder ? folder->string() : out.source;
  out.run_id = text_field(message, "run_id");
  out.status = text_field(message, "status");
  out.stage = detail::read_stage(std::string_view(text_field(message, "current_stage")));
  out.description = text_field(message, "description");
  out.creation_time = integer_field(message, "creation_timestamp");
  out.last_update_time = integer_field(message, "last_updated_timestamp");
  out.tags = pairs_field(message, "tags");
  for (const json& alias : list_field(message, "aliases")) {
    if (!alias.is_string()) refuse("aliases", "one of them is not text");
    out.aliases.push_back(alias.get<std::string>());
  }
  std::sort(out.aliases.begin(), out.aliases.end());
  return out;
}

artifact_info read_artifact_info(const json& message) {
  artifact_info out;
  out.path = text_field(message, "path");
  out.is_directory = flag_field(message, "is_dir");
  const std::int64_t size = integer_field(message, "file_size");
  out.size = size < 0 ? 0 : static_cast<std::uint64_t>(size);
  return out;
}

json metric_value(double value) {
  if (std::isnan(value)) return "NaN";
  constexpr double most = std::numeric_limits<double>::max();
  return std::clamp(value, -most, most);
}

json to_json(const metric& point) {
  return {{"key", point.key},
          {"value", metric_value(point.value)},
          {"timestamp", point.timestamp.value_or(0)},
          {"step", point.step}};
}

json to_json(const string_map& pairs) {
  json out = json::array();
  for (const auto& [key, value] : pairs) out.push_back({{"key", key}, {"value", value}});
  return out;
}

json to_json(const dataset& data) {
  json out = {{"name", data.name},
              {"digest", data.digest},
              {"source_type", data.source_type},
              {"source", data.source}};
  if (!data.schema.empty()) out["schema"] = data.schema;
  if (!data.profile.empty()) out["profile"] = data.profile;
  return out;
}

std::vector<json> split_batch(std::string_view run_id, std::span<const metric> metrics,
                              const string_map& params, const string_map& tags) {
  std::vector<json> bodies;
  std::size_t size = 0;
  std::size_t entities = 0;
  const auto add = [&](const char* list, std::size_t most, json item) {
    const std::size_t item_size = item.dump().size() + 2;  // a comma and a blank
    if (bodies.empty() || size + item_size > most_body || entities >= limits::entities_per_batch ||
        (bodies.back().contains(list) && bodies.back()[list].size() >= most)) {
      bodies.push_back({{"run_id", run_id}});
      size = 0;
      entities = 0;
    }
    bodies.back()[list].push_back(std::move(item));
    size += item_size;
    ++entities;
  };
  for (const auto& [key, value] : params) {
    add("params", limits::params_per_batch, {{"key", key}, {"value", value}});
  }
  for (const metric& point : metrics) add("metrics", limits::metrics_per_batch, to_json(point));
  for (const auto& [key, value] : tags) {
    add("tags", limits::tags_per_batch, {{"key", key}, {"value", value}});
  }
  return bodies;
}

std::optional<std::string> filter_of(const run_query& query) {
  std::string filter = query.filter;
  const auto and_also = [&filter](const std::string& term) {
    filter += (filter.empty() ? "" : " and ") + term;
  };
  if (query.status) and_also("attributes.status = '" + std::string(to_string(*query.status)) + "'");
  try {
    for (const auto& [key, value] : query.tags) {
      and_also("tags." + quoted_key(key) + " = " + quoted_text(value));
    }
  } catch (const error&) {
    return std::nullopt;
  }
  return filter;
}

}  // namespace mizzen::tracking::detail
