// Opens the places that artifact locations name.
#pragma once

#include "tracking/artifact_repository.hpp"

#include <mizzen/core/log.hpp>

#include <memory>
#include <mutex>
#include <string_view>

namespace mizzen::tracking::detail {

class s3_service;

// What a client has of them: connections to object stores are kept for the next call. Thread safe.
class artifact_stores {
 public:
  explicit artifact_stores(logger log);
  ~artifact_stores();

  // A folder (a path, file:) or an object store (s3:, where the library has HTTP), set up by the
  // environment when the first location in one is opened. Throws error(unimplemented) for any other
  // location, and what resolve_s3_settings does.
  std::shared_ptr<artifact_repository> open(std::string_view location);

  // Ends calls of object stores, and all later ones, with error(cancelled).
  void interrupt() noexcept;

 private:
  const logger log_;
  std::mutex mutex_;
  bool interrupted_ = false;
  std::shared_ptr<s3_service> s3_;
};

}  // namespace mizzen::tracking::detail
