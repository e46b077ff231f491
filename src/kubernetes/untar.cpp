#include "kubernetes/untar.hpp"

#include "core/descriptor.hpp"

#include <mizzen/core/error.hpp>

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace {

using mizzen::detail::descriptor;

constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::size_t most_entries = 10'000'000;

std::array<timespec, 2> times_of(std::int64_t mtime) {
  timespec at{};
  at.tv_sec = mtime;
  return {at, at};
}

}  // namespace

untar::untar(const std::filesystem::path& to, std::string name, std::uint64_t max_size,
             std::string subject)
    : name_(std::move(name)), max_size_(max_size), subject_(std::move(subject)) {
  const std::filesystem::path whole = std::filesystem::absolute(to).lexically_normal();
  const std::filesystem::path place = whole.has_filename() ? whole : whole.parent_path();
  above_ = place.parent_path();
  local_name_ = place.filename().string();
  if (local_name_.empty()) {
    throw error(errc::invalid_argument, "to", "must end with a name: '" + to.string() + "'");
  }
  root_ = ::open(above_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root_ < 0) fail(above_.string(), "cannot be opened");
}

untar::~untar() {
  if (file_ >= 0) ::close(file_);
  if (root_ >= 0) ::close(root_);
}

void untar::fail(std::string_view path, std::string_view doing) const {
  const int why = errno;
  // A link where a folder ought to be is how an archive would lead us elsewhere.
  const bool astray = why == ELOOP || why == ENOTDIR;
  throw error(
      astray ? errc::data_loss : (why == ENOENT ? errc::not_found : errc::failed_precondition),
      subject_,
      std::string(path) + " " + std::string(doing) + ": " +
          (astray ? "a link or file is where a folder should be" : std::strerror(why)));
}

std::vector<std::string> untar::place_of(std::string_view path) const {
  std::vector<std::string> parts;
  if (!split_safely(path, parts) || parts.empty() || parts.front() != name_) {
    throw error(errc::data_loss, subject_,
                "the archive has '" + std::string(path.substr(0, 500)) +
                    "' in it, which does not belong to what was asked for");
  }
  parts.front() = local_name_;
  return parts;
}

// The folder of the first `depth` parts.
int untar::open_folder(const std::vector<std::string>& parts, std::size_t depth, bool make) const {
  int at = ::fcntl(root_, F_DUPFD_CLOEXEC, 0);
  for (std::size_t i = 0; at >= 0 && i < depth; ++i) {
    const descriptor above(at);
    at = ::openat(above.get(), parts[i].c_str(), folder_flags);
    if (at < 0 && errno == ENOENT && make && ::mkdirat(above.get(), parts[i].c_str(), 0700) == 0) {
      at = ::openat(above.get(), parts[i].c_str(), folder_flags);
    }
    if (at < 0) fail(parts[i], "cannot be entered");
  }
  if (at < 0) fail(above_.string(), "cannot be opened");
  return at;
}

void untar::begin(const tar_entry& entry) {
  end_file();
  using kind = tar_entry::kind;
  const std::vector<std::string> parts = place_of(entry.path);
  const std::string& name = parts.back();
  current_ = entry;
  if (result_.files + result_.links + folders_.size() >= most_entries) {
    throw error(errc::resource_exhausted, subject_, "the archive has too many entries");
  }
  if (entry.what == kind::other) {
    left_ = entry.size;
    if (result_.skipped.size() < 1000) result_.skipped.push_back(entry.path);
    return;
  }
  if (entry.what == kind::directory) {
    const descriptor made(open_folder(parts, parts.size(), true));
    folders_.push_back({parts, entry.mode & 0777U, entry.mtime});
    ++result_.directories;
    return;
  }
  const descriptor above(open_folder(parts, parts.size() - 1, true));
  if (::unlinkat(above.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    fail(entry.path, "cannot be replaced");
  }
  if (entry.what == kind::symlink) {
    if (::symlinkat(entry.link.c_str(), above.get(), name.c_str()) != 0) {
      fail(entry.path, "cannot be made");
    }
    const auto times = times_of(entry.mtime);
    ::utimensat(above.get(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
    ++result_.links;
    return;
  }
  if (entry.what == kind::hardlink) {
    const std::vector<std::string> other = place_of(entry.link);
    const descriptor beside(open_folder(other, other.size() - 1, false));
    if (::linkat(beside.get(), other.back().c_str(), above.get(), name.c_str(), 0) != 0) {
      fail(entry.path, "cannot be linked");
    }
    ++result_.files;
    return;
  }
  if (entry.size > max_size_ - result_.bytes) {
    throw error(errc::resource_exhausted, subject_,
                "the files are larger than " + std::to_string(max_size_) + " bytes");
  }
  file_ = ::openat(above.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   0600);
  if (file_ < 0) fail(entry.path, "cannot be made");
  left_ = entry.size;
  ++result_.files;
  result_.bytes += entry.size;
  if (left_ == 0) end_file();
}

void untar::write(std::string_view content) {
  left_ -= content.size();
  while (file_ >= 0 && !content.empty()) {
    const ssize_t count = ::write(file_, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(current_.path, "cannot be written");
    content.remove_prefix(static_cast<std::size_t>(count));
  }
  if (left_ == 0) end_file();
}

void untar::end_file() {
  if (file_ < 0) return;
  const descriptor done(std::exchange(file_, -1));
  const auto times = times_of(current_.mtime);
  ::futimens(done.get(), times.data());
  if (::fchmod(done.get(), current_.mode & 0777U) != 0) fail(current_.path, "cannot be made");
}

copy_result untar::finish() {
  end_file();
  for (auto each = folders_.rbegin(); each != folders_.rend(); ++each) {
    const descriptor folder(open_folder(each->parts, each->parts.size(), false));
    const auto times = times_of(each->mtime);
    ::futimens(folder.get(), times.data());
    ::fchmod(folder.get(), each->mode);
  }
  folders_.clear();
  return std::move(result_);
}

}  // namespace mizzen::kubernetes::detail
