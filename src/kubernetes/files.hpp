// Small files and environment variables, as configuration reads them.
#pragma once

#include <mizzen/kubernetes/config.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace mizzen::kubernetes::detail {

// An environment variable; empty when it is not set.
std::optional<std::string> read_variable(const environment& from, const std::string& name);

struct file_content {
  std::string text;
  unsigned mode = 0;
};

// The whole file, or nothing when there is none of the name. Throws error(unavailable), or
// resource_exhausted for one that is larger than max_bytes; the subject is the path.
std::optional<file_content> read_file(const std::filesystem::path& file, std::size_t max_bytes);

// Changes whenever the file is written or replaced, also by the switch of a symbolic link above it,
// as the kubelet does it; zero when there is no such file.
struct file_stamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const file_stamp&, const file_stamp&) = default;
};
file_stamp stamp_of(const std::filesystem::path& file) noexcept;

// Without white space at either end.
std::string trimmed(std::string text);

}  // namespace mizzen::kubernetes::detail
