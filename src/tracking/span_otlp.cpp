#include "tracking/protobuf.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/span_fields.hpp"
#include "tracking/trace_content.hpp"
#include "tracking/trace_ids.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <cstdint>
#include <limits>

namespace mizzen::tracking::detail {
namespace {

// Fields of OTLP's messages (opentelemetry-proto 1.x: common/v1, trace/v1, collector/trace/v1).
namespace otlp {
constexpr unsigned any_string = 1, any_bool = 2, any_int = 3, any_double = 4, any_array = 5,
                   any_pairs = 6;
constexpr unsigned values = 1;  // of an array and of pairs
constexpr unsigned pair_key = 1, pair_value = 2;
constexpr unsigned span_trace_id = 1, span_id = 2, span_parent = 4, span_name = 5, span_start = 7,
                   span_end = 8, span_attributes = 9, span_events = 11, span_links = 13,
                   span_status_field = 15;
constexpr unsigned event_time = 1, event_name = 2, event_attributes = 3;
constexpr unsigned link_trace_id = 1, link_span_id = 2, link_attributes = 4;
constexpr unsigned status_message = 2, status_code = 3;
constexpr unsigned resource_spans = 1, resource = 1, scope_spans = 2, scope_spans_scope = 1,
                   scope_spans_spans = 2, scope_name = 1;
}  // namespace otlp

// An attribute's value in OTLP (AnyValue).
std::string any_value(const json& value) {
  std::string message;
  switch (value.type()) {
    case json::value_t::null:
    case json::value_t::discarded:
    case json::value_t::binary:
      break;
    case json::value_t::boolean:
      put_varint_field(message, otlp::any_bool, value.get<bool>() ? 1 : 0);
      break;
    case json::value_t::number_unsigned:
      if (value.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        put_fixed_field(message, otlp::any_double, value.get<double>());
        break;
      }
      [[fallthrough]];
    case json::value_t::number_integer:
      put_varint_field(message, otlp::any_int,
                       static_cast<std::uint64_t>(value.get<std::int64_t>()));
      break;
    case json::value_t::number_float:
      put_fixed_field(message, otlp::any_double, value.get<double>());
      break;
    case json::value_t::string:
      put_bytes_field(message, otlp::any_string, value.get_ref<const std::string&>());
      break;
    case json::value_t::array: {
      std::string all;
      for (const json& one : value) put_bytes_field(all, otlp::values, any_value(one));
      put_bytes_field(message, otlp::any_array, all);
      break;
    }
    case json::value_t::object: {
      std::string all;
      for (const auto& [key, held] : value.items()) {
        std::string pair;
        put_bytes_field(pair, otlp::pair_key, key);
        put_bytes_field(pair, otlp::pair_value, any_value(held));
        put_bytes_field(all, otlp::values, pair);
      }
      put_bytes_field(message, otlp::any_pairs, all);
      break;
    }
  }
  return message;
}

void put_attributes(std::string& to, unsigned field, const json_texts& attributes) {
  for (const auto& [key, text] : attributes) {
    std::string pair;
    put_bytes_field(pair, otlp::pair_key, key);
    put_bytes_field(pair, otlp::pair_value, any_value(json::parse(text)));
    put_bytes_field(to, field, pair);
  }
}

json read_any_value(const json& message) {
  const auto held = [&](const char* camel, const char* snake) -> const json* {
    for (const char* key : {camel, snake}) {
      const auto found = message.find(key);
      if (found != message.end()) return &*found;
    }
    return nullptr;
  };
  if (!message.is_object()) {
    throw error(errc::data_loss, "answer.attributes", "a value is not an object");
  }
  if (const json* text = held("stringValue", "string_value"); text && text->is_string()) {
    return *text;
  }
  if (const json* flag = held("boolValue", "bool_value"); flag && flag->is_boolean()) return *flag;
  for (const char* key : {"intValue", "int_value"}) {
    if (message.contains(key)) return integer_field(message, key);
  }
  if (const json* real = held("doubleValue", "double_value")) {
    if (real->is_string()) return *real;  // NaN, Infinity
    if (real->is_number()) return real->get<double>();
  }
  // Bytes stay base64.
  if (const json* bytes = held("bytesValue", "bytes_value"); bytes && bytes->is_string()) {
    return *bytes;
  }
  if (const json* array = held("arrayValue", "array_value")) {
    json list = json::array();
    for (const json& one : list_field(*array, "values")) list.push_back(read_any_value(one));
    return list;
  }
  if (const json* pairs = held("kvlistValue", "kvlist_value")) {
    json object = json::object();
    for (const json& one : list_field(*pairs, "values")) {
      object[text_field(one, "key")] = read_any_value(object_field(one, "value"));
    }
    return object;
  }
  if (message.empty()) return nullptr;
  throw error(errc::data_loss, "answer.attributes", "a value is of a type that OTLP does not have");
}

json_texts read_attribute_list(const json& list) {
  json_texts attributes;
  for (const json& one : list) {
    attributes[text_field(one, "key")] = python_text(read_any_value(object_field(one, "value")));
  }
  return attributes;
}

}  // namespace

std::string otlp_span(const span_record& span, std::string_view trace_id) {
  std::string message;
  put_bytes_field(message, otlp::span_trace_id, bytes_of(trace_id.substr(trace_id_prefix.size())));
  put_bytes_field(message, otlp::span_id, bytes_of(span.id));
  if (!span.parent_id.empty()) {
    put_bytes_field(message, otlp::span_parent, bytes_of(span.parent_id));
  }
  put_bytes_field(message, otlp::span_name, span.name);
  put_fixed_field(message, otlp::span_start, span.start_time);
  if (span.end_time) put_fixed_field(message, otlp::span_end, *span.end_time);
  put_attributes(message, otlp::span_attributes, all_attributes(span, trace_id));
  for (const span_event& event : span.events) {
    std::string one;
    put_fixed_field(one, otlp::event_time, event.time);
    put_bytes_field(one, otlp::event_name, event.name);
    put_attributes(one, otlp::event_attributes, event.attributes);
    put_bytes_field(message, otlp::span_events, one);
  }
  for (const span_link& link : span.links) {
    std::string one;
    put_bytes_field(one, otlp::link_trace_id,
                    bytes_of(link.trace_id.substr(trace_id_prefix.size())));
    put_bytes_field(one, otlp::link_span_id, bytes_of(link.span_id));
    put_attributes(one, otlp::link_attributes, link.attributes);
    put_bytes_field(message, otlp::span_links, one);
  }
  std::string status;
  if (!span.status_message.empty()) {
    put_bytes_field(status, otlp::status_message, span.status_message);
  }
  put_varint_field(status, otlp::status_code, static_cast<std::uint64_t>(span.status));
  put_bytes_field(message, otlp::span_status_field, status);
  return message;
}

std::string otlp_request(std::span<const std::string> spans) {
  std::string scope;
  put_bytes_field(scope, otlp::scope_name, "mizzen");
  std::string within;
  put_bytes_field(within, otlp::scope_spans_scope, scope);
  for (const std::string& span : spans) put_bytes_field(within, otlp::scope_spans_spans, span);
  std::string of_resource;
  put_bytes_field(of_resource, otlp::resource, {});
  put_bytes_field(of_resource, otlp::scope_spans, within);
  std::string request;
  put_bytes_field(request, otlp::resource_spans, of_resource);
  return request;
}

span_record read_otlp_span(const json& message) {
  span_record span = read_span(message);
  take_attributes(span, read_attribute_list(list_field(message, "attributes")));
  for (const json& one : list_field(message, "events")) {
    span.events.push_back({text_field(one, "name"), integer_field(one, "time_unix_nano"),
                           read_attribute_list(list_field(one, "attributes"))});
  }
  for (const json& one : list_field(message, "links")) {
    span.links.push_back({std::string(trace_id_prefix) + id_field(one, "trace_id", trace_digits),
                          id_field(one, "span_id", span_digits),
                          read_attribute_list(list_field(one, "attributes"))});
  }
  return span;
}

}  // namespace mizzen::tracking::detail
