// Messages of OTLP's metrics service, in protobuf (opentelemetry/proto/collector/metrics/v1,
// metrics/v1, common/v1, resource/v1 of opentelemetry-proto 1.x).
#pragma once

#include "tracking/sink.hpp"

#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

struct otlp_shape {
  string_map resource = {};  // attributes
  bool step_attribute = false;
};

// An ExportMetricsServiceRequest of the points among the entries of a log, in their order within a
// metric; empty if there are none. The same entries of the same log give the same bytes.
std::string encode_otlp(std::string_view log, std::span<const log_entry> entries,
                        const otlp_shape& shape);

// What a receiver did not take, by its ExportMetricsServiceResponse.
struct otlp_partial_success {
  std::int64_t rejected = 0;
  std::string message = {};
};
// Nothing if it cannot be read.
std::optional<otlp_partial_success> decode_otlp_response(std::string_view body);

// The message in the google.rpc.Status that comes with an error, or "".
std::string decode_otlp_error(std::string_view body);

}  // namespace mizzen::tracking::detail
