// Files by descriptor, and what their errors mean.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <span>

namespace mizzen::tracking::detail {

// Throws what an errno on an artifact's file means: permission_denied, resource_exhausted (disk
// full), not_found, failed_precondition (file and folder of one name), else unavailable.
[[noreturn]] void fail_on(const std::filesystem::path& path, int code);

void make_folders(const std::filesystem::path& folder);

class file_descriptor {
 public:
  file_descriptor(const std::filesystem::path& path, int flags, mode_t mode = 0);
  ~file_descriptor();
  file_descriptor(const file_descriptor&) = delete;
  file_descriptor& operator=(const file_descriptor&) = delete;
  int get() const noexcept { return number_; }
  // Some file systems report a full disk only here.
  int close() noexcept;

 private:
  int number_;
};

// path is for the error only.
void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path);

}  // namespace mizzen::tracking::detail
