#include "tracking/trace_check.hpp"

#include "tracking/trace_ids.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <set>
#include <string>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::size_t name_length = 4096;
constexpr std::size_t metadata_key_length = 250;
constexpr std::size_t metadata_length = 8000;
constexpr int most_depth = 100;

[[noreturn]] void refuse(const std::string& field, std::string_view message) {
  throw error(errc::invalid_argument, field, message);
}

void check_json_text(const std::string& field, std::string_view text) {
  check_text(field, text);
  if (text.empty()) return;
  bool too_deep = false;
  const json parsed = json::parse(
      text,
      [&](int depth, json::parse_event_t, json&) {
        if (depth >= most_depth) too_deep = true;
        return !too_deep;
      },
      false);
  if (too_deep) refuse(field, "it is nested more than 100 levels deep");
  if (parsed.is_discarded()) refuse(field, "it is not JSON text");
}

void check_json_texts(const std::string& field, const json_texts& texts) {
  for (const auto& [key, text] : texts) {
    check_text(field + ".key", key);
    if (text.empty()) refuse(field + "." + key, "it is empty; a JSON text is due, as null");
    check_json_text(field + "." + key, text);
  }
}

void check_span(const std::string& field, const span_record& span) {
  check_span_id(field + ".id", span.id);
  check_text(field + ".name", span.name);
  check_text(field + ".type", span.type, 500);
  check_text(field + ".status_message", span.status_message);
  if (span.start_time < 0) refuse(field + ".start_time", "it is negative");
  if (span.end_time && *span.end_time < span.start_time) {
    refuse(field + ".end_time", "it is before the start");
  }
  check_json_text(field + ".inputs", span.inputs);
  check_json_text(field + ".outputs", span.outputs);
  check_json_texts(field + ".attributes", span.attributes);
  for (const auto& [key, text] : span.attributes) check_attribute_key(key);
  for (const span_event& event : span.events) {
    check_text(field + ".events.name", event.name);
    if (event.time < 0) refuse(field + ".events.time", "it is negative");
    check_json_texts(field + ".events.attributes", event.attributes);
  }
  for (const span_link& link : span.links) {
    check_trace_id(link.trace_id);
    check_span_id(field + ".links.span_id", link.span_id);
    check_json_texts(field + ".links.attributes", link.attributes);
  }
}

}  // namespace

void check_trace_id(std::string_view id) {
  if (id.starts_with(trace_id_prefix) && is_hex(id.substr(trace_id_prefix.size()), trace_digits))
    return;
  throw error(errc::invalid_argument, "trace.id",
              "'" + std::string(id.substr(0, 80)) +
                  "' is not \"tr-\" and 32 hexadecimal digits in lower case");
}

void check_span_id(std::string_view field, std::string_view id) {
  if (is_hex(id, span_digits) && id.find_first_not_of('0') != std::string_view::npos) return;
  throw error(errc::invalid_argument, field,
              "it is not 16 hexadecimal digits in lower case, one of them not 0");
}

void check_attribute_key(std::string_view key) {
  check_text("span.attribute.key", key);
  for (const char* own : {request_id_key, type_key, inputs_key, outputs_key}) {
    if (key == own) {
      throw error(errc::invalid_argument, "span.attribute.key",
                  std::string(key) + " is MLflow's own; a field of the span holds it");
    }
  }
}

void check_trace_tag(std::string_view key, std::string_view value) {
  check_key("trace.tag.key", key);
  check_text("trace.tag.value", value, limits::tag_length);
}

void check_trace(const trace& written) {
  const trace_info& info = written.info;
  check_trace_id(info.id);
  check_text("trace.name", info.name, name_length);
  check_text("trace.client_request_id", info.client_request_id, 50);
  check_text("trace.request_preview", info.request_preview, preview_length);
  check_text("trace.response_preview", info.response_preview, preview_length);
  if (info.request_time < 0) refuse("trace.request_time", "it is negative");
  if (info.duration && *info.duration < 0) refuse("trace.duration", "it is negative");
  for (const auto& [key, value] : info.metadata) {
    check_text("trace.metadata.key", key, metadata_key_length);
    if (key.empty()) refuse("trace.metadata.key", "it is empty");
    check_text("trace.metadata." + key, value,
               key == "mlflow.trace.session" ? metadata_key_length : metadata_length);
  }
  for (const auto& [key, value] : info.tags) {
    check_trace_tag(key, value);
    if (key == "mlflow.traceName") refuse("trace.tags.mlflow.traceName", "the field name holds it");
  }
  std::set<std::string_view> ids;
  for (std::size_t i = 0; i < written.spans.size(); ++i) {
    const std::string field = "trace.spans[" + std::to_string(i) + "]";
    check_span(field, written.spans[i]);
    if (!ids.insert(written.spans[i].id).second) refuse(field + ".id", "another span has it");
  }
  bool rooted = false;
  for (std::size_t i = 0; i < written.spans.size(); ++i) {
    const std::string& parent = written.spans[i].parent_id;
    const std::string field = "trace.spans[" + std::to_string(i) + "].parent_id";
    if (parent.empty()) {
      if (std::exchange(rooted, true)) refuse(field, "it is empty, but there is a root already");
    } else if (!ids.contains(parent) || parent == written.spans[i].id) {
      refuse(field, "it names no other span of the trace");
    }
  }
}

}  // namespace mizzen::tracking::detail
