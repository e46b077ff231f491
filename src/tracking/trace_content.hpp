// Spans as others write them: the JSON of MLflow's table `spans` (Span.to_dict, MLflow 3.17) and
// OTLP's messages (opentelemetry/proto/trace/v1/trace.proto).
#pragma once

#include <mizzen/core/json_fwd.hpp>
#include <mizzen/tracking/trace.hpp>

#include <span>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// JSON as Python's json.dumps writes it, non-ASCII left as it is: ", " and ": " between parts,
// which MLflow's searches of stored text rely on. Throws json::type_error for text that is not
// UTF-8.
std::string python_text(const json& value);

// The column `content`. Reading, here and below, throws error(data_loss), subject "answer.<field>".
std::string stored_span(const span_record& span, std::string_view trace_id);
span_record read_stored_span(std::string_view content);

// A Span in protobuf, and an ExportTraceServiceRequest of several. (In OTLP's JSON form MLflow 3.17
// loses the links of spans.)
std::string otlp_span(const span_record& span, std::string_view trace_id);
std::string otlp_request(std::span<const std::string> spans);
// A Span in protobuf's JSON form, as MLflow's answers have it.
span_record read_otlp_span(const json& message);

// The TraceInfoV3 of an answer, and for a request.
trace_info read_trace_info(const json& message);
json to_json(const trace_info& info);

// At most 1,000 characters of a JSON text.
std::string preview_of(std::string_view json_text);

// The trace as it is written: with the metadata (version, tokens and costs of all spans) and
// previews that MLflow's client adds.
// previews: whether to make them of the root span, for a store that does not do so itself.
trace completed(trace given, bool previews);

trace_state read_trace_state(std::string_view text) noexcept;

}  // namespace mizzen::tracking::detail
