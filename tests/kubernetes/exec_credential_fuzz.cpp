// What plugins print and issuers answer, from untrusted bytes: a credential or an error.
#include "kubernetes/oidc.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/exec_credential.hpp>
#include <mizzen/kubernetes/oidc.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mizzen;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto attempt = [](auto what) {
    try {
      what();
    } catch (const error&) {
    }
  };
  attempt([&] { kubernetes::parse_exec_credential(text, "client.authentication.k8s.io/v1"); });
  attempt([&] { kubernetes::jwt_expiry(text); });
  http::response answer;
  answer.body = std::string(text);
  attempt([&] { kubernetes::detail::token_endpoint(answer, {.issuer_url = "https://i"}); });
  attempt([&] { kubernetes::detail::refreshed(answer, {.issuer_url = "https://i"}); });
  return 0;
}
