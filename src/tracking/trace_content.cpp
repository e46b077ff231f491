#include "tracking/trace_content.hpp"

#include "tracking/rest_messages.hpp"
#include "tracking/trace_ids.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

string_map strings_field(const json& message, const char* key) {
  string_map strings;
  for (const auto& [name, value] : object_field(message, key).items()) {
    strings[name] = value.is_string() ? value.get<std::string>()
                                      : value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return strings;
}

// protobuf's Timestamp in JSON.
std::int64_t read_timestamp(const json& message, const char* key) {
  const std::string text = text_field(message, key);
  if (text.empty()) return 0;
  try {
    return unix_millis(parse_rfc3339(text));
  } catch (const error&) {
    throw error(errc::data_loss, std::string("answer.") + key, "it is no time as RFC 3339 has it");
  }
}

// protobuf's Duration in JSON: "1.500s".
std::optional<std::int64_t> read_duration(const json& message, const char* key) {
  const std::string text = text_field(message, key);
  if (text.empty()) return std::nullopt;
  double seconds = 0;
  const char* const end = text.data() + text.size() - 1;
  const auto read = std::from_chars(text.data(), end, seconds);
  if (text.back() != 's' || read.ec != std::errc{} || read.ptr != end ||
      !(seconds > -1e15 && seconds < 1e15)) {
    throw error(errc::data_loss, std::string("answer.") + key, "it is no duration in seconds");
  }
  return static_cast<std::int64_t>(seconds * 1000 + (seconds < 0 ? -0.5 : 0.5));
}

std::string duration_text(std::int64_t millis) {
  const std::string digits = std::to_string(millis % 1000);
  return std::to_string(millis / 1000) + "." + std::string(3 - digits.size(), '0') + digits + "s";
}

// The sum of what an attribute of spans holds under each key, as a JSON object; null where no span
// has it. A span that has it stands for all below it.
json total_of(const trace& of, const char* attribute, const json& keys) {
  std::map<std::string_view, std::vector<const span_record*>> children;
  for (const span_record& span : of.spans) children[span.parent_id].push_back(&span);
  json total;
  std::vector<const span_record*> open = children[""];
  while (!open.empty()) {
    const span_record& span = *open.back();
    open.pop_back();
    const auto held = span.attributes.find(attribute);
    if (held == span.attributes.end()) {
      const auto& below = children[span.id];
      open.insert(open.end(), below.begin(), below.end());
      continue;
    }
    const json value = json::parse(held->second, nullptr, false);
    if (total.is_null()) total = json::object();
    for (const json& key : keys) {
      const auto& name = key.get_ref<const std::string&>();
      const auto found = value.is_object() ? value.find(name) : value.end();
      if (found == value.end() || !found->is_number()) continue;
      const json before = total.value(name, json(0));
      const double sum = before.get<double>() + found->get<double>();
      const bool whole = before.is_number_integer() && found->is_number_integer();
      if (whole && std::abs(sum) < 0x1p53) {
        total[name] = static_cast<std::int64_t>(sum);
      } else {
        total[name] = sum;
      }
    }
  }
  return total;
}

const span_record* root_of(const trace& of) {
  const auto found = std::find_if(of.spans.begin(), of.spans.end(),
                                  [](const span_record& span) { return span.parent_id.empty(); });
  return found == of.spans.end() ? nullptr : &*found;
}

}  // namespace

trace_info read_trace_info(const json& message) {
  trace_info info;
  info.id = text_field(message, "trace_id");
  if (info.id.empty()) throw error(errc::data_loss, "answer.trace_id", "it is missing");
  info.experiment_id = text_field(
      object_field(object_field(message, "trace_location"), "mlflow_experiment"), "experiment_id");
  info.state = read_trace_state(text_field(message, "state"));
  info.request_time = read_timestamp(message, "request_time");
  info.duration = read_duration(message, "execution_duration");
  info.client_request_id = text_field(message, "client_request_id");
  info.request_preview = text_field(message, "request_preview");
  info.response_preview = text_field(message, "response_preview");
  info.metadata = strings_field(message, "trace_metadata");
  info.tags = strings_field(message, "tags");
  if (auto name = info.tags.extract("mlflow.traceName")) info.name = std::move(name.mapped());
  return info;
}

json to_json(const trace_info& info) {
  string_map tags = info.tags;
  if (!info.name.empty()) tags["mlflow.traceName"] = info.name;
  const std::chrono::system_clock::time_point at{std::chrono::milliseconds(info.request_time)};
  json message = {{"trace_id", info.id},
                  {"trace_location",
                   {{"type", "MLFLOW_EXPERIMENT"},
                    {"mlflow_experiment", {{"experiment_id", info.experiment_id}}}}},
                  {"state", to_string(info.state)},
                  {"request_time", format_rfc3339(at)},
                  {"trace_metadata", info.metadata},
                  {"tags", tags}};
  if (info.duration) message["execution_duration"] = duration_text(*info.duration);
  if (!info.client_request_id.empty()) message["client_request_id"] = info.client_request_id;
  if (!info.request_preview.empty()) message["request_preview"] = info.request_preview;
  if (!info.response_preview.empty()) message["response_preview"] = info.response_preview;
  return message;
}

std::string preview_of(std::string_view json_text) {
  // Characters, not bytes: those that continue one (10xxxxxx) do not count.
  const auto start_of = [&](std::size_t wanted) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < json_text.size(); ++i) {
      const bool begins = (static_cast<unsigned char>(json_text[i]) & 0xC0U) != 0x80U;
      if (begins && count++ == wanted) return i;
    }
    return json_text.size();
  };
  if (start_of(preview_length) == json_text.size()) return std::string(json_text);
  return std::string(json_text.substr(0, start_of(preview_length - 3))) + "...";
}

trace completed(trace given, bool previews) {
  given.info.metadata.try_emplace("mlflow.trace_schema.version", "3");
  const auto add_total = [&](const char* key, const char* attribute, const json& keys) {
    if (given.info.metadata.contains(key)) return;
    const json total = total_of(given, attribute, keys);
    if (total.is_object()) given.info.metadata[key] = python_text(total);
  };
  add_total("mlflow.trace.tokenUsage", "mlflow.chat.tokenUsage",
            {"input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens",
             "cache_creation_input_tokens", "cache_creation_input_tokens_above_1hr"});
  add_total("mlflow.trace.cost", "mlflow.llm.cost", {"input_cost", "output_cost", "total_cost"});
  const span_record* const root = root_of(given);
  if (root == nullptr) return given;
  if (given.info.name.empty()) given.info.name = root->name;
  if (!previews) return given;
  if (given.info.request_preview.empty()) given.info.request_preview = preview_of(root->inputs);
  if (given.info.response_preview.empty()) given.info.response_preview = preview_of(root->outputs);
  return given;
}

trace_state read_trace_state(std::string_view text) noexcept {
  for (const auto state : {trace_state::in_progress, trace_state::ok, trace_state::error}) {
    if (text == to_string(state)) return state;
  }
  return trace_state::unspecified;
}

}  // namespace mizzen::tracking::detail

namespace mizzen::tracking {

std::string_view to_string(trace_state state) noexcept {
  switch (state) {
    case trace_state::in_progress:
      return "IN_PROGRESS";
    case trace_state::ok:
      return "OK";
    case trace_state::error:
      return "ERROR";
    case trace_state::unspecified:
      break;
  }
  return "STATE_UNSPECIFIED";
}

std::string_view to_string(span_status status) noexcept {
  switch (status) {
    case span_status::ok:
      return "OK";
    case span_status::error:
      return "ERROR";
    case span_status::unset:
      break;
  }
  return "UNSET";
}

}  // namespace mizzen::tracking
