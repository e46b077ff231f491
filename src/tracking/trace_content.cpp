#include "tracking/trace_content.hpp"

#include "core/base64.hpp"
#include "tracking/protobuf.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view id_prefix = "tr-";
constexpr std::size_t trace_digits = 32;
constexpr std::size_t span_digits = 16;
constexpr std::size_t preview_length = 1000;
constexpr std::size_t name_length = 4096;
constexpr std::size_t metadata_key_length = 250;
constexpr std::size_t metadata_length = 8000;
constexpr int most_depth = 100;

constexpr const char* request_id_key = "mlflow.traceRequestId";
constexpr const char* type_key = "mlflow.spanType";
constexpr const char* inputs_key = "mlflow.spanInputs";
constexpr const char* outputs_key = "mlflow.spanOutputs";

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string bytes_of(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

std::string hex_of(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

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

// All attributes as MLflow has them: those that are fields here among them.
json_texts all_attributes(const span_record& span, std::string_view trace_id) {
  json_texts all = span.attributes;
  all[request_id_key] = json(trace_id).dump();
  all[type_key] = json(span.type).dump();
  if (!span.inputs.empty()) all[inputs_key] = span.inputs;
  if (!span.outputs.empty()) all[outputs_key] = span.outputs;
  return all;
}

// The reverse.
void take_attributes(span_record& span, json_texts all) {
  const auto take = [&](const char* key) {
    const auto found = all.find(key);
    return found == all.end() ? std::string() : std::move(all.extract(found).mapped());
  };
  take(request_id_key);
  span.inputs = take(inputs_key);
  span.outputs = take(outputs_key);
  const json type = json::parse(take(type_key), nullptr, false);
  if (type.is_string()) span.type = type.get<std::string>();
  span.attributes = std::move(all);
}

constexpr std::array<std::pair<span_status, const char*>, 3> otlp_codes = {{
    {span_status::unset, "STATUS_CODE_UNSET"},
    {span_status::ok, "STATUS_CODE_OK"},
    {span_status::error, "STATUS_CODE_ERROR"},
}};

const char* otlp_code(span_status status) {
  return otlp_codes[static_cast<std::size_t>(status)].second;
}

span_status read_status_code(std::string_view text) {
  for (const auto& [status, name] : otlp_codes) {
    if (text == name || text == to_string(status)) return status;
  }
  return span_status::unset;
}

// An id in base64 or hexadecimal; empty when absent.
std::string id_field(const json& object, const char* key, std::size_t digits) {
  const std::string text = text_field(object, key);
  std::string_view held = text;
  if (held.starts_with(id_prefix)) held.remove_prefix(id_prefix.size());
  if (held.empty() || is_hex(held, digits)) return std::string(held);
  const auto bytes = mizzen::detail::base64_decode(held);
  if (!bytes || bytes->size() * 2 > digits) {
    throw error(errc::data_loss, std::string("answer.") + key, "it is no id");
  }
  const std::string hex = hex_of(*bytes);
  return std::string(digits - hex.size(), '0') + hex;
}

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

std::string python_text(const json& value) {
  std::string out;
  append_python(out, value);
  return out;
}

void check_trace_id(std::string_view id) {
  if (id.starts_with(id_prefix) && is_hex(id.substr(id_prefix.size()), trace_digits)) return;
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
  json content = {
      {"trace_id", mizzen::detail::base64_encode(bytes_of(trace_id.substr(id_prefix.size())))},
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

namespace {

// What both forms of a span have in common, but for attributes.
span_record read_span(const json& message) {
  span_record span;
  span.id = id_field(message, "span_id", span_digits);
  if (span.id.empty()) throw error(errc::data_loss, "answer.span_id", "it is missing");
  span.parent_id = id_field(message, "parent_span_id", span_digits);
  span.name = text_field(message, "name");
  span.start_time = integer_field(message, "start_time_unix_nano");
  span.end_time = optional_integer_field(message, "end_time_unix_nano");
  if (span.end_time == 0) span.end_time.reset();  // protobuf's default: it goes on
  const json& status = object_field(message, "status");
  span.status = read_status_code(text_field(status, "code"));
  span.status_message = text_field(status, "message");
  return span;
}

}  // namespace

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

std::string otlp_span(const span_record& span, std::string_view trace_id) {
  std::string message;
  put_bytes_field(message, otlp::span_trace_id, bytes_of(trace_id.substr(id_prefix.size())));
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
    put_bytes_field(one, otlp::link_trace_id, bytes_of(link.trace_id.substr(id_prefix.size())));
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
    span.links.push_back({std::string(id_prefix) + id_field(one, "trace_id", trace_digits),
                          id_field(one, "span_id", span_digits),
                          read_attribute_list(list_field(one, "attributes"))});
  }
  return span;
}

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
