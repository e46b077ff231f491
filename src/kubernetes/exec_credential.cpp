#include "core/base64.hpp"
#include "kubernetes/exec_info.hpp"
#include "kubernetes/yaml.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/exec_credential.hpp>

#include <algorithm>

namespace mizzen::kubernetes {
namespace {

constexpr detail::yaml_limits limits = {std::size_t{64} << 20, 64, 100'000};

[[noreturn]] void fail(std::string_view subject, std::string_view why) {
  throw error(errc::invalid_argument, subject, why);
}

// A member that is text; absent and null are empty.
std::string text(const json& object, const char* name, const std::string& at) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return {};
  if (!found->is_string()) fail(at + name, "must be text");
  return found->get<std::string>();
}

json read(std::string_view printed) {
  const std::size_t first = printed.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) fail("ExecCredential", "nothing was printed");
  // Go's decoder takes YAML as well.
  if (printed[first] != '{') {
    std::vector<std::string> warnings;
    try {
      return detail::yaml_to_json(printed, "ExecCredential", limits, warnings);
    } catch (const error& e) {
      fail(e.subject(), "what was printed is neither JSON nor YAML");
    }
  }
  bool too_deep = false;
  const json::parser_callback_t bounded = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || static_cast<std::size_t>(depth) > limits.max_depth;
    return !too_deep;
  };
  json value = json::parse(printed, bounded, false);
  if (too_deep) fail("ExecCredential", "what was printed is nested too deep");
  if (value.is_discarded()) fail("ExecCredential", "what was printed is not JSON");
  return value;
}

}  // namespace

exec_credential parse_exec_credential(std::string_view printed, std::string_view api_version) {
  const json document = read(printed);
  if (!document.is_object()) fail("ExecCredential", "what was printed is not an object");
  if (const std::string kind = text(document, "kind", ""); kind != "ExecCredential") {
    fail("kind", kind.empty() ? "is missing; it must be ExecCredential"
                              : "must be ExecCredential, but is something else");
  }
  if (const std::string version = text(document, "apiVersion", ""); version != api_version) {
    const bool known = version.starts_with("client.authentication.k8s.io/v") && version.size() < 64;
    fail("apiVersion", "the kubeconfig asks for " + std::string(api_version) +
                           ", but the plugin answered " +
                           (known ? "with " + version : "with something else"));
  }
  const auto status = document.find("status");
  if (status == document.end() || status->is_null()) fail("status", "is missing");
  if (!status->is_object()) fail("status", "must be an object");

  exec_credential into{.token = text(*status, "token", "status."),
                       .certificate_pem = text(*status, "clientCertificateData", "status."),
                       .key_pem = text(*status, "clientKeyData", "status.")};
  if (into.certificate_pem.empty() != into.key_pem.empty()) {
    fail("status", "holds only one of clientCertificateData and clientKeyData");
  }
  if (into.token.empty() && into.certificate_pem.empty()) {
    fail("status", "holds neither a token nor a client certificate");
  }
  const auto visible = [](char c) { return c > 0x20 && c < 0x7f; };
  if (!std::all_of(into.token.begin(), into.token.end(), visible)) {
    fail("status.token", "holds a blank, a line break or another character that no header can");
  }
  if (const std::string expires = text(*status, "expirationTimestamp", "status.");
      !expires.empty()) {
    try {
      into.expires = parse_rfc3339(expires);
    } catch (const error&) {
      fail("status.expirationTimestamp", "is no time, as in 2026-11-22T08:43:00Z");
    }
  }
  return into;
}

namespace detail {

std::string exec_info(const exec_plugin& plugin, const config& cluster, const std::string& ca_pem,
                      bool interactive) {
  json spec = {{"interactive", interactive}};
  if (plugin.provide_cluster_info) {
    json about = {{"server", cluster.server}};
    if (!cluster.tls_server_name.empty()) about["tls-server-name"] = cluster.tls_server_name;
    if (cluster.insecure_skip_tls_verify) about["insecure-skip-tls-verify"] = true;
    if (!ca_pem.empty())
      about["certificate-authority-data"] = mizzen::detail::base64_encode(ca_pem);
    if (!cluster.proxy.empty()) about["proxy-url"] = cluster.proxy;
    if (!cluster.compression) about["disable-compression"] = true;
    if (!cluster.exec_extension.empty()) {
      json extension = json::parse(cluster.exec_extension, nullptr, false);
      if (extension.is_discarded()) {
        throw error(errc::invalid_argument, "config.exec_extension", "is not JSON");
      }
      about["config"] = std::move(extension);
    }
    spec["cluster"] = std::move(about);
  }
  const json info = {
      {"kind", "ExecCredential"}, {"apiVersion", plugin.api_version}, {"spec", std::move(spec)}};
  return info.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string printable(std::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) c = '?';
  }
  return clean;
}

}  // namespace detail
}  // namespace mizzen::kubernetes
