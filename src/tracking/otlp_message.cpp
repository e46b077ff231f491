#include "tracking/otlp_message.hpp"

#include "tracking/crc32c.hpp"
#include "tracking/protobuf.hpp"

#include <map>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

// Fields, by the messages that they are in.
constexpr unsigned request_resource_metrics = 1;
constexpr unsigned resource_metrics_resource = 1;
constexpr unsigned resource_metrics_scope_metrics = 2;
constexpr unsigned resource_attributes = 1;
constexpr unsigned scope_metrics_scope = 1;
constexpr unsigned scope_metrics_metrics = 2;
constexpr unsigned scope_name = 1;
constexpr unsigned metric_name = 1;
constexpr unsigned metric_gauge = 5;
constexpr unsigned gauge_points = 1;
constexpr unsigned point_time = 3;
constexpr unsigned point_double = 4;
constexpr unsigned point_exemplars = 5;
constexpr unsigned point_attributes = 7;
constexpr unsigned exemplar_time = 2;
constexpr unsigned exemplar_double = 3;
constexpr unsigned exemplar_filtered_attributes = 7;
constexpr unsigned key_value_key = 1;
constexpr unsigned key_value_value = 2;
constexpr unsigned any_string = 1;
constexpr unsigned any_int = 3;
constexpr unsigned response_partial_success = 1;
constexpr unsigned partial_success_rejected = 1;
constexpr unsigned partial_success_message = 2;
constexpr unsigned status_message = 2;

constexpr std::string_view run_attribute = "mlflow.run_id";
constexpr std::string_view step_attribute = "mlflow.step";
constexpr std::size_t most_message = 1000;

std::string key_value(std::string_view key, std::string_view any_value) {
  std::string out;
  put_bytes_field(out, key_value_key, key);
  put_bytes_field(out, key_value_value, any_value);
  return out;
}

std::string text_attribute(std::string_view key, std::string_view value) {
  std::string any;
  put_bytes_field(any, any_string, value);
  return key_value(key, any);
}

std::string number_attribute(std::string_view key, std::int64_t value) {
  std::string any;
  put_varint_field(any, any_int, static_cast<std::uint64_t>(value));
  return key_value(key, any);
}

// MLflow's clock ticks in milliseconds. The rest of the nanoseconds is where the point stands in
// the log, counted from a place that differs from log to log: the same whenever it is sent, and
// another one for the next point.
std::uint64_t nanoseconds_of(const log_entry& entry, std::uint32_t first) {
  constexpr std::int64_t in_a_millisecond = 1'000'000;
  constexpr std::int64_t most = std::int64_t{1} << 43;  // the year 2248
  const std::int64_t time = entry.timestamp < 0 ? 0 : entry.timestamp;
  return static_cast<std::uint64_t>(time > most ? most : time) * in_a_millisecond +
         (entry.at + first) % in_a_millisecond;
}

std::string encode_point(const log_entry& entry, std::uint64_t time, std::string_view run,
                         bool with_step) {
  const std::string step = number_attribute(step_attribute, entry.step);
  std::string exemplar;
  put_fixed_field(exemplar, exemplar_time, time);
  put_fixed_field(exemplar, exemplar_double, entry.value);
  put_bytes_field(exemplar, exemplar_filtered_attributes, step);
  std::string point;
  put_fixed_field(point, point_time, time);
  put_fixed_field(point, point_double, entry.value);
  put_bytes_field(point, point_exemplars, exemplar);
  put_bytes_field(point, point_attributes, run);
  if (with_step) put_bytes_field(point, point_attributes, step);
  return point;
}

std::string shortened(std::string_view text) { return std::string(text.substr(0, most_message)); }

}  // namespace

std::string encode_otlp(std::string_view log, std::span<const log_entry> entries,
                        const otlp_shape& shape) {
  const std::uint32_t first = crc32c(std::as_bytes(std::span(log.data(), log.size())));
  std::map<std::string_view, std::string> gauges;
  std::map<std::string_view, std::string> runs;
  for (const log_entry& entry : entries) {
    if (entry.kind != wal_kind::point) continue;
    std::string& run = runs[entry.run];
    if (run.empty()) run = text_attribute(run_attribute, entry.run);
    put_bytes_field(gauges[entry.key], gauge_points,
                    encode_point(entry, nanoseconds_of(entry, first), run, shape.step_attribute));
  }
  if (gauges.empty()) return {};
  std::string scope;
  put_bytes_field(scope, scope_name, "mizzen.tracking");
  std::string scope_metrics;
  put_bytes_field(scope_metrics, scope_metrics_scope, scope);
  for (const auto& [key, gauge] : gauges) {
    std::string metric;
    put_bytes_field(metric, metric_name, key);
    put_bytes_field(metric, metric_gauge, gauge);
    put_bytes_field(scope_metrics, scope_metrics_metrics, metric);
  }
  std::string resource;
  for (const auto& [key, value] : shape.resource) {
    put_bytes_field(resource, resource_attributes, text_attribute(key, value));
  }
  std::string resource_metrics;
  put_bytes_field(resource_metrics, resource_metrics_resource, resource);
  put_bytes_field(resource_metrics, resource_metrics_scope_metrics, scope_metrics);
  std::string request;
  put_bytes_field(request, request_resource_metrics, resource_metrics);
  return request;
}

std::optional<otlp_partial_success> decode_otlp_response(std::string_view body) {
  otlp_partial_success result;
  message_reader response(body);
  while (const auto field = response.next()) {
    if (field->number != response_partial_success || field->type != wire_type::bytes) continue;
    message_reader partial(field->bytes);
    while (const auto inner = partial.next()) {
      if (inner->number == partial_success_rejected && inner->type == wire_type::varint) {
        result.rejected = static_cast<std::int64_t>(inner->number_value);
      } else if (inner->number == partial_success_message && inner->type == wire_type::bytes) {
        result.message = shortened(inner->bytes);
      }
    }
    if (partial.is_damaged()) return std::nullopt;
  }
  if (response.is_damaged()) return std::nullopt;
  return result;
}

std::string decode_otlp_error(std::string_view body) {
  std::string message;
  message_reader status(body);
  while (const auto field = status.next()) {
    if (field->number == status_message && field->type == wire_type::bytes) {
      message = shortened(field->bytes);
    }
  }
  return status.is_damaged() ? std::string() : message;
}

}  // namespace mizzen::tracking::detail
