// Files by descriptor, and what their errors mean.
#pragma once

#include "core/descriptor.hpp"

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <span>

namespace mizzen::tracking::detail {

using mizzen::detail::descriptor;
using mizzen::detail::throw_errno;
using mizzen::detail::write_all;
using mizzen::detail::write_all_at;

// Throws what an errno of an artifact's file means (errc_of_errno), and what mends it.
[[noreturn]] void fail_on(const std::filesystem::path& path, int code);

void make_folders(const std::filesystem::path& folder);

// These throw as fail_on() does, which is what the path is for.
descriptor open_file(const std::filesystem::path& path, int flags, mode_t mode = 0);
void write_all(const descriptor& to, std::span<const std::byte> bytes,
               const std::filesystem::path& path);
void close_file(descriptor& file, const std::filesystem::path& path);

}  // namespace mizzen::tracking::detail
