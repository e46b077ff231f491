// What a status of HTTP means among Mizzen's errors.
#pragma once

#include <mizzen/core/error.hpp>

namespace mizzen::http {

// The errc nearest to a status that is no success, where the protocol spoken says nothing better:
// 404 is not_found, 503 unavailable; 500 and what is in no registry are unknown (RFC 9110, section
// 15).
errc errc_of_status(int status) noexcept;

}  // namespace mizzen::http
