#include <mizzen/http/status.hpp>

namespace mizzen::http {

errc errc_of_status(int status) noexcept {
  switch (status) {
    case 400:
      return errc::invalid_argument;
    case 401:
      return errc::unauthenticated;
    case 403:
      return errc::permission_denied;
    case 404:
      return errc::not_found;
    case 405:
    case 501:
      return errc::unimplemented;
    case 408:
    case 504:
      return errc::deadline_exceeded;
    case 409:
      return errc::aborted;
    case 413:
    case 429:
      return errc::resource_exhausted;
    case 502:
    case 503:
      return errc::unavailable;
    default:
      return errc::unknown;
  }
}

}  // namespace mizzen::http
