// Where metrics of OpenTelemetry go, and how: options and environment in one.
#pragma once

#include "tracking/otlp_message.hpp"
#include "tracking/rest_settings.hpp"

#include <mizzen/core/json_fwd.hpp>
#include <mizzen/tracking/otlp.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

struct otlp_settings {
  std::string url = {};
  otlp_shape shape = {};
  string_map headers = {};
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  bool gzip = false;
  std::string certificate_file = {};
  std::string client_certificate_file = {};
  std::string client_key_file = {};
};

// Nothing where it is not asked for. Throws invalid_argument, and unimplemented for a protocol
// other than http/protobuf; the subject names the option or the variable. program: for
// service.name.
std::optional<otlp_settings> resolve_otlp_settings(const otlp_options& options,
                                                   const environment& env,
                                                   std::string_view program);

// "key=value,key=value", percent-encoded, as W3C Baggage without properties.
string_map parse_otlp_pairs(std::string_view field, std::string_view text);

// Settings in wal_header::about: what whoever takes over a log has to know. Nothing where it names
// none.
json otlp_about(const otlp_settings& settings);  // its member "otlp"
struct otlp_target {
  std::string url = {};
  otlp_shape shape = {};
};
std::optional<otlp_target> otlp_target_of(std::string_view about);

}  // namespace mizzen::tracking::detail
