// Files and folders of a run: digests of content, writing that is whole or not at all.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace mizzen::pipelines::detail {

// SHA-256 of a file's bytes, or of a folder: the sorted relative paths in it with the kind and
// content of each. Symbolic links count by their target's name and are not followed. Throws
// error(not_found) if there is nothing, error(invalid_argument) for sockets and devices,
// error(unavailable) if it cannot be read.
std::string digest_of(const std::filesystem::path& path, const cancellation& cancel);

// Writes a file beside its place and renames it there, replacing what was there.
void write_whole(const std::filesystem::path& path, std::string_view bytes);

// Renames a file or folder to its place, replacing what was there.
void move_whole(const std::filesystem::path& from, const std::filesystem::path& to);

// With errors that name the path. create: makes the parents too.
void create_folder(const std::filesystem::path& path);
void discard(const std::filesystem::path& path) noexcept;

// A name that can be a folder: letters, digits, '-', '_', '.', ' ', starting with a letter or
// digit, at most 128 characters. Throws error(invalid_argument) naming the subject.
void check_name(std::string_view name, std::string_view subject);

}  // namespace mizzen::pipelines::detail
