// What a credential plugin is told.
#pragma once

#include <mizzen/kubernetes/config.hpp>
#include <mizzen/kubernetes/exec_credential.hpp>

#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

// The value of KUBERNETES_EXEC_INFO: an ExecCredential whose spec is filled in. ca_pem: the
// authorities of the cluster, read from their file if need be. Throws error(invalid_argument) for
// an extension that is not JSON.
std::string exec_info(const exec_plugin& plugin, const config& cluster, const std::string& ca_pem,
                      bool interactive);

// Without the control characters that could play tricks with a terminal.
std::string printable(std::string_view text);

}  // namespace mizzen::kubernetes::detail
