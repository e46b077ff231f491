// Talks to an OpenID Connect issuer.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/message.hpp>
#include <mizzen/kubernetes/oidc.hpp>

#include <boost/asio/awaitable.hpp>

#include <string>
#include <string_view>

namespace mizzen::kubernetes::detail {

// "https://issuer/.well-known/openid-configuration".
std::string discovery_url(const oidc_provider& provider);

// token_endpoint of the discovery document. Throws error(unauthenticated), also for an endpoint
// that would get the refresh token without TLS while the issuer has it.
std::string token_endpoint(const http::response& discovery, const oidc_provider& provider);

// A request for new tokens (RFC 6749, section 6). Clients with a secret show it in the
// Authorization header, or in the body for issuers that want it there; a public client only says
// its name.
http::request refresh_request(const std::string& endpoint, const oidc_provider& provider,
                              bool secret_in_body);

// The provider with the new tokens. Throws error(unauthenticated) with the issuer's own words.
oidc_provider refreshed(const http::response& answer, oidc_provider provider);

// All of these in turn.
boost::asio::awaitable<oidc_provider> refresh_tokens(http::client& client, oidc_provider provider,
                                                     cancellation cancel);

}  // namespace mizzen::kubernetes::detail
