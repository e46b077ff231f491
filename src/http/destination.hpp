// Where a request goes, and what its head looks like on the wire.
#pragma once

#include <mizzen/http/message.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace mizzen::http::detail {

struct destination {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string authority;  // the Host field
  std::string target;

  std::string origin() const { return (tls ? "https://" : "http://") + host + " " + port; }
};

// Throws error(invalid_argument) with the subject. ws and wss count as http and https.
destination parse_destination(const std::string& url, const std::string& subject);

// Refuses what the client writes itself, and methods that it cannot send.
void check_request(const request& what, const std::string& subject);

// How long a body is; nothing: it goes in chunks.
using body_size = std::optional<std::uint64_t>;

// The head of a request. extra: fields of the client's own, already checked; through_proxy: in
// absolute form.
std::string request_head(const request& what, body_size body, const destination& to,
                         const headers& defaults, const headers& extra, bool through_proxy);

}  // namespace mizzen::http::detail
