// Where the files of a run or a model are kept: a folder, or a server.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// Files below one location, by paths relative to it ('/' between parts), which the caller has
// checked (check_artifact_path). Thread safe. A file appears whole or not at all.
class artifact_repository {
 public:
  artifact_repository() = default;
  artifact_repository(const artifact_repository&) = delete;
  artifact_repository& operator=(const artifact_repository&) = delete;
  virtual ~artifact_repository() = default;

  // Replaces what is there.
  virtual void put_bytes(std::span<const std::byte> bytes, std::string_view path) = 0;
  virtual void put_file(const std::filesystem::path& local, std::string_view path) = 0;

  // The direct entries of a folder, by name; empty if there is no such folder.
  virtual std::vector<artifact_info> list(std::string_view path) = 0;

  // Writes one file to target. Throws not_found.
  virtual void fetch_file(std::string_view path, const std::filesystem::path& target) = 0;
  // The bytes of one file, at most `most` of them: else error(resource_exhausted).
  virtual std::string read(std::string_view path, std::size_t most) = 0;

  // Removes a file, or a folder with all that is in it; none is fine.
  virtual void remove(std::string_view path) = 0;

  // The folder when it is on this file system.
  virtual std::optional<std::filesystem::path> folder() const { return std::nullopt; }
};

// A file, or a folder with all files in it. Special files (sockets, devices) and links to folders
// are refused, before anything is written.
void put_tree(artifact_repository& into, const std::filesystem::path& source,
              std::string_view path);

// All files in a folder and below it, folder by folder. Throws data_loss for a listing that leads
// out of the folder or goes on for ever.
void visit_files(artifact_repository& of, std::string_view path,
                 const std::function<void(const artifact_info&)>& visit);

// A file, or a folder with all that is below it (path "": all), to target. Throws not_found where
// there is nothing; data_loss for a listing that leads out of the folder or goes on for ever.
void fetch_tree(artifact_repository& from, std::string_view path,
                const std::filesystem::path& target);

// As fetch_tree, under its own name in a folder, which is where it then is; path "": into the
// folder itself. Checks the path.
std::filesystem::path fetch_into(artifact_repository& from, std::string_view path,
                                 const std::filesystem::path& folder);

// The repository of a location on this file system (a path or file: URI). Throws
// error(unimplemented) for any other. See artifact_stores for those.
std::shared_ptr<artifact_repository> file_repository(std::string_view location);

}  // namespace mizzen::tracking::detail
