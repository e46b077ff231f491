#include "tracking/span_fields.hpp"

#include "core/base64.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/trace_ids.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

#include <array>
#include <charconv>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

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

constexpr std::array<std::pair<span_status, const char*>, 3> otlp_codes = {{
    {span_status::unset, "STATUS_CODE_UNSET"},
    {span_status::ok, "STATUS_CODE_OK"},
    {span_status::error, "STATUS_CODE_ERROR"},
}};

span_status read_status_code(std::string_view text) {
  for (const auto& [status, name] : otlp_codes) {
    if (text == name || text == to_string(status)) return status;
  }
  return span_status::unset;
}

}  // namespace

std::string bytes_of(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

json_texts all_attributes(const span_record& span, std::string_view trace_id) {
  json_texts all = span.attributes;
  all[request_id_key] = json(trace_id).dump();
  all[type_key] = json(span.type).dump();
  if (!span.inputs.empty()) all[inputs_key] = span.inputs;
  if (!span.outputs.empty()) all[outputs_key] = span.outputs;
  return all;
}

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

const char* otlp_code(span_status status) {
  return otlp_codes[static_cast<std::size_t>(status)].second;
}

std::string id_field(const json& object, const char* key, std::size_t digits) {
  const std::string text = text_field(object, key);
  std::string_view held = text;
  if (held.starts_with(trace_id_prefix)) held.remove_prefix(trace_id_prefix.size());
  if (held.empty() || is_hex(held, digits)) return std::string(held);
  const auto bytes = mizzen::detail::base64_decode(held);
  if (!bytes || bytes->size() * 2 > digits) {
    throw error(errc::data_loss, std::string("answer.") + key, "it is no id");
  }
  const std::string hex = hex_of(*bytes);
  return std::string(digits - hex.size(), '0') + hex;
}

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

}  // namespace mizzen::tracking::detail
