// Metrics of runs as OpenTelemetry metrics, by OTLP/HTTP (opentelemetry.io/docs/specs/otlp).
#pragma once

#include <mizzen/tracking/types.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace mizzen::tracking {

// Every point that is logged also goes to an OpenTelemetry collector, as a point of a gauge:
//   metric name           the key
//   time                  the timestamp; what is below its milliseconds is no time, but tells
//                         points of one millisecond apart, by where they stand in the log
//   attribute             mlflow.run_id
//   exemplar              its filtered attribute mlflow.step is the step
//   resource              service.name, telemetry.sdk.*, and what `resource` says
// Parameters, tags and artifacts do not go there.
//
// Promise: OTLP acknowledges an export, but has no way to say that it is one repeated. A point
// whose answer was lost is sent again, the same to the bit: who keeps one value for a time of a
// series, as databases of time series do (those that keep nanoseconds), has it once; who appends,
// as the Collector's file exporter does, has it twice. Points are dropped, and reported to
// client_options::log, where the specification forbids to send them again: after every 4xx and 5xx
// but 429, 502, 503 and 504, and where the receiver says that it rejected some. A receiver that is
// away holds up nothing: points wait in the log; they are left out, and that is reported, when
// the log is full, or when they have waited for `patience`.
//
// What is left out comes from the environment, by OpenTelemetry's names
// (OTEL_EXPORTER_OTLP_METRICS_X before OTEL_EXPORTER_OTLP_X); a value of a wrong form there is
// error(invalid_argument) naming it.
struct otlp_options {
  // Default: whether endpoint is given here, or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is set, or
  // OTEL_METRICS_EXPORTER is "otlp"; and OTEL_SDK_DISABLED is not "true".
  std::optional<bool> enabled = std::nullopt;
  // "http://host:4318/v1/metrics". Else OTEL_EXPORTER_OTLP_METRICS_ENDPOINT as it is, else
  // OTEL_EXPORTER_OTLP_ENDPOINT with /v1/metrics after it, else http://localhost:4318/v1/metrics.
  // It is written into the log, for whoever takes that over: no credentials here, but in headers.
  std::string endpoint = {};
  // Sent along, beside those of OTEL_EXPORTER_OTLP[_METRICS]_HEADERS ("name=value,…",
  // percent-encoded). They are not written into the log: who takes it over sends his own, and
  // none to another endpoint than his own.
  string_map headers = {};
  // Attributes of the resource, beside OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES. Without a
  // service.name it is "unknown_service:<program>".
  string_map resource = {};
  // Of one export, at least 1 ms (OTEL_EXPORTER_OTLP[_METRICS]_TIMEOUT in milliseconds, 10 s).
  std::optional<std::chrono::milliseconds> timeout = std::nullopt;
  // Whether bodies are compressed with gzip (OTEL_EXPORTER_OTLP[_METRICS]_COMPRESSION is "gzip").
  std::optional<bool> gzip = std::nullopt;
  // PEM files: the authorities to trust (…_CERTIFICATE), the client's own certificate and its key
  // (…_CLIENT_CERTIFICATE, …_CLIENT_KEY).
  std::string certificate_file = {};
  std::string client_certificate_file = {};
  std::string client_key_file = {};
  // The step as an attribute of the point, too. Many databases make a series of each value.
  bool step_attribute = false;
  // How long points wait for a receiver that is away, from when their part of the log was begun.
  std::chrono::seconds patience = std::chrono::hours(24);
};

}  // namespace mizzen::tracking
