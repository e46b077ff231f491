// What of a trace may be written: ids and parents that fit together, JSON texts that are JSON,
// lengths within MLflow's limits. Each throws error(invalid_argument) naming the field
// ("trace.spans[2].parent_id").
#pragma once

#include <mizzen/tracking/trace.hpp>

#include <string_view>

namespace mizzen::tracking::detail {

void check_trace(const trace& written);
void check_trace_id(std::string_view id);
void check_span_id(std::string_view field, std::string_view id);
void check_attribute_key(std::string_view key);
void check_trace_tag(std::string_view key, std::string_view value);

}  // namespace mizzen::tracking::detail
