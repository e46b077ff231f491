#include "core/base64.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/span_fields.hpp"
#include "tracking/trace_content.hpp"
#include "tracking/trace_ids.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <utility>

namespace mizzen::tracking::detail {
namespace {

void append_python(std::string& out, const json& value) {
  const auto leaf = [](const json& of) { return of.dump(); };
  if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, held] : value.items()) {
      if (!std::exchange(first, false)) out += ", ";
      out += leaf(json(key)) + ": ";
      append_python(out, held);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const json& held : value) {
      if (!std::exchange(first, false)) out += ", ";
      append_python(out, held);
    }
    out += ']';
  } else {
    out += leaf(value);
  }
}

// {"a": 1} -> {"a": "1"}
json_texts texts_of(const json& object) {
  json_texts texts;
  for (const auto& [name, value] : object.items()) texts[name] = python_text(value);
  return texts;
}

json values_of(const json_texts& texts) {
  json values = json::object();
  for (const auto& [key, text] : texts) values[key] = json::parse(text);
  return values;
}

}  // namespace

std::string python_text(const json& value) {
  std::string out;
  append_python(out, value);
  return out;
}

std::string stored_span(const span_record& span, std::string_view trace_id) {
  json attributes = json::object();
  for (const auto& [key, text] : all_attributes(span, trace_id)) attributes[key] = text;
  json events = json::array();
  for (const span_event& event : span.events) {
    events.push_back({{"name", event.name},
                      {"time_unix_nano", event.time},
                      {"attributes", values_of(event.attributes)}});
  }
  json links = json::array();
  for (const span_link& link : span.links) {
    links.push_back({{"trace_id", link.trace_id},
                     {"span_id", link.span_id},
                     {"attributes", values_of(link.attributes)}});
  }
  json content = {{"trace_id", mizzen::detail::base64_encode(
                                   bytes_of(trace_id.substr(trace_id_prefix.size())))},
                  {"span_id", mizzen::detail::base64_encode(bytes_of(span.id))},
                  {"parent_span_id", nullptr},
                  {"name", span.name},
                  {"start_time_unix_nano", span.start_time},
                  {"end_time_unix_nano", nullptr},
                  {"events", std::move(events)},
                  {"status", {{"code", otlp_code(span.status)}, {"message", span.status_message}}},
                  {"attributes", std::move(attributes)},
                  {"links", std::move(links)}};
  if (!span.parent_id.empty()) {
    content["parent_span_id"] = mizzen::detail::base64_encode(bytes_of(span.parent_id));
  }
  if (span.end_time) content["end_time_unix_nano"] = *span.end_time;
  return python_text(content);
}

span_record read_stored_span(std::string_view content) {
  json message;
  try {
    message = parse_answer(content);
  } catch (const json::exception&) {
    throw error(errc::data_loss, "answer.span", "it is not JSON text");
  }
  span_record span = read_span(message);
  json_texts attributes;
  for (const auto& [key, value] : object_field(message, "attributes").items()) {
    // Texts are JSON already; what is not stays as it came.
    const bool is_text = value.is_string() && json::accept(value.get_ref<const std::string&>());
    attributes[key] = is_text ? value.get<std::string>() : python_text(value);
  }
  take_attributes(span, std::move(attributes));
  for (const json& one : list_field(message, "events")) {
    span.events.push_back({text_field(one, "name"), integer_field(one, "time_unix_nano"),
                           texts_of(object_field(one, "attributes"))});
  }
  for (const json& one : list_field(message, "links")) {
    span.links.push_back({text_field(one, "trace_id"), text_field(one, "span_id"),
                          texts_of(object_field(one, "attributes"))});
  }
  return span;
}

}  // namespace mizzen::tracking::detail
