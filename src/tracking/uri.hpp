// Tracking URIs and artifact locations.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// The URI itself or, when it is empty, the environment's MLFLOW_TRACKING_URI or, without one,
// sqlite:///mlflow.db.
std::string tracking_uri(std::string_view uri);

// Whether a URI is that of a tracking server: http:// or https://.
bool is_server_uri(std::string_view uri) noexcept;

// The file of an embedded store, absolute. An empty uri means tracking_uri(uri). Throws
// invalid_argument or unimplemented (see client_options::uri).
std::filesystem::path store_path(std::string_view uri);

// "sqlite:////absolute/path", as MLflow takes it.
std::string store_uri(const std::filesystem::path& path);

// What goes into the column artifact_location for a folder or URI that a user named: a local one
// made absolute, any other as it is. Throws invalid_argument.
std::string resolve_artifact_location(std::string_view location);

// The local folder of an artifact location, or nothing when it is not on this file system.
std::optional<std::filesystem::path> local_folder(std::string_view location);

// location/part, where location may be a path or a URI.
std::string append_location(std::string_view location, std::string_view part);

}  // namespace mizzen::tracking::detail
