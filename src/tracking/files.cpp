#include "tracking/files.hpp"

#include <mizzen/core/error.hpp>

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {

namespace fs = std::filesystem;

void fail_on(const fs::path& path, int code) {
  const std::string subject = "artifact '" + path.string() + "'";
  const std::string reason = std::generic_category().message(code);
  switch (code) {
    case EACCES:
    case EPERM:
    case EROFS:
      throw error(errc::permission_denied, subject, reason + "; give this user write permission");
    case ENOSPC:
    case EDQUOT:
      throw error(errc::resource_exhausted, subject, reason + "; make room and try again");
    case ENOENT:
      throw error(errc::not_found, subject, reason);
    case EISDIR:
    case ENOTDIR:
    case EEXIST:
    case ENOTEMPTY:
      throw error(errc::failed_precondition, subject,
                  reason + "; a file and a folder cannot have one name");
    default:
      throw error(errc::unavailable, subject, reason);
  }
}

void make_folders(const fs::path& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) fail_on(folder, failed.value());
}

file_descriptor::file_descriptor(const fs::path& path, int flags, mode_t mode)
    : number_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
  if (number_ < 0) fail_on(path, errno);
}

file_descriptor::~file_descriptor() {
  if (number_ >= 0) ::close(number_);
}

int file_descriptor::close() noexcept { return ::close(std::exchange(number_, -1)); }

void write_all(int descriptor, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const auto written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_on(path, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace mizzen::tracking::detail
