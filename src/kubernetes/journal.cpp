#include "core/descriptor.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/journal.hpp>

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <tuple>
#include <unistd.h>
#include <utility>

namespace mizzen::kubernetes {

namespace {

using mizzen::detail::descriptor;

constexpr std::size_t refused_factor = 64;

error failure(const std::filesystem::path& file, const char* what) {
  const int number = errno;
  return error(mizzen::detail::errc_of_errno(number), file.string(),
               std::string(what) + ": " + std::strerror(number));
}

descriptor open_file(const std::filesystem::path& file, int flags) {
  descriptor fd(::open(file.c_str(), flags | O_CLOEXEC, 0600));
  if (fd.get() < 0) throw failure(file, "cannot open the journal");
  return fd;
}

// Held for one operation. flock goes with the open file, so two journals of one process exclude
// each other as two processes do, and the kernel lets go when a process dies.
class file_lock {
 public:
  file_lock(int fd, const std::filesystem::path& file) : fd_(fd) {
    while (::flock(fd, LOCK_EX) != 0) {
      if (errno != EINTR) throw failure(file, "cannot lock the journal");
    }
  }
  file_lock(file_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  file_lock& operator=(file_lock&&) = delete;
  ~file_lock() {
    if (fd_ >= 0) ::flock(fd_, LOCK_UN);
  }

 private:
  int fd_;
};

void write_all(int fd, std::string_view bytes, std::size_t offset,
               const std::filesystem::path& file) {
  errno = mizzen::detail::write_all_at(fd, bytes, offset);
  if (errno != 0) throw failure(file, "cannot write the journal");
}

std::string read_from(int fd, std::size_t offset, std::size_t size,
                      const std::filesystem::path& file) {
  std::string bytes(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const auto got =
        ::pread(fd, bytes.data() + filled, size - filled, static_cast<off_t>(offset + filled));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw failure(file, "cannot read the journal");
    }
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

std::vector<submission_record> oldest_first(const journal_state& state, bool pending_only) {
  std::vector<submission_record> records;
  for (const auto& [id, record] : state.records()) {
    if (pending_only && record.phase == submission_phase::finished) continue;
    records.push_back(record);
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    return std::tie(a.intended_at, a.id) < std::tie(b.intended_at, b.id);
  });
  return records;
}

}  // namespace

struct journal::impl {
  std::filesystem::path file;
  journal_options options;
  std::mutex mutex;
  descriptor fd;
  journal_state state;
  std::size_t sound_bytes = 0;      // of the file, known to the state
  std::size_t compacted_bytes = 0;  // how large the file was when it had no waste

  // Runs what while no other thread or process uses the file, with the state up to date.
  template <class What>
  auto locked(What what) {
    const std::lock_guard guard(mutex);
    const auto lock = lock_current();
    catch_up();
    return what();
  }

  // The lock on the file that the path names now: another process may have put a compacted one
  // in the place of the one that is open here.
  file_lock lock_current() {
    for (;;) {
      if (fd.get() >= 0) {
        file_lock lock(fd.get(), file);
        struct stat open_one = {};
        struct stat named = {};
        if (::fstat(fd.get(), &open_one) != 0) throw failure(file, "cannot read the journal");
        if (::stat(file.c_str(), &named) == 0 && named.st_ino == open_one.st_ino &&
            named.st_dev == open_one.st_dev) {
          return lock;
        }
      }
      fd = open_file(file, O_RDWR | O_CREAT);
      state = {};
      sound_bytes = 0;
      compacted_bytes = 0;
    }
  }

  void catch_up() {
    struct stat status = {};
    if (::fstat(fd.get(), &status) != 0) throw failure(file, "cannot read the journal");
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size > refused_factor * options.compact_above) {
      throw error(errc::resource_exhausted, file.string(),
                  "the journal has " + std::to_string(size) +
                      " bytes, more than journal_options::compact_above allows");
    }
    if (size < sound_bytes) {
      throw error(errc::data_loss, file.string(), "the journal was cut by another program");
    }
    if (size == sound_bytes) return;
    try {
      sound_bytes += state.replay(read_from(fd.get(), sound_bytes, size - sound_bytes, file));
    } catch (const error& cause) {
      throw error(cause.code(), file.string(), cause.what());
    }
  }

  // Puts an entry behind the last sound line, where a write that was cut off is overwritten.
  void append(const json& entry) {
    std::string bytes(sound_bytes == 0 ? journal_state::header() : "");
    bytes += journal_state::line(entry);
    const auto end = sound_bytes + bytes.size();
    try {
      if (::ftruncate(fd.get(), static_cast<off_t>(sound_bytes)) != 0) {
        throw failure(file, "cannot write the journal");
      }
      write_all(fd.get(), bytes, sound_bytes, file);
      flush(fd.get());
    } catch (...) {
      // Whatever part of it got there is no record.
      if (::ftruncate(fd.get(), static_cast<off_t>(sound_bytes)) != 0) errno = 0;
      throw;
    }
    state.replay(bytes);
    sound_bytes = end;
    compact_if_wasteful();
  }

  const submission_record& known(std::string_view id) const {
    const auto found = state.records().find(id);
    if (found == state.records().end()) {
      throw error(errc::failed_precondition, file.string(),
                  "knows no submission " + std::string(id));
    }
    return found->second;
  }

  void flush(int of) const {
    if (options.durability == journal_durability::power && ::fdatasync(of) != 0) {
      throw failure(file, "cannot write the journal to the disk");
    }
  }

  void compact_if_wasteful() {
    if (sound_bytes <= std::max(options.compact_above, 2 * compacted_bytes)) return;
    const auto oldest = std::chrono::system_clock::now() - options.keep_finished;
    const auto bytes = state.compacted(unix_millis(oldest));
    compacted_bytes = bytes.size();
    if (bytes.size() > sound_bytes / 2) return;
    auto temporary = file;
    temporary += ".new";
    {
      const auto out = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
      write_all(out.get(), bytes, 0, temporary);
      // Else a power cut might leave a name without its content, whatever the durability asked for.
      if (::fdatasync(out.get()) != 0)
        throw failure(temporary, "cannot write the journal to the disk");
    }
    std::filesystem::rename(temporary, file);
    const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
    const descriptor parent = open_file(folder, O_RDONLY | O_DIRECTORY);
    ::fsync(parent.get());  // not every file system can; the old file would tell the same
  }
};

journal::journal(std::filesystem::path file, journal_options options)
    : impl_(std::make_shared<impl>()) {
  impl_->file = std::move(file);
  impl_->options = options;
  impl_->locked([] {});  // tells at once when the file cannot be used
}

submission_record journal::intend(const submission_record& record) {
  return impl_->locked([&] {
    const auto& known = impl_->state.records();
    if (const auto found = known.find(record.id); found != known.end()) return found->second;
    auto entry = record;
    if (entry.intended_at == 0) entry.intended_at = unix_millis();
    impl_->append(journal_state::intend_entry(entry));
    return known.at(record.id);
  });
}

void journal::accept(std::string_view id, std::string_view uid) {
  impl_->locked([&] {
    auto entry = impl_->known(id);
    if (entry.uid == uid) return;
    if (!entry.uid.empty()) {
      throw error(errc::failed_precondition, entry.kind + " " + entry.namespace_ + "/" + entry.name,
                  "was accepted as uid " + entry.uid + ", not " + std::string(uid));
    }
    entry.uid = uid;
    entry.accepted_at = unix_millis();
    impl_->append(journal_state::accept_entry(entry));
  });
}

void journal::finish(std::string_view id, const json& outcome) {
  impl_->locked([&] {
    auto entry = impl_->known(id);
    if (entry.phase == submission_phase::finished) return;
    entry.outcome = outcome;
    entry.finished_at = unix_millis();
    impl_->append(journal_state::finish_entry(entry));
  });
}

void journal::forget(std::string_view id) {
  impl_->locked([&] {
    if (impl_->state.records().contains(id)) impl_->append(journal_state::forget_entry(id));
  });
}

std::optional<submission_record> journal::find(std::string_view id) const {
  return impl_->locked([&]() -> std::optional<submission_record> {
    const auto& known = impl_->state.records();
    if (const auto found = known.find(id); found != known.end()) return found->second;
    return std::nullopt;
  });
}

std::vector<submission_record> journal::pending() const {
  return impl_->locked([&] { return oldest_first(impl_->state, true); });
}

std::vector<submission_record> journal::records() const {
  return impl_->locked([&] { return oldest_first(impl_->state, false); });
}

const std::filesystem::path& journal::path() const noexcept { return impl_->file; }

}  // namespace mizzen::kubernetes
