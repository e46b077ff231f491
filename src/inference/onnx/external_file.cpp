#include "inference/onnx/external_file.hpp"

#include <mizzen/core/error.hpp>

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace mizzen::inference::detail {
namespace {

using mizzen::detail::descriptor;

// Without waiting for the writer of a FIFO.
constexpr int read_flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC;

[[noreturn]] void fail_open(int code, std::string_view subject, const std::string& location) {
  const std::string why = code == ELOOP   ? "symbolic links are not followed"
                          : code == EXDEV ? "it leads out of the model's folder"
                                          : std::strerror(code);
  throw error(code == ENOENT ? errc::not_found : errc::permission_denied, subject,
              "external data file '" + location + "': " + why);
}

// What is wrong with the name alone.
void check_location(const std::string& location, std::string_view subject) {
  const auto refuse = [&](const std::string& why) {
    throw error(errc::permission_denied, subject, why);
  };
  // Source: onnxruntime marks tensors that lie in its own memory so.
  if (location.starts_with("*/") || location.find("_MEM_ADDR_") != std::string::npos) {
    refuse("'" + location +
           "' stands for memory of the program that wrote the model, which holds "
           "nothing here: save the model with its data");
  }
  const std::filesystem::path path(location);
  bool below = !location.empty() && !path.is_absolute() && location.find('\0') == std::string::npos;
  for (const auto& part : path) below = below && part != ".." && !part.empty();
  if (!below) {
    refuse("external data must be a file below the model's folder, not '" + location + "'");
  }
}

// Below 0 with errno; ENOSYS where the kernel or a sandbox has no such call.
int open_whole(int folder, const std::string& location) noexcept {
#ifdef SYS_openat2
  open_how how{};
  how.flags = static_cast<std::uint64_t>(read_flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const auto fd =
      static_cast<int>(::syscall(SYS_openat2, folder, location.c_str(), &how, sizeof how));
  // Sandboxes answer EPERM; EAGAIN is a race with a rename, which the other way has none of.
  if (fd < 0 && (errno == EPERM || errno == E2BIG || errno == EINVAL || errno == EAGAIN)) {
    errno = ENOSYS;
  }
  return fd;
#else
  errno = ENOSYS;
  return -1;
#endif
}

int open_by_component(int folder, const std::string& location) noexcept {
  const std::filesystem::path path(location);
  descriptor at;
  int fd = folder;
  for (auto part = path.begin(); part != path.end(); ++part) {
    const bool last = std::next(part) == path.end();
    // O_PATH alone would open a link itself.
    const int flags = last ? read_flags : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int next = ::openat(fd, part->c_str(), flags);
    if (next < 0) {
      // A link in the middle is "no directory": say what it is.
      struct stat status{};
      const int code = errno;
      const bool link = ::fstatat(fd, part->c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISLNK(status.st_mode);
      errno = link ? ELOOP : code;
      return -1;
    }
    if (last) return next;
    at = descriptor(next);
    fd = next;
  }
  errno = ENOENT;
  return -1;
}

}  // namespace

external_file open_below(const std::filesystem::path& folder, std::string_view location,
                         std::string_view subject, confinement how) {
  const std::string name(location);
  check_location(name, subject);
  const std::string root = folder.empty() ? "." : folder.string();
  const descriptor at(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) fail_open(errno, subject, name);
  int fd = -1;
  errno = ENOSYS;
  if (how == confinement::best) fd = open_whole(at.get(), name);
  if (fd < 0 && errno == ENOSYS) fd = open_by_component(at.get(), name);
  if (fd < 0) fail_open(errno, subject, name);
  external_file opened{descriptor(fd)};
  struct stat status{};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    throw error(errc::invalid_argument, subject,
                "external data file '" + name + "' is not a regular file");
  }
  opened.size = static_cast<std::uint64_t>(status.st_size);
  return opened;
}

}  // namespace mizzen::inference::detail
