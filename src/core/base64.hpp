// Base64 (RFC 4648).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mizzen::detail {

std::string base64_encode(std::string_view bytes);

// Padded standard alphabet; line breaks are skipped, as Go's decoder does it. Empty for anything
// else.
std::optional<std::string> base64_decode(std::string_view text);

// The URL alphabet without padding, as in a JSON Web Token.
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace mizzen::detail
