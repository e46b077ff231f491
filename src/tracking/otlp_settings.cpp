#include "tracking/otlp_settings.hpp"

#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view default_endpoint = "http://localhost:4318/v1/metrics";
constexpr std::string_view metrics_path = "/v1/metrics";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// A setting that there is for metrics and for all signals: its value, and the variable it is from.
struct variable {
  std::string name;
  std::optional<std::string> value;
};
variable either(const environment& env, std::string_view what) {
  const std::string own = "OTEL_EXPORTER_OTLP_METRICS_" + std::string(what);
  if (auto value = env(own)) return {own, std::move(value)};
  const std::string all = "OTEL_EXPORTER_OTLP_" + std::string(what);
  return {all, env(all)};
}

bool is_true(const std::optional<std::string>& value) {
  return value && value->size() == 4 &&
         std::equal(value->begin(), value->end(), "true", [](unsigned char a, char b) {
           return std::tolower(a) == static_cast<unsigned char>(b);
         });
}

bool is_wanted(const otlp_options& options, const environment& env) {
  if (options.enabled) return *options.enabled;
  if (is_true(env("OTEL_SDK_DISABLED"))) return false;
  if (!options.endpoint.empty() || env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")) return true;
  return env("OTEL_METRICS_EXPORTER") == "otlp";
}

void check_url(std::string_view field, std::string_view url) {
  const auto mark = url.find("://");
  const std::string_view scheme = url.substr(0, mark == std::string_view::npos ? 0 : mark);
  const bool plain =
      std::all_of(url.begin(), url.end(), [](unsigned char c) { return c > 0x20 && c != 0x7f; });
  if ((scheme != "http" && scheme != "https") || url.size() == mark + 3 || !plain) {
    throw error(errc::invalid_argument, field,
                "it is not a URL as http://host:4318/v1/metrics; OTLP goes over HTTP here");
  }
  const std::string_view rest = url.substr(mark + 3);
  if (rest.substr(0, rest.find('/')).find('@') != std::string_view::npos) {
    throw error(errc::invalid_argument, field,
                "it has a user in it, and it is written into the log; put credentials into the "
                "headers");
  }
}

std::string url_of(const otlp_options& options, const environment& env) {
  if (!options.endpoint.empty()) {
    check_url("otlp_options.endpoint", options.endpoint);
    return options.endpoint;
  }
  if (const auto own = env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")) {
    check_url("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", *own);
    return *own;
  }
  if (auto base = env("OTEL_EXPORTER_OTLP_ENDPOINT")) {
    check_url("OTEL_EXPORTER_OTLP_ENDPOINT", *base);
    while (base->ends_with('/')) base->pop_back();
    return *base + std::string(metrics_path);
  }
  return std::string(default_endpoint);
}

std::chrono::milliseconds timeout_of(const otlp_options& options, const environment& env) {
  constexpr std::int64_t most = 3'600'000;
  std::int64_t time = 10'000;
  std::string field = "otlp_options.timeout";
  if (options.timeout) {
    time = options.timeout->count();
  } else if (const variable from = either(env, "TIMEOUT"); from.value) {
    field = from.name;
    const char* const end = from.value->data() + from.value->size();
    const auto [at, failed] = std::from_chars(from.value->data(), end, time);
    if (failed != std::errc{} || at != end) time = 0;
  }
  if (time < 1 || time > most) {
    throw error(errc::invalid_argument, field, "it must be from 1 to 3600000 milliseconds");
  }
  return std::chrono::milliseconds(time);
}

void check_headers(std::string_view field, const string_map& headers) {
  for (const auto& [name, value] : headers) {
    const bool token = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) !=
                 std::string_view::npos;
    });
    const bool plain = std::none_of(value.begin(), value.end(),
                                    [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    if (!token || !plain) {
      throw error(errc::invalid_argument, field, "'" + name + "' cannot be sent as a header");
    }
  }
}

}  // namespace

string_map parse_otlp_pairs(std::string_view field, std::string_view text) {
  string_map pairs;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view one = trimmed(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    if (one.empty()) continue;
    const auto mark = one.find('=');
    if (mark == 0 || mark == std::string_view::npos) {
      throw error(errc::invalid_argument, field, "it is not of the form name=value,name=value");
    }
    pairs[http::percent_decode(trimmed(one.substr(0, mark)))] =
        http::percent_decode(trimmed(one.substr(mark + 1)));
  }
  return pairs;
}

std::optional<otlp_settings> resolve_otlp_settings(const otlp_options& options,
                                                   const environment& env,
                                                   std::string_view program) {
  if (!is_wanted(options, env)) return std::nullopt;
  otlp_settings out;
  out.url = url_of(options, env);
  if (const variable from = either(env, "PROTOCOL"); from.value && *from.value != "http/protobuf") {
    throw error(errc::unimplemented, from.name,
                "'" + *from.value +
                    "' is not spoken here; collectors take http/protobuf, on port "
                    "4318 as a rule");
  }
  if (const variable from = either(env, "HEADERS"); from.value) {
    out.headers = parse_otlp_pairs(from.name, *from.value);
    check_headers(from.name, out.headers);
  }
  check_headers("otlp_options.headers", options.headers);
  for (const auto& [name, value] : options.headers) out.headers[name] = value;

  string_map& resource = out.shape.resource;
  if (const auto text = env("OTEL_RESOURCE_ATTRIBUTES")) {
    resource = parse_otlp_pairs("OTEL_RESOURCE_ATTRIBUTES", *text);
  }
  if (const auto name = env("OTEL_SERVICE_NAME")) resource["service.name"] = *name;
  for (const auto& [key, value] : options.resource) {
    check_text("otlp_options.resource", key);
    check_text("otlp_options.resource", value);
    resource[key] = value;
  }
  if (resource.find("service.name") == resource.end()) {
    resource["service.name"] = "unknown_service:" + std::string(program);
  }
  resource["telemetry.sdk.name"] = "mizzen";
  resource["telemetry.sdk.language"] = "cpp";
  out.shape.step_attribute = options.step_attribute;

  out.timeout = timeout_of(options, env);
  if (options.gzip) {
    out.gzip = *options.gzip;
  } else if (const variable from = either(env, "COMPRESSION"); from.value) {
    if (*from.value != "gzip" && *from.value != "none") {
      throw error(errc::invalid_argument, from.name,
                  "'" + *from.value + "' is neither gzip nor none");
    }
    out.gzip = *from.value == "gzip";
  }
  const auto file = [&](const std::string& option, std::string_view what) {
    return option.empty() ? either(env, what).value.value_or("") : option;
  };
  out.certificate_file = file(options.certificate_file, "CERTIFICATE");
  out.client_certificate_file = file(options.client_certificate_file, "CLIENT_CERTIFICATE");
  out.client_key_file = file(options.client_key_file, "CLIENT_KEY");
  if (options.patience.count() < 1) {
    throw error(errc::invalid_argument, "otlp_options.patience", "it must be at least 1 s");
  }
  return out;
}

json otlp_about(const otlp_settings& settings) {
  return {{"url", settings.url},
          {"resource", settings.shape.resource},
          {"step_attribute", settings.shape.step_attribute}};
}

std::optional<otlp_target> otlp_target_of(std::string_view about) {
  const json parsed = json::parse(about, nullptr, false);
  const auto found = parsed.is_object() ? parsed.find("otlp") : parsed.end();
  if (found == parsed.end() || !found->is_object()) return std::nullopt;
  otlp_target target;
  const auto url = found->find("url");
  if (url == found->end() || !url->is_string()) return std::nullopt;
  target.url = url->get<std::string>();
  const auto resource = found->find("resource");
  if (resource != found->end() && resource->is_object()) {
    for (const auto& [key, value] : resource->items()) {
      if (value.is_string()) target.shape.resource[key] = value.get<std::string>();
    }
  }
  const auto step = found->find("step_attribute");
  target.shape.step_attribute = step != found->end() && step->is_boolean() && step->get<bool>();
  return target;
}

}  // namespace mizzen::tracking::detail
