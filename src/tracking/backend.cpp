#include "tracking/backend.hpp"

#include "tracking/store.hpp"
#include "tracking/uri.hpp"
#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#ifdef MIZZEN_TRACKING_HTTP
#include "tracking/rest_backend.hpp"
#endif

#include <map>

namespace mizzen::tracking::detail {

void backend::log_points(std::span<const logged_point> points) {
  std::map<std::string_view, std::vector<metric>> batches;
  const auto send = [this](std::string_view run_id, std::vector<metric>& batch) {
    log_batch(run_id, batch, {}, {});
    batch.clear();
  };
  for (const logged_point& point : points) {
    auto& batch = batches[point.run_id];
    batch.push_back({std::string(point.key), point.value, point.step, point.timestamp});
    if (batch.size() == limits::metrics_per_batch) send(point.run_id, batch);
  }
  for (auto& [run_id, batch] : batches) {
    if (!batch.empty()) send(run_id, batch);
  }
}

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
