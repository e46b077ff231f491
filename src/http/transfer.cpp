#include "core/descriptor.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/http/transfer.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::http {
namespace {

namespace fs = std::filesystem;
using mizzen::detail::descriptor;
using mizzen::detail::throw_errno;

std::string subject_of(const fs::path& file) { return "file '" + file.string() + "'"; }

class part_of_file final : public body_source {
 public:
  part_of_file(const fs::path& file, std::uint64_t offset, std::optional<std::uint64_t> size)
      : subject_(subject_of(file)), offset_(offset) {
    // Not to wait for a pipe's other end.
    file_ = descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file_) throw_errno(errno, subject_, "it cannot be opened");
    struct stat about{};
    if (::fstat(file_.get(), &about) != 0) throw_errno(errno, subject_, "it cannot be looked at");
    if (!S_ISREG(about.st_mode)) {
      throw error(errc::failed_precondition, subject_, "it is not a regular file");
    }
    const auto there = static_cast<std::uint64_t>(about.st_size);
    if (offset > there || size.value_or(0) > there - offset) {
      throw error(errc::out_of_range, subject_,
                  "it has " + std::to_string(there) + " bytes, fewer than are to be sent");
    }
    size_ = size.value_or(there - offset);
  }

  std::optional<std::uint64_t> size() const override { return size_; }
  void rewind() override { done_ = 0; }

  std::size_t read(std::span<char> room) override {
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), size_ - done_));
    for (;;) {
      const ssize_t got =
          ::pread(file_.get(), room.data(), most, static_cast<off_t>(offset_ + done_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw_errno(errno, subject_, "it cannot be read");
      done_ += static_cast<std::uint64_t>(got);
      return static_cast<std::size_t>(got);
    }
  }

 private:
  const std::string subject_;
  const std::uint64_t offset_;
  descriptor file_;
  std::uint64_t size_ = 0;
  std::uint64_t done_ = 0;
};

// "bytes 5-9/10"; total may be unknown. Nothing for anything else (RFC 9110, section 14.4).
struct content_range {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total = std::nullopt;
};
std::optional<content_range> parse_content_range(std::string_view text) {
  constexpr std::string_view unit = "bytes ";
  if (!text.starts_with(unit)) return std::nullopt;
  text.remove_prefix(unit.size());
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](std::uint64_t& into) {
    const auto [next, failed] = std::from_chars(at, end, into);
    at = next;
    return failed == std::errc{};
  };
  const auto mark = [&](char wanted) { return at != end && *at++ == wanted; };
  content_range range;
  if (!number(range.first) || !mark('-') || !number(range.last) || !mark('/')) return std::nullopt;
  if (std::string_view(at, end) != "*") {
    std::uint64_t total = 0;
    if (!number(total) || at != end || total <= range.last) return std::nullopt;
    range.total = total;
  }
  if (range.last < range.first) return std::nullopt;
  return range;
}

}  // namespace

std::shared_ptr<body_source> file_body(const fs::path& file, std::uint64_t offset,
                                       std::optional<std::uint64_t> size) {
  return std::make_shared<part_of_file>(file, offset, size);
}

void resumable_sink::prepare(request& what) {
  // The parts are of one sequence of bytes only if nobody encodes it on the way.
  what.headers.set("Accept-Encoding", "identity");
  asked_for_rest_ = received_ > 0 && !validator_.empty();
  if (asked_for_rest_) {
    what.headers.set("Range", "bytes=" + std::to_string(received_) + "-");
    what.headers.set("If-Range", validator_);
  } else {
    what.headers.erase("Range");
    what.headers.erase("If-Range");
  }
}

bool resumable_sink::starts_over(const response& refusal) noexcept {
  if (refusal.status != 416 || !asked_for_rest_) return false;
  validator_.clear();
  return true;
}

void resumable_sink::begin(const response& head) {
  if (head.status == 206) {
    const auto range = parse_content_range(head.headers.value("Content-Range"));
    const bool is_rest = range && asked_for_rest_ && range->first == received_ &&
                         (!range->total || range->last + 1 == *range->total);
    if (is_rest && head.headers.value("ETag", validator_) == validator_) return;
    throw error(errc::data_loss, "answer.Content-Range",
                "'" + std::string(head.headers.value("Content-Range")) +
                    "' is not what was asked for, which is all from byte " +
                    std::to_string(received_) + " on");
  }
  received_ = 0;
  restart(head);
  const std::string_view tag = head.headers.value("ETag");
  const bool can_go_on = tag.starts_with('"') && !head.headers.has_token("Accept-Ranges", "none");
  validator_ = can_go_on ? tag : std::string_view();
}

void resumable_sink::write(std::string_view piece) {
  append(piece);
  received_ += piece.size();
}

struct file_sink::impl {
  explicit impl(fs::path name)
      : target(std::move(name)),
        temporary(target.parent_path() / (".mizzen-" + random_hex_id() + ".tmp")),
        subject(subject_of(target)) {
    std::error_code failed;
    if (target.has_parent_path()) fs::create_directories(target.parent_path(), failed);
    if (failed) throw_errno(failed.value(), subject, "its folder cannot be made");
    file = descriptor(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file) throw_errno(errno, subject, "it cannot be written");
  }

  const fs::path target;
  const fs::path temporary;
  const std::string subject;
  descriptor file;
};

file_sink::file_sink(fs::path target) : impl_(std::make_unique<impl>(std::move(target))) {}

file_sink::~file_sink() { ::unlink(impl_->temporary.c_str()); }

void file_sink::restart(const response&) {
  if (::ftruncate(impl_->file.get(), 0) != 0 || ::lseek(impl_->file.get(), 0, SEEK_SET) != 0) {
    throw_errno(errno, impl_->subject, "it cannot be written");
  }
}

void file_sink::append(std::string_view piece) {
  if (const int failed = mizzen::detail::write_all(impl_->file.get(), piece); failed != 0) {
    throw_errno(failed, impl_->subject, "it cannot be written");
  }
}

void file_sink::commit() {
  if (const int failed = impl_->file.close(); failed != 0) {
    throw_errno(failed, impl_->subject, "it cannot be written");
  }
  if (::rename(impl_->temporary.c_str(), impl_->target.c_str()) != 0) {
    throw_errno(errno, impl_->subject, "it cannot be given its name");
  }
}

}  // namespace mizzen::http
