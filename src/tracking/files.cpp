#include "tracking/files.hpp"

#include <mizzen/core/error.hpp>

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <system_error>

namespace mizzen::tracking::detail {

namespace fs = std::filesystem;

void fail_on(const fs::path& path, int code) {
  const errc meaning = mizzen::detail::errc_of_errno(code);
  std::string reason = std::generic_category().message(code);
  if (meaning == errc::permission_denied) reason += "; give this user write permission";
  if (code == ENOSPC || code == EDQUOT) reason += "; make room and try again";
  if (meaning == errc::failed_precondition) {
    reason += "; a file and a folder cannot have one name";
  }
  throw error(meaning, "artifact '" + path.string() + "'", reason);
}

void make_folders(const fs::path& folder) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) fail_on(folder, failed.value());
}

descriptor open_file(const fs::path& path, int flags, mode_t mode) {
  descriptor opened(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!opened) fail_on(path, errno);
  return opened;
}

void write_all(const descriptor& to, std::span<const std::byte> bytes, const fs::path& path) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (const int failed = write_all(to.get(), text); failed != 0) fail_on(path, failed);
}

void close_file(descriptor& file, const fs::path& path) {
  if (const int failed = file.close(); failed != 0) fail_on(path, failed);
}

}  // namespace mizzen::tracking::detail
