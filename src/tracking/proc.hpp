// What the kernel tells in files: /proc and the cgroups. Every path is below a root, which is "/"
// but in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// The first `most` bytes of a file, or nothing if it cannot be read.
std::optional<std::string> read_text(const std::filesystem::path& file,
                                     std::size_t most = 1U << 20);

// Takes the next line off a text, without its end.
std::string_view take_line(std::string_view& text);
std::string_view trimmed(std::string_view text);

// A decimal number that is the whole text, but for blanks around it.
std::optional<std::uint64_t> parse_number(std::string_view text);

// The number after "Key:" in a text such as /proc/meminfo, in bytes where it is followed by kB.
std::optional<std::uint64_t> field_of(std::string_view text, std::string_view key);

// Limits and use of the control group of this process, version 1 or 2; limits are the least of the
// group and all that it is in.
struct cgroup_state {
  std::optional<double> cpu_limit = {};  // cores
  std::optional<std::uint64_t> memory_limit = {};
  std::optional<std::uint64_t> memory_used = {};            // without what is only cached files
  std::optional<std::uint64_t> cpu_used_microseconds = {};  // since the group was made
};
cgroup_state read_cgroup(const std::filesystem::path& root);

}  // namespace mizzen::tracking::detail
