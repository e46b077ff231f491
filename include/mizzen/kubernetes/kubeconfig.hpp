// The kubeconfig file format, as it is written. Most programs need config.hpp only; this is for
// those that list or choose contexts.
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/config.hpp>

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// clusters[].cluster. Source: k8s.io/client-go/tools/clientcmd/api/v1.
struct kubeconfig_cluster {
  std::string server = {};
  std::string tls_server_name = {};
  bool insecure_skip_tls_verify = false;
  std::filesystem::path certificate_authority = {};
  std::string certificate_authority_data = {};  // decoded
  std::string proxy_url = {};
  bool disable_compression = false;
  std::map<std::string, json> extensions = {};
  // The file, and the place in it: what errors name.
  std::string origin = {};
};

// users[].user.auth-provider: superseded by exec plugins; only "oidc" is still served.
struct kubeconfig_auth_provider {
  std::string name = {};
  std::map<std::string, std::string> config = {};
};

// users[].user.
struct kubeconfig_user {
  std::filesystem::path client_certificate = {};
  std::string client_certificate_data = {};  // decoded
  std::filesystem::path client_key = {};
  std::string client_key_data = {};  // decoded
  std::string token = {};
  std::filesystem::path token_file = {};
  impersonation impersonate = {};
  std::string username = {};
  std::string password = {};
  std::optional<kubeconfig_auth_provider> auth_provider = {};
  std::optional<exec_plugin> exec = {};
  std::map<std::string, json> extensions = {};
  std::string origin = {};
};

// contexts[].context.
struct kubeconfig_context {
  std::string cluster = {};
  std::string user = {};
  std::string namespace_ = {};
  std::map<std::string, json> extensions = {};
  std::string origin = {};
};

// One kubeconfig, or several merged. Unknown fields are ignored, as kubectl does.
struct kubeconfig {
  std::string current_context = {};
  std::map<std::string, kubeconfig_cluster> clusters = {};
  std::map<std::string, kubeconfig_user> users = {};
  std::map<std::string, kubeconfig_context> contexts = {};
  std::map<std::string, json> extensions = {};

  // What is odd but no error: a key that is there twice, a file that others can read.
  std::vector<std::string> warnings = {};

  // Files that were looked for, and those of them that were there.
  std::vector<std::filesystem::path> searched = {};
  std::vector<std::filesystem::path> found = {};

  // Bounds on what is read, far above what kubectl meets: bytes of a file, depth of nesting, and
  // values after its aliases are written out (an alias bomb is small before).
  static constexpr std::size_t max_bytes = std::size_t{16} << 20;
  static constexpr std::size_t max_depth = 64;
  static constexpr std::size_t max_values = 1'000'000;

  // YAML or JSON. `origin` names the text in errors; relative paths become relative to `folder`,
  // or stay as they are when it is empty. Throws error(invalid_argument) whose subject is origin
  // and field ("/home/me/.kube/config: users[3].user.exec.command"), or resource_exhausted.
  static kubeconfig parse(std::string_view text, std::string_view origin = "kubeconfig",
                          const std::filesystem::path& folder = {});

  // Reads and merges files with the rules of kubectl: whole entries, and of two entries of a name
  // the one of the earlier file; missing files are left out. Errors as of parse, and unavailable
  // for a file that cannot be read.
  static kubeconfig load(std::span<const std::filesystem::path> files);

  // The files that kubectl would read: those of KUBECONFIG, else ~/.kube/config.
  static std::vector<std::filesystem::path> default_files(const environment& from = {});

  // Adds what `later` has and this has not.
  void merge(kubeconfig later);
};

}  // namespace mizzen::kubernetes
