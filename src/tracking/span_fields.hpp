// What the forms of a span have in common: its ids as bytes, its attributes, its status.
#pragma once

#include <mizzen/core/json_fwd.hpp>
#include <mizzen/tracking/trace.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

std::string bytes_of(std::string_view hex);

// All attributes as MLflow has them: those that are fields here among them. And the reverse.
json_texts all_attributes(const span_record& span, std::string_view trace_id);
void take_attributes(span_record& span, json_texts all);

const char* otlp_code(span_status status);

// An id in base64 or hexadecimal; empty when absent.
std::string id_field(const json& object, const char* key, std::size_t digits);

// A span of JSON, but for its attributes, events and links.
span_record read_span(const json& message);

}  // namespace mizzen::tracking::detail
