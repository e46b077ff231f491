// Artifacts behind a tracking server: locations mlflow-artifacts:/….
#pragma once

#include "tracking/artifact_repository.hpp"
#include "tracking/rest_connection.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// Beyond `least` bytes, and where the server (or MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD) says that it
// can, a file goes in parts of `part` bytes to the URLs that the server signs.
struct multipart_settings {
  std::uint64_t least = std::uint64_t{500} << 20;  // MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE
  std::uint64_t part = std::uint64_t{10} << 20;    // MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE
  std::optional<bool> enabled = std::nullopt;      // nullopt: ask the server
  // Whether files come from URLs that the server signs (MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD).
  std::optional<bool> downloads_enabled = std::nullopt;
};
multipart_settings resolve_multipart_settings(const environment& env);

// The repository of an mlflow-artifacts: location. One that names a host is asked there, without
// the credentials unless it is the tracking server's own. Throws error(invalid_argument).
//
// Files are sent and fetched piece by piece; no more of one is in memory.
std::shared_ptr<artifact_repository> proxy_repository(std::shared_ptr<rest_connection> server,
                                                      std::string_view location,
                                                      const multipart_settings& multipart);

}  // namespace mizzen::tracking::detail
