#include "tracking/wal.hpp"

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/time.hpp>

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view log_suffix = ".log";
constexpr std::string_view new_suffix = ".new";
constexpr std::string_view lock_name = "lock";
constexpr std::uint64_t declared_shift = 24;
constexpr std::uint64_t series_mask = (1U << declared_shift) - 1;

std::uint64_t random_word() {
  const std::string hex = random_hex_id();
  std::uint64_t word = 0;
  std::from_chars(hex.data(), hex.data() + 16, word, 16);
  return word;
}

std::uint32_t cells_for(std::size_t segment_size) {
  const std::size_t wanted =
      std::clamp<std::size_t>(segment_size / wal_cell_size, wal_least_cells, wal_most_cells);
  return static_cast<std::uint32_t>(std::bit_ceil(wanted));
}

}  // namespace

// --- process_guard, wake_up ----------------------------------------------------------------------

process_guard::process_guard() : process_(getpid()) {
#ifdef MADV_WIPEONFORK
  void* page = mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, 1, MADV_WIPEONFORK) != 0) {
    munmap(page, 1);
    return;
  }
  *static_cast<unsigned char*>(page) = 1;
  mark_ = static_cast<const unsigned char*>(page);
#endif
}

process_guard::~process_guard() {
  if (mark_ != nullptr) munmap(const_cast<unsigned char*>(mark_), 1);
}

bool process_guard::is_own() const noexcept {
  return mark_ != nullptr ? *mark_ != 0 : process_ == getpid();
}

wake_up::wake_up() { sem_init(&semaphore_, 0, 0); }
wake_up::~wake_up() { sem_destroy(&semaphore_); }

void wake_up::wait(std::chrono::nanoseconds longest) noexcept {
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  const auto bounded = std::min<std::chrono::nanoseconds>(longest, std::chrono::hours(1)).count();
  until.tv_sec += static_cast<time_t>(bounded / 1'000'000'000);
  until.tv_nsec += static_cast<long>(bounded % 1'000'000'000);
  if (until.tv_nsec >= 1'000'000'000) {
    until.tv_nsec -= 1'000'000'000;
    ++until.tv_sec;
  }
  // A wake too many is harmless, so that an interruption is taken for one.
  sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until);
}

// --- wal_folder ----------------------------------------------------------------------------------

wal_folder wal_folder::make(const fs::path& in, bool durable) {
  const std::string subject = "write-ahead log '" + in.string() + "'";
  std::error_code failed;
  fs::create_directories(in, failed);
  if (failed) throw_errno(failed.value(), subject, "its folder cannot be made");
  int code = 0;
  for (int attempt = 0; attempt < 10; ++attempt) {
    // Made under another name, so that nobody takes it over before it is locked. Who clears away
    // what others left half made may be quicker; then once more.
    const std::string name = std::to_string(getpid()) + "-" + random_hex_id().substr(0, 16);
    const fs::path made = in / (name + std::string(new_suffix));
    const fs::path path = in / (name + std::string(log_suffix));
    if (::mkdir(made.c_str(), 0700) != 0) {
      throw_errno(errno, subject, "a folder cannot be made in it");
    }
    descriptor lock(::open((made / lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) == 0 &&
        ::rename(made.c_str(), path.c_str()) == 0) {
      if (durable) synchronize_folder(in);
      return {path, std::move(lock)};
    }
    code = errno;
    fs::remove_all(made, failed);
  }
  throw_errno(code, subject, "it cannot be locked");
}

void wal_folder::clear_unmade(const fs::path& in) noexcept {
  std::error_code failed;
  for (fs::directory_iterator each(in, failed), end; !failed && each != end;
       each.increment(failed)) {
    if (each->path().extension() != new_suffix) continue;
    const fs::path lock_path = each->path() / lock_name;
    const descriptor lock(::open(lock_path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(lock_path.c_str());
    ::rmdir(each->path().c_str());
  }
}

std::optional<wal_folder> wal_folder::take(const fs::path& path) {
  descriptor lock(
      ::open((path / lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw_errno(errno, "write-ahead log '" + path.string() + "'", "it cannot be taken over");
  }
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  // Who had it before may have drained and removed it between the two calls.
  std::error_code failed;
  if (!fs::exists(path / lock_name, failed)) return std::nullopt;
  return wal_folder(path, std::move(lock));
}

std::vector<fs::path> wal_folder::list(const fs::path& in) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator each(in, failed), end; !failed && each != end;
       each.increment(failed)) {
    if (each->path().extension() == log_suffix) found.push_back(each->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<fs::path> wal_folder::segments() const {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path_)) {
    if (wal_segment::sequence_of(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void wal_folder::remove() noexcept {
  try {
    if (!segments().empty()) return;
  } catch (const fs::filesystem_error&) {
    return;
  }
  // While it is locked, so that nobody takes it over meanwhile.
  ::unlink((path_ / lock_name).c_str());
  ::rmdir(path_.c_str());
}

// --- wal -----------------------------------------------------------------------------------------

wal::wal(options chosen)
    : options_(std::move(chosen)),
      folder_(wal_folder::make(options_.directory, options_.power)),
      cells_(cells_for(options_.segment_size)),
      shift_(static_cast<unsigned>(std::countr_zero(cells_))),
      nonce_(random_word()),
      slots_(std::clamp<std::size_t>(
          options_.total_size / (wal_header_size + std::size_t{cells_} * wal_cell_size), 2,
          1U << 20)) {
  try {
    slot_of(0).segment = wal_segment::create(
        folder_.path(), {nonce_, 0, cells_, unix_millis(), options_.about}, options_.power);
  } catch (...) {
    folder_.remove();
    throw;
  }
  ready_ = 1;
}

wal::~wal() = default;

void wal::check_process() const {
  if (guard_.is_own()) return;
  throw error(errc::failed_precondition, "write-ahead log '" + folder_.path().string() + "'",
              "it was made before fork(); make a client in the child process");
}

bool wal::append(series& of, double value, std::int64_t step, std::int64_t timestamp) {
  check_process();
  std::uint64_t at = tail_.load(std::memory_order_relaxed);
  std::uint64_t declared = 0;
  for (;;) {
    const std::uint64_t sequence = sequence_at(at);
    if (sequence >= ready_.load(std::memory_order_acquire)) {
      if (!wait_for_segment(sequence)) return false;
    } else if (declared = of.declared.load(std::memory_order_acquire);
               declared >> declared_shift != sequence + 1) {
      if (!declare(of)) return false;
    } else if (tail_.compare_exchange_weak(at, at + 1)) {
      break;
    } else {
      continue;
    }
    at = tail_.load(std::memory_order_relaxed);
  }
  wal_segment& segment = *slot_of(sequence_at(at)).segment;
  const std::uint32_t cell = cell_at(at);
  commit(at, encode_wal_point(segment.cell(cell), segment.seed(), cell,
                              static_cast<std::uint32_t>(declared & series_mask), value, step,
                              timestamp));
  tell_drain(at);
  return !options_.power || synchronize(at);
}

bool wal::append(wal_kind kind, const wal_text& text) {
  check_process();
  const std::string payload = encode_wal_text(kind, text);
  const auto at = reserve(wal_cells_of(payload.size()));
  if (!at) return false;
  overhead_ += wal_cells_of(payload.size()) - 1;
  write(*at, kind, 0, payload);
  tell_drain(*at);
  return !options_.power || synchronize(*at);
}

bool wal::declare(series& of) {
  const std::string payload = encode_wal_text(wal_kind::series, {.run = of.run, .key = of.key});
  const std::uint32_t count = wal_cells_of(payload.size());
  const auto at = reserve(count);
  if (!at) return false;
  overhead_ += count;
  const std::uint64_t sequence = sequence_at(*at);
  // Two threads may each declare it, with two numbers; either will do.
  const std::uint32_t number = slot_of(sequence).next_series++;
  write(*at, wal_kind::series, number, payload);
  of.declared.store((sequence + 1) << declared_shift | number, std::memory_order_release);
  return true;
}

std::optional<std::uint64_t> wal::reserve(std::uint32_t count) {
  std::uint64_t at = tail_.load(std::memory_order_relaxed);
  for (;;) {
    // A record does not cross into the next segment.
    const bool skip = count > cells_ - cell_at(at);
    const std::uint64_t start = skip ? (sequence_at(at) + 1) << shift_ : at;
    if (sequence_at(start) >= ready_.load(std::memory_order_acquire)) {
      if (!wait_for_segment(sequence_at(start))) return std::nullopt;
      at = tail_.load(std::memory_order_relaxed);
      continue;
    }
    if (!tail_.compare_exchange_weak(at, start + count)) continue;
    if (skip) {
      overhead_ += start - at;
      write(at, wal_kind::end, 0, {});
    }
    return start;
  }
}

void wal::write(std::uint64_t at, wal_kind kind, std::uint32_t series, std::string_view payload) {
  wal_segment& segment = *slot_of(sequence_at(at)).segment;
  const std::uint32_t cell = cell_at(at);
  commit(at, encode_wal_payload(segment.cell(cell), segment.seed(), cell, kind, series, payload));
}

void wal::commit(std::uint64_t at, std::uint64_t word) noexcept {
  std::byte* first = slot_of(sequence_at(at)).segment->cell(cell_at(at));
  std::atomic_ref(*reinterpret_cast<std::uint64_t*>(first)).store(word, std::memory_order_release);
}

void wal::tell_drain(std::uint64_t at) noexcept {
  // Half a segment before the next one is needed, if the drain does not look by itself till then.
  const bool next_is_due = (at & (cells_ / 2 - 1)) == 0;
  if (next_is_due || (sleeping_.load() && sleeping_.exchange(false))) bell_.post();
}

bool wal::wait_for_segment(std::uint64_t sequence) {
  const auto refuse = [this] {
    ++refused_;
    return false;
  };
  if (blocked_.load(std::memory_order_relaxed) && options_.patience.count() <= 0) return refuse();
  std::unique_lock lock(mutex_);
  const deadline until = deadline::after(options_.patience);
  while (ready_ <= sequence) {
    if (!blocked_ && make_segment()) break;
    blocked_ = true;
    if (options_.patience.count() <= 0 || until.expired()) {
      if (is_full()) {
        note_error(
            "the write-ahead log is full: the store takes points more slowly than they come");
      }
      return refuse();
    }
    bell_.post();
    room_.wait_until(lock, until.time_point());
  }
  return true;
}

bool wal::make_segment() noexcept {
  const std::uint64_t sequence = ready_;
  if (is_full()) return false;
  try {
    slot& into = slot_of(sequence);
    into.next_series = 0;
    into.segment = wal_segment::create(
        folder_.path(), {nonce_ + sequence, sequence, cells_, unix_millis(), options_.about},
        options_.power);
  } catch (const std::exception& e) {
    note_error(e.what());
    return false;
  }
  ++ready_;
  return true;
}

void wal::note_error(const char* what) noexcept {
  try {
    last_error_ = what;
  } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for it
  }
}

bool wal::synchronize(std::uint64_t at) noexcept {
  std::unique_lock lock(disk_mutex_);
  // Only a synchronization that starts from now on is sure to have this record.
  const std::uint64_t wanted = disk_started_ + 1;
  disk_from_ = std::min(disk_from_, sequence_at(at));
  while (disk_finished_ < wanted) {
    if (disk_started_ != disk_finished_) {
      disk_done_.wait(lock);
      continue;
    }
    // One thread does it for all that wait.
    ++disk_started_;
    const std::uint64_t from = std::max<std::uint64_t>(std::exchange(disk_from_, ~0ULL), retired_);
    const std::uint64_t upto = tail_;
    bool good = true;
    lock.unlock();
    {
      // Held against retire(). What that has removed is in the store, and on the disk.
      const std::scoped_lock keeping(retire_mutex_);
      for (std::uint64_t each = std::max<std::uint64_t>(from, retired_); each <= sequence_at(upto);
           ++each) {
        const bool last = each == sequence_at(upto);
        if (last && cell_at(upto) == 0) break;
        good = synchronize_segment(each, last ? cell_at(upto) : cells_) && good;
      }
    }
    lock.lock();
    disk_finished_ = disk_started_;
    disk_good_ = good;
    disk_done_.notify_all();
  }
  if (disk_good_) return true;
  ++refused_;
  ++overhead_;
  return false;
}

bool wal::synchronize_segment(std::uint64_t sequence, std::uint32_t end) noexcept {
  try {
    slot_of(sequence).segment->synchronize(end);
    return true;
  } catch (const std::exception& e) {
    const std::scoped_lock noting(mutex_);
    note_error(e.what());
    return false;
  }
}

std::string wal::last_error() const {
  const std::scoped_lock lock(mutex_);
  return last_error_;
}

std::uint64_t wal::size() const noexcept {
  return (ready_ - retired_) * (wal_header_size + std::uint64_t{cells_} * wal_cell_size);
}

bool wal::prepare() noexcept {
  const std::scoped_lock lock(mutex_);
  while (ready_ < sequence_at(tail_) + 2) {
    if (!make_segment()) {
      blocked_ = true;
      return false;
    }
  }
  if (blocked_) {
    blocked_ = false;
    room_.notify_all();
  }
  return true;
}

wal_segment* wal::segment(std::uint64_t sequence) noexcept {
  return sequence < ready_ && sequence >= retired_ ? slot_of(sequence).segment.get() : nullptr;
}

void wal::retire() noexcept {
  const std::scoped_lock lock(mutex_, retire_mutex_);
  auto& oldest = slot_of(retired_).segment;
  oldest->remove();
  oldest.reset();
  ++retired_;
}

void wal::sleep(std::chrono::nanoseconds longest, bool until_appended,
                std::uint64_t seen) noexcept {
  if (until_appended) {
    // Either this sees a new tail, or who appends sees the flag: both are in one total order.
    sleeping_.store(true);
    if (tail_.load() == seen) bell_.wait(longest);
    sleeping_.store(false);
  } else {
    bell_.wait(longest);
  }
}

void wal::remove_if_drained() noexcept {
  const std::scoped_lock lock(mutex_);
  for (slot& each : slots_) {
    if (each.segment) each.segment->remove();
  }
  folder_.remove();
}

}  // namespace mizzen::tracking::detail
