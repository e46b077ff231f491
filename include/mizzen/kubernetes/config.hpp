// Which cluster to talk to, and as whom: one value, read from kubeconfig files or from inside a
// pod.
#pragma once

#include <mizzen/core/log.hpp>
#include <mizzen/kubernetes/exec_credential.hpp>
#include <mizzen/kubernetes/oidc.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

struct kubeconfig;

// Reads an environment variable; empty when it is not set. An empty function means the process's
// own environment.
using environment = std::function<std::optional<std::string>(const std::string& name)>;

// How a config is chosen and where it is looked for. Source: client-go, tools/clientcmd.
struct load_options {
  // Entries of the kubeconfig to use instead of the current context and of what the context names.
  std::string context = {};
  std::string cluster = {};
  std::string user = {};
  // Instead of the context's namespace.
  std::string namespace_ = {};

  // For tests: another environment, and another folder than "/" above
  // var/run/secrets/kubernetes.io/serviceaccount.
  kubernetes::environment environment = {};
  std::filesystem::path root = "/";

  // Hears warnings: a kubeconfig that others can read, a key that is there twice, all files
  // missing.
  logger log = {};
};

// Act as somebody else; the server asks whether the caller may. Source: Kubernetes documentation,
// "User impersonation".
struct impersonation {
  std::string user = {};  // empty: no impersonation
  std::string uid = {};
  std::vector<std::string> groups = {};
  std::map<std::string, std::vector<std::string>> extra = {};
};

// Who the caller is. When several are given, the order of client-go holds: a token (of token_file
// before `token`) or a password first, then an exec plugin, then OIDC; a client certificate
// besides.
struct credentials {
  std::string token = {};
  std::filesystem::path token_file = {};  // read again as it changes

  std::string username = {};
  std::string password = {};

  // The client certificate (chain) and its key in PEM, or files of them, which are read again as
  // they change. Inline PEM wins over the file.
  std::string certificate_pem = {};
  std::filesystem::path certificate_file = {};
  std::string key_pem = {};
  std::filesystem::path key_file = {};

  std::optional<exec_plugin> exec = {};
  std::optional<oidc_provider> oidc = {};
};

// A plain value; made by one of the functions below, or filled in by hand. It holds secrets: do not
// log it.
struct config {
  // "https://host:port" or "https://host:port/prefix", without a slash at the end.
  std::string server = {};

  // Where operations go that name no namespace.
  std::string default_namespace = "default";

  // Authorities that sign the server's certificate, in PEM, or a file of them, which is read again
  // as it changes. Inline PEM wins. Neither: the system's store.
  std::string ca_pem = {};
  std::filesystem::path ca_file = {};
  // The name to ask for and to verify instead of the URL's host.
  std::string tls_server_name = {};
  // True accepts any certificate: anyone on the path can read and change everything. The
  // authenticator logs a warning.
  bool insecure_skip_tls_verify = false;

  // "http://…", "https://…" or "socks5://…", perhaps with user:password@; empty: a direct
  // connection. Filled from the kubeconfig's proxy-url, else from HTTPS_PROXY, HTTP_PROXY and
  // NO_PROXY.
  std::string proxy = {};

  // False asks the server not to compress its answers.
  bool compression = true;

  kubernetes::credentials user = {};
  kubernetes::impersonation impersonate = {};

  // Handed to an exec plugin that asks for cluster information: the JSON of the cluster's extension
  // "client.authentication.k8s.io/exec"; empty when there is none.
  std::string exec_extension = {};

  // Where it came from, for messages: "context 'dev' of /home/me/.kube/config", "in-cluster".
  std::string origin = {};

  // As kubectl and client-go find it: the files of KUBECONFIG, merged; else ~/.kube/config; when
  // these hold nothing usable, the service account of the pod that this process runs in.
  // Throws error:
  //   not_found         nothing of that is there; the message says where it looked
  //   invalid_argument  a file is damaged or contradicts itself; the subject names file and field
  static config from_environment(const load_options& options = {});

  // One file, which must exist.
  static config from_file(const std::filesystem::path& file, const load_options& options = {});

  // The text of a kubeconfig, YAML or JSON. Relative paths in it are relative to the current
  // folder.
  static config from_text(std::string_view text, const load_options& options = {});

  // What from_environment and from_file make of files: the chosen context, cluster and user.
  static config from_kubeconfig(const kubeconfig& from, const load_options& options = {});

  // The service account of this process's pod. Throws error(not_found) outside of a cluster.
  static config in_cluster(const load_options& options = {});
};

// The proxy for a URL by the rules of Go's net/http (golang.org/x/net/http/httpproxy): HTTPS_PROXY
// or HTTP_PROXY by the URL's scheme, NO_PROXY with names, suffixes, addresses, CIDR blocks and
// ports, upper case before lower case, never for loopback. Empty: none. Throws
// error(invalid_argument) naming the variable for a proxy that is no URL.
std::string proxy_from_environment(std::string_view url, const environment& from = {});

}  // namespace mizzen::kubernetes
