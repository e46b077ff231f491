#include "core/descriptor.hpp"

#include <sys/types.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace mizzen::detail {

int descriptor::close() noexcept {
  if (fd_ < 0 || ::close(std::exchange(fd_, -1)) == 0) return 0;
  return errno;
}

int write_all(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

int write_all_at(int fd, std::string_view bytes, std::uint64_t offset) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno != EINTR) return errno;
    if (written <= 0) continue;
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return 0;
}

errc errc_of_errno(int code) noexcept {
  switch (code) {
    case EACCES:
    case EPERM:
    case EROFS:
      return errc::permission_denied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return errc::resource_exhausted;
    case ENOENT:
      return errc::not_found;
    case EISDIR:
    case ENOTDIR:
    case EEXIST:
    case ENOTEMPTY:
      return errc::failed_precondition;
    default:
      return errc::unavailable;
  }
}

void throw_errno(int code, std::string_view subject, std::string_view what) {
  throw error(errc_of_errno(code), subject,
              std::string(what) + ": " + std::generic_category().message(code));
}

}  // namespace mizzen::detail
