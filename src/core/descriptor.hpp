// Files by descriptor: who closes them, how all of something is written, what their errors mean.
#pragma once

#include <mizzen/core/error.hpp>

#include <cstdint>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace mizzen::detail {

// A file descriptor that is closed with its owner.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() { close(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }

  // 0, or errno: some file systems report a full disk only here.
  int close() noexcept;

 private:
  int fd_ = -1;
};

// Writes everything, where the descriptor stands or from the offset on. 0, or errno.
int write_all(int fd, std::string_view bytes) noexcept;
int write_all_at(int fd, std::string_view bytes, std::uint64_t offset) noexcept;

// What an errno of a file says: permission_denied, resource_exhausted (no room, limits), not_found,
// failed_precondition (a file and a folder of one name), or unavailable for all else.
errc errc_of_errno(int code) noexcept;

// Throws error(errc_of_errno(code), subject, "<what>: <the errno's text>").
[[noreturn]] void throw_errno(int code, std::string_view subject, std::string_view what);

}  // namespace mizzen::detail
