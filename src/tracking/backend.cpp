#include "tracking/backend.hpp"

#include "tracking/store.hpp"
#include "tracking/uri.hpp"

#ifdef MIZZEN_TRACKING_HTTP
#include "tracking/rest_backend.hpp"
#endif

namespace mizzen::tracking::detail {

std::shared_ptr<backend> open_backend(const client_options& options) {
#ifdef MIZZEN_TRACKING_HTTP
  const std::string uri = tracking_uri(options.uri);
  if (is_server_uri(uri)) {
    return std::make_shared<rest_backend>(
        resolve_rest_settings(uri, options.server, process_environment()), options);
  }
#endif
  return std::make_shared<store>(options);
}

}  // namespace mizzen::tracking::detail
