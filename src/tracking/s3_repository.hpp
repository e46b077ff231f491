// Artifacts in object stores that speak S3: locations s3://bucket/prefix.
#pragma once

#include "tracking/artifact_repository.hpp"
#include "tracking/rest_artifacts.hpp"
#include "tracking/s3_settings.hpp"

#include <mizzen/core/log.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// The connection to a store, with the means to sign. Thread safe, as its connection is.
class s3_service;
std::shared_ptr<s3_service> open_s3(s3_settings settings, const logger& log);

// Ends what is under way, and all later calls, with error(cancelled).
void interrupt(s3_service& which) noexcept;

// The repository of a location. Every body that is sent is signed and has a checksum that the store
// verifies and keeps; on the way back the checksum is verified here, where the store has one.
// Files are sent and fetched piece by piece; those of `least` bytes and more go in parts of `part`
// (5 MiB at least, as S3 wants it). Throws error(invalid_argument).
std::shared_ptr<artifact_repository> s3_repository(std::shared_ptr<s3_service> service,
                                                   std::string_view location,
                                                   const multipart_settings& multipart);

}  // namespace mizzen::tracking::detail
