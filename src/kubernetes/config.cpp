#include "core/base64.hpp"
#include "kubernetes/files.hpp"
#include "kubernetes/proxy.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/config.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace fs = std::filesystem;
using namespace detail;

constexpr std::string_view exec_extension_name = "client.authentication.k8s.io/exec";
constexpr std::size_t max_small_file = std::size_t{1} << 20;

[[noreturn]] void fail(const std::string& subject, std::string_view why,
                       errc code = errc::invalid_argument) {
  throw error(code, subject, why);
}

template <typename T>
std::string names_of(const std::map<std::string, T>& map) {
  std::string list;
  for (const auto& [name, value] : map) {
    if (list.size() > 200) return list + ", …";
    if (!list.empty()) list += ", ";
    list += "'" + name + "'";
  }
  return list.empty() ? "there are none" : "there are " + list;
}

template <typename T>
const T& find(const std::map<std::string, T>& map, const std::string& name, const char* what,
              const std::string& named_by) {
  const auto found = map.find(name);
  if (found == map.end()) {
    fail(named_by, std::string(what) + " '" + name + "' does not exist; " + names_of(map),
         errc::not_found);
  }
  return found->second;
}

// "https://host:port/prefix": absolute, with nothing behind the path, without a slash at its end.
std::string normal_server(const std::string& server, bool tls_configured,
                          const std::string& subject) {
  std::string text = server;
  // Like client-go: a bare host is http, unless something says that TLS is meant.
  if (text.find("://") == std::string::npos) {
    text.insert(0, tls_configured ? "https://" : "http://");
  }
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed) fail(subject, "is not a URL, as in https://host:6443");
  boost::urls::url url(*parsed);
  url.normalize_scheme();
  if (url.scheme() != "http" && url.scheme() != "https") {
    fail(subject, "must begin with https:// or http://");
  }
  if (url.encoded_host().empty()) fail(subject, "names no host");
  if (url.has_userinfo()) {
    fail(subject, "must not hold a user and password; give them in the user's entry");
  }
  url.remove_query();
  url.remove_fragment();
  std::string result(url.buffer());
  while (result.ends_with('/')) result.pop_back();
  return result;
}

void check_user(const kubeconfig_user& user) {
  const std::string& at = user.origin;
  const bool basic = !user.username.empty() || !user.password.empty();
  if (!user.token.empty() && basic) {
    fail(at, "holds both a token and a username; remove one of them");
  }
  if (!user.client_certificate.empty() && !user.client_certificate_data.empty()) {
    fail(at, "holds both client-certificate and client-certificate-data; remove one of them");
  }
  const bool certificate =
      !user.client_certificate.empty() || !user.client_certificate_data.empty();
  const bool key = !user.client_key.empty() || !user.client_key_data.empty();
  if (certificate && !user.client_key.empty() && !user.client_key_data.empty()) {
    fail(at, "holds both client-key and client-key-data; remove one of them");
  }
  if (certificate && !key) fail(at, "holds a client certificate, but no client-key(-data)");
  const impersonation& as = user.impersonate;
  if (as.user.empty() && (!as.uid.empty() || !as.groups.empty() || !as.extra.empty())) {
    fail(at, "as-uid, as-groups and as-user-extra need `as`");
  }
  if (user.exec && user.auth_provider) {
    fail(at, "holds both exec and auth-provider; remove one of them");
  }
}

void check_exec(const exec_plugin& plugin, const std::string& user) {
  const std::string at = user + ".exec";
  if (plugin.command.empty()) fail(at + ".command", "is missing");
  if (plugin.api_version.empty()) {
    fail(at + ".apiVersion", "is missing; plugins of today speak client.authentication.k8s.io/v1");
  }
  if (plugin.api_version == "client.authentication.k8s.io/v1alpha1") {
    fail(at + ".apiVersion",
         "v1alpha1 is gone since Kubernetes 1.24: write the entry anew with a current version of "
         "the provider's tool (`aws eks update-kubeconfig`, `gcloud container clusters "
         "get-credentials`, `kubelogin convert-kubeconfig`)");
  }
  if (plugin.api_version != "client.authentication.k8s.io/v1" &&
      plugin.api_version != "client.authentication.k8s.io/v1beta1") {
    fail(at + ".apiVersion", "is '" + plugin.api_version +
                                 "', but must be client.authentication.k8s.io/v1 or /v1beta1");
  }
  if (!plugin.interactive && plugin.api_version == "client.authentication.k8s.io/v1") {
    fail(at + ".interactiveMode", "is missing: Never, IfAvailable or Always");
  }
  for (const auto& [name, value] : plugin.environment) {
    if (name.empty()) fail(at + ".env", "an entry has no name");
  }
}

oidc_provider to_oidc(const kubeconfig_auth_provider& from, const std::string& user) {
  const std::string at = user + ".auth-provider";
  if (from.name == "gcp") {
    fail(at,
         "'gcp' is gone since Kubernetes 1.26: install gke-gcloud-auth-plugin and run `gcloud "
         "container clusters get-credentials`, which writes an exec entry instead",
         errc::unimplemented);
  }
  if (from.name == "azure") {
    fail(at,
         "'azure' is gone since Kubernetes 1.26: install kubelogin and run `kubelogin "
         "convert-kubeconfig`, which writes an exec entry instead",
         errc::unimplemented);
  }
  if (from.name != "oidc") {
    fail(at, "'" + from.name + "' is not known; use an exec plugin (users[].user.exec)",
         errc::unimplemented);
  }
  const auto field = [&](const char* name) {
    const auto found = from.config.find(name);
    return found == from.config.end() ? std::string() : found->second;
  };
  oidc_provider into{.issuer_url = field("idp-issuer-url"),
                     .client_id = field("client-id"),
                     .client_secret = field("client-secret"),
                     .id_token = field("id-token"),
                     .refresh_token = field("refresh-token"),
                     .ca_file = field("idp-certificate-authority")};
  if (into.issuer_url.empty()) fail(at + ".config.idp-issuer-url", "is missing");
  if (into.client_id.empty()) fail(at + ".config.client-id", "is missing");
  const auto ca = mizzen::detail::base64_decode(field("idp-certificate-authority-data"));
  if (!ca) fail(at + ".config.idp-certificate-authority-data", "is not base64");
  into.ca_pem = *ca;
  return into;
}

credentials to_credentials(const kubeconfig_user& from) {
  check_user(from);
  credentials into{.token = from.token,
                   .token_file = from.token_file,
                   .username = from.username,
                   .password = from.password,
                   .certificate_pem = from.client_certificate_data,
                   .certificate_file = from.client_certificate,
                   .key_pem = from.client_key_data,
                   .key_file = from.client_key};
  if (from.exec) {
    check_exec(*from.exec, from.origin);
    into.exec = from.exec;
    if (!into.exec->interactive) into.exec->interactive = interactive_mode::if_available;
  }
  if (from.auth_provider) into.oidc = to_oidc(*from.auth_provider, from.origin);
  return into;
}

fs::path service_account_folder(const load_options& options) {
  return options.root / "var/run/secrets/kubernetes.io/serviceaccount";
}

bool is_in_cluster(const load_options& options) {
  const auto set = [&](const char* name) {
    return !read_variable(options.environment, name).value_or("").empty();
  };
  std::error_code ec;
  return set("KUBERNETES_SERVICE_HOST") && set("KUBERNETES_SERVICE_PORT") &&
         fs::exists(service_account_folder(options) / "token", ec);
}

void warn(const load_options& options, const std::vector<std::string>& warnings) {
  for (const std::string& each : warnings) {
    options.log.log(log_level::warning, "kubernetes", "kubeconfig", {{"warning", each}});
  }
}

std::string joined(const std::vector<fs::path>& files) {
  std::string list;
  for (const fs::path& each : files) {
    if (!list.empty()) list += ", ";
    list += each.string();
  }
  return list;
}

// Says nothing about where to connect to: then it is the turn of the pod's service account.
bool is_silent(const kubeconfig& from, const load_options& options) {
  return from.current_context.empty() && options.context.empty() && options.cluster.empty();
}

}  // namespace

config config::from_kubeconfig(const kubeconfig& from, const load_options& options) {
  const std::string files = from.found.empty() ? "kubeconfig" : joined(from.found);
  const std::string name = options.context.empty() ? from.current_context : options.context;
  kubeconfig_context context;
  if (!name.empty()) {
    context = find(from.contexts, name, "context",
                   options.context.empty() ? files + ": current-context" : files);
  } else if (options.cluster.empty()) {
    fail(files, "no current-context; choose one (load_options.context): " + names_of(from.contexts),
         errc::not_found);
  }
  if (!options.cluster.empty()) context.cluster = options.cluster;
  if (!options.user.empty()) context.user = options.user;
  if (!options.namespace_.empty()) context.namespace_ = options.namespace_;

  const std::string at = context.origin.empty() ? files : context.origin;
  if (context.cluster.empty()) fail(at + ".cluster", "is missing");
  const kubeconfig_cluster& cluster =
      find(from.clusters, context.cluster, "cluster", options.cluster.empty() ? at : files);
  kubeconfig_user nobody;
  nobody.origin = at + ".user";
  const kubeconfig_user& user = context.user.empty() ? nobody
                                                     : find(from.users, context.user, "user",
                                                            options.user.empty() ? at : files);

  if (cluster.server.empty()) fail(cluster.origin + ".server", "is missing");
  if (!cluster.certificate_authority.empty() && !cluster.certificate_authority_data.empty()) {
    fail(cluster.origin,
         "holds both certificate-authority and certificate-authority-data; remove one of them");
  }
  const bool authority =
      !cluster.certificate_authority.empty() || !cluster.certificate_authority_data.empty();
  if (cluster.insecure_skip_tls_verify && authority) {
    fail(cluster.origin + ".insecure-skip-tls-verify",
         "makes the certificate-authority worthless; remove one of them");
  }

  config into{.ca_pem = cluster.certificate_authority_data,
              .ca_file = cluster.certificate_authority,
              .tls_server_name = cluster.tls_server_name,
              .insecure_skip_tls_verify = cluster.insecure_skip_tls_verify,
              .compression = !cluster.disable_compression,
              .user = to_credentials(user),
              .impersonate = user.impersonate,
              .origin = name.empty() ? files : "context '" + name + "' of " + files};
  const bool certificate =
      !into.user.certificate_pem.empty() || !into.user.certificate_file.empty();
  into.server =
      normal_server(cluster.server, authority || certificate || cluster.insecure_skip_tls_verify,
                    cluster.origin + ".server");
  into.default_namespace = context.namespace_.empty() ? "default" : context.namespace_;
  into.proxy = cluster.proxy_url.empty()
                   ? proxy_from_environment(into.server, options.environment)
                   : checked_proxy(cluster.proxy_url, cluster.origin + ".proxy-url");
  if (const auto extension = cluster.extensions.find(std::string(exec_extension_name));
      extension != cluster.extensions.end()) {
    into.exec_extension = extension->second.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return into;
}

config config::from_environment(const load_options& options) {
  const kubeconfig merged = kubeconfig::load(kubeconfig::default_files(options.environment));
  warn(options, merged.warnings);
  if (is_silent(merged, options)) {
    if (is_in_cluster(options)) return in_cluster(options);
    if (merged.found.empty()) {
      const std::string looked = joined(merged.searched);
      fail("kubeconfig",
           (looked.empty() ? std::string("neither KUBECONFIG nor HOME is set")
                           : "none of these files is there: " + looked) +
               "; nor does this process run in a pod (KUBERNETES_SERVICE_HOST, service account)",
           errc::not_found);
    }
  }
  return from_kubeconfig(merged, options);
}

config config::from_file(const fs::path& file, const load_options& options) {
  const kubeconfig read = kubeconfig::load(std::array{file});
  if (read.found.empty()) fail(file.string(), "there is no such file", errc::not_found);
  warn(options, read.warnings);
  return from_kubeconfig(read, options);
}

config config::from_text(std::string_view text, const load_options& options) {
  const kubeconfig read = kubeconfig::parse(text);
  warn(options, read.warnings);
  return from_kubeconfig(read, options);
}

config config::in_cluster(const load_options& options) {
  const auto variable = [&](const char* name) {
    const std::string value = trimmed(read_variable(options.environment, name).value_or(""));
    if (value.empty()) {
      fail("in-cluster configuration",
           std::string(name) + " is not set: this process does not run in a pod", errc::not_found);
    }
    return value;
  };
  std::string host = variable("KUBERNETES_SERVICE_HOST");
  const std::string port = variable("KUBERNETES_SERVICE_PORT");
  if (host.find(':') != std::string::npos && host.front() != '[') host = "[" + host + "]";

  const fs::path folder = service_account_folder(options);
  std::error_code ec;
  if (!fs::exists(folder / "token", ec)) {
    fail(
        (folder / "token").string(),
        "is not there: the pod has no service account token (automountServiceAccountToken: false?)",
        errc::not_found);
  }
  config into{.server = normal_server("https://" + host + ":" + port, true,
                                      "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT"),
              .origin = "in-cluster"};
  into.user.token_file = folder / "token";
  if (fs::exists(folder / "ca.crt", ec)) {
    into.ca_file = folder / "ca.crt";
  } else {
    options.log.log(log_level::warning, "kubernetes",
                    "no authority beside the service account's token; the system's are trusted",
                    {{"file", (folder / "ca.crt").string()}});
  }
  into.proxy = proxy_from_environment(into.server, options.environment);

  if (!options.namespace_.empty()) {
    into.default_namespace = options.namespace_;
  } else if (const auto given = read_variable(options.environment, "POD_NAMESPACE").value_or("");
             !given.empty()) {
    into.default_namespace = given;
  } else if (const auto content = read_file(folder / "namespace", max_small_file)) {
    if (const std::string name = trimmed(content->text); !name.empty()) {
      into.default_namespace = name;
    }
  }
  return into;
}

}  // namespace mizzen::kubernetes
