// Credential plugins: programs that print a credential (aws eks get-token, gke-gcloud-auth-plugin,
// kubelogin …), and the format that they speak: client.authentication.k8s.io/v1 and v1beta1.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// Whether a plugin may read from this process's standard input.
enum class interactive_mode {
  never,
  if_available,  // when standard input is a terminal
  always,        // an error when it is not
};

// users[].user.exec of a kubeconfig. The plugin is started directly, never through a shell.
struct exec_plugin {
  // A path, or a name that is looked for in PATH.
  std::string command = {};
  std::vector<std::string> arguments = {};
  // Added to this process's environment.
  std::vector<std::pair<std::string, std::string>> environment = {};
  // "client.authentication.k8s.io/v1" or "…/v1beta1".
  std::string api_version = "client.authentication.k8s.io/v1";
  // Shown when the command is not there.
  std::string install_hint = {};
  // Tell the plugin about the cluster (its URL, authorities …) in KUBERNETES_EXEC_INFO.
  bool provide_cluster_info = false;
  // A v1 plugin in a kubeconfig must say it; without one, v1beta1 means if_available.
  std::optional<interactive_mode> interactive = interactive_mode::if_available;
};

// What a plugin hands out: a token, a client certificate with its key (PEM), or both.
struct exec_credential {
  std::string token = {};
  std::string certificate_pem = {};
  std::string key_pem = {};
  // Without one it holds until the server refuses it.
  std::optional<std::chrono::system_clock::time_point> expires = {};
};

// Reads what a plugin printed. Throws error(invalid_argument) with the field as subject when it is
// not an ExecCredential of that api_version with a usable status; the text itself, which may hold
// secrets, is never quoted.
exec_credential parse_exec_credential(std::string_view printed, std::string_view api_version);

}  // namespace mizzen::kubernetes
