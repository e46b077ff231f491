// The `oidc` auth-provider of kubeconfigs: an ID token, and a refresh token that gets the next one.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::kubernetes {

// Fields of auth-provider.config. Source: k8s.io/client-go/plugin/pkg/client/auth/oidc.
struct oidc_provider {
  std::string issuer_url = {};     // idp-issuer-url
  std::string client_id = {};      // client-id
  std::string client_secret = {};  // client-secret; empty for a public client
  std::string id_token = {};
  std::string refresh_token = {};
  // Authorities of the issuer, in PEM or as a file; neither: the system's store.
  std::string ca_pem = {};
  std::filesystem::path ca_file = {};
};

// The `exp` claim of a JSON Web Token; empty when it has none. The signature is not verified: that
// is the server's part. Throws error(invalid_argument) for what is no JWT; the token is not quoted.
std::optional<std::chrono::system_clock::time_point> jwt_expiry(std::string_view token);

}  // namespace mizzen::kubernetes
