// Files of runs and models, on the local file system.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// Writes a file so that it appears whole or not at all: into a temporary file beside it, which is
// then renamed. Makes the folders above it. Throws permission_denied, resource_exhausted (disk
// full), failed_precondition (a folder is in the way) or unavailable, naming the file.
void write_file(const std::filesystem::path& target, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& target, std::string_view text);

// The file itself, or all files in a folder and below it. Throws what copy_tree throws.
std::vector<std::filesystem::path> files_of(const std::filesystem::path& source);

// Copies a file, or a folder with all files in it, to target, each file as write_file does. Throws
// not_found if there is no source. Special files (sockets, devices) and links to folders are
// refused.
void copy_tree(const std::filesystem::path& source, const std::filesystem::path& target);

// The direct entries of root/path by name; empty if there is no such folder.
std::vector<artifact_info> list_folder(const std::filesystem::path& root, std::string_view path);

}  // namespace mizzen::tracking::detail
