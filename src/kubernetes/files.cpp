#include "kubernetes/files.hpp"

#include "core/descriptor.hpp"

#include <mizzen/core/error.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace mizzen::kubernetes::detail {

std::optional<std::string> read_variable(const environment& from, const std::string& name) {
  if (from) return from(name);
  const char* const value = std::getenv(name.c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<file_content> read_file(const std::filesystem::path& file, std::size_t max_bytes) {
  const auto fail = [&](int code) {
    throw error(errc::unavailable, file.string(),
                "cannot read it: " + std::string(std::strerror(code)));
  };
  const mizzen::detail::descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (opened.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    fail(errno);
  }
  struct stat about{};
  if (::fstat(opened.get(), &about) != 0) fail(errno);
  file_content content;
  content.mode = about.st_mode;
  char piece[16384];
  for (;;) {
    const ssize_t count = ::read(opened.get(), piece, sizeof piece);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    if (count == 0) return content;
    content.text.append(piece, static_cast<std::size_t>(count));
    if (content.text.size() > max_bytes) {
      throw error(errc::resource_exhausted, file.string(),
                  "larger than " + std::to_string(max_bytes >> 10) + " KiB");
    }
  }
}

file_stamp stamp_of(const std::filesystem::path& file) noexcept {
  struct stat about{};
  if (::stat(file.c_str(), &about) != 0) return {};
  return {about.st_dev, about.st_ino, about.st_size,
          about.st_ctim.tv_sec * 1'000'000'000 + about.st_ctim.tv_nsec};
}

std::string trimmed(std::string text) {
  const auto blank = [](char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
  };
  text.erase(std::find_if_not(text.rbegin(), text.rend(), blank).base(), text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), blank));
  return text;
}

}  // namespace mizzen::kubernetes::detail
