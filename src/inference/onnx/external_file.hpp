// Files beside a model, opened so that no name in the model leads out of the model's folder.
#pragma once

#include "core/descriptor.hpp"

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace mizzen::inference::detail {

// How a path is confined: by the kernel as a whole (openat2, from Linux 5.6 on, unless a sandbox
// forbids it), or one component at a time.
enum class confinement { best, by_component };

// A regular file below a folder, for reading, and its size.
struct external_file {
  mizzen::detail::descriptor file;
  std::uint64_t size = 0;
};

// Opens the file that a model calls `location`: a relative path with no "..", on which nothing is a
// symbolic link. Throws error naming the subject: permission_denied for what leads elsewhere, a
// link, or an address in the memory of the program that wrote the model; not_found;
// invalid_argument for what is no regular file.
external_file open_below(const std::filesystem::path& folder, std::string_view location,
                         std::string_view subject, confinement how = confinement::best);

}  // namespace mizzen::inference::detail
