#include "tracking/artifact_stores.hpp"

#ifdef MIZZEN_TRACKING_HTTP
#include "tracking/s3_repository.hpp"
#endif

#include <utility>

namespace mizzen::tracking::detail {

artifact_stores::artifact_stores(logger log) : log_(std::move(log)) {}
artifact_stores::~artifact_stores() = default;

#ifdef MIZZEN_TRACKING_HTTP

std::shared_ptr<artifact_repository> artifact_stores::open(std::string_view location) {
  if (!location.starts_with("s3:")) return file_repository(location);
  const environment env = process_environment();
  const std::scoped_lock lock(mutex_);
  if (!s3_) {
    s3_ = open_s3(resolve_s3_settings(env), log_);
    if (interrupted_) detail::interrupt(*s3_);
  }
  return s3_repository(s3_, location, resolve_multipart_settings(env));
}

void artifact_stores::interrupt() noexcept {
  const std::scoped_lock lock(mutex_);
  interrupted_ = true;
  if (s3_) detail::interrupt(*s3_);
}

#else

std::shared_ptr<artifact_repository> artifact_stores::open(std::string_view location) {
  return file_repository(location);
}

void artifact_stores::interrupt() noexcept { interrupted_ = true; }

#endif

}  // namespace mizzen::tracking::detail
