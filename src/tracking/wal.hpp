// The write-ahead log of one process: many threads append, one takes out what they wrote.
#pragma once

#include "tracking/series.hpp"
#include "tracking/wal_segment.hpp"

#include <mizzen/core/error.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore.h>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// Tells the process that made it from the children it forks, at the cost of a load.
class process_guard {
 public:
  process_guard();
  ~process_guard();
  process_guard(const process_guard&) = delete;
  process_guard& operator=(const process_guard&) = delete;
  bool is_own() const noexcept;

 private:
  volatile const unsigned char* mark_ =
      nullptr;  // of a page that fork() wipes; null: ask the kernel
  int process_;
};

// What the drain sleeps on.
class wake_up {
 public:
  wake_up();
  ~wake_up();
  wake_up(const wake_up&) = delete;
  wake_up& operator=(const wake_up&) = delete;
  void post() noexcept { sem_post(&semaphore_); }
  void wait(std::chrono::nanoseconds longest) noexcept;

 private:
  sem_t semaphore_;
};

// A folder with the segments of one log, and the file `lock` in it that its owner keeps locked.
class wal_folder {
 public:
  // Makes a folder of a new name in `in`. Throws.
  static wal_folder make(const std::filesystem::path& in, bool durable);
  // Takes over the folder of a log. Nothing if its owner lives, or it is gone.
  static std::optional<wal_folder> take(const std::filesystem::path& path);
  // Removes what processes left that died in make().
  static void clear_unmade(const std::filesystem::path& in) noexcept;
  // The folders of logs in `in`, whoever owns them.
  static std::vector<std::filesystem::path> list(const std::filesystem::path& in);

  const std::filesystem::path& path() const noexcept { return path_; }
  // The segments in it by sequence.
  std::vector<std::filesystem::path> segments() const;
  // Removes it if no segment is left.
  void remove() noexcept;

 private:
  wal_folder(std::filesystem::path path, descriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  descriptor lock_;
};

// A position in the log is the number of cells before it, over all segments.
//
// An append reserves its cells with one compare-and-swap on the tail, writes them, and puts the
// first eight bytes last; nobody waits for anybody, and what is reserved pins its segment. Only
// when no next segment is ready does a call take a lock: then it makes one, or is refused.
class wal {
 public:
  struct options {
    std::filesystem::path directory;  // made if need be
    std::size_t segment_size = 0;
    std::size_t total_size = 0;
    std::chrono::milliseconds patience = {};
    bool power = false;  // appends wait for the disk
    std::string about;   // wal_header::about
  };

  // Throws what wal_folder::make and wal_segment::create do.
  explicit wal(options chosen);
  // Not to be called in a forked child, where something else may be mapped in its place.
  ~wal();
  wal(const wal&) = delete;
  wal& operator=(const wal&) = delete;

  // --- for the threads that log ------------------------------------------------------------------

  // False: refused (and counted). Throws failed_precondition in a forked child; throws nothing
  // else but std::bad_alloc at the first use of a series in a segment.
  bool append(series& of, double value, std::int64_t step, std::int64_t timestamp);
  // As above; invalid_argument when it does not fit a record.
  bool append(wal_kind kind, const wal_text& text);

  bool is_own_process() const noexcept { return guard_.is_own(); }

  // Records in the log, those included that are being written this moment.
  std::uint64_t acknowledged() const noexcept { return tail_ - overhead_; }
  std::uint64_t refused() const noexcept { return refused_; }
  std::uint64_t tail() const noexcept { return tail_; }
  // What last kept a segment from being made; empty: nothing did.
  std::string last_error() const;
  std::uint64_t size() const noexcept;
  const std::filesystem::path& path() const noexcept { return folder_.path(); }

  // --- for the one thread that drains ------------------------------------------------------------

  // Makes the next segment before it is needed. False: there is no room for it.
  bool prepare() noexcept;
  // The segment of a sequence; null when there is none yet.
  wal_segment* segment(std::uint64_t sequence) noexcept;
  std::uint64_t first_segment() const noexcept { return retired_; }
  std::uint32_t cells() const noexcept { return cells_; }
  std::uint64_t most_segments() const noexcept { return slots_.size(); }
  // Whether the next segment was wanted and could not be made.
  bool is_blocked() const noexcept { return blocked_; }
  // Removes the oldest segment, of which nothing will be read again and all was written.
  void retire() noexcept;
  // Sleeps; until `longest` has passed, or wake(), or (until_appended) the tail is beyond `seen`.
  void sleep(std::chrono::nanoseconds longest, bool until_appended, std::uint64_t seen) noexcept;
  void wake() noexcept { bell_.post(); }
  // Removes the folder, if all segments but unused ones were retired.
  void remove_if_drained() noexcept;

 private:
  struct slot {
    std::unique_ptr<wal_segment> segment;
    std::atomic<std::uint32_t> next_series = 0;
  };
  slot& slot_of(std::uint64_t sequence) noexcept { return slots_[sequence % slots_.size()]; }
  std::uint64_t sequence_at(std::uint64_t at) const noexcept { return at >> shift_; }
  std::uint32_t cell_at(std::uint64_t at) const noexcept {
    return static_cast<std::uint32_t>(at & (cells_ - 1));
  }

  void check_process() const;
  // Whether the segment can be written to; makes it or waits for it. False: refused.
  bool wait_for_segment(std::uint64_t sequence);
  bool make_segment() noexcept;  // under mutex_
  // Where a record of so many cells goes; nothing: refused.
  std::optional<std::uint64_t> reserve(std::uint32_t count);
  void write(std::uint64_t at, wal_kind kind, std::uint32_t series, std::string_view payload);
  bool declare(series& of);
  void commit(std::uint64_t at, std::uint64_t word) noexcept;
  void tell_drain(std::uint64_t at) noexcept;
  bool is_full() const noexcept { return ready_ - retired_ >= slots_.size(); }
  bool synchronize(std::uint64_t at) noexcept;
  bool synchronize_segment(std::uint64_t sequence, std::uint32_t end) noexcept;
  void note_error(const char* what) noexcept;

  const options options_;
  const process_guard guard_;
  wal_folder folder_;
  const std::uint32_t cells_;  // of a segment
  const unsigned shift_;       // log2 of it
  const std::uint64_t nonce_;
  std::vector<slot> slots_;  // of sequence % size

  alignas(64) std::atomic<std::uint64_t> tail_ = 0;
  alignas(64) std::atomic<std::uint64_t> ready_ = 0;  // segments made so far
  std::atomic<std::uint64_t> retired_ = 0;            // of them gone
  std::atomic<bool> blocked_ = false;                 // no next segment can be made
  std::atomic<bool> sleeping_ = false;                // the drain waits for an append
  std::atomic<std::uint64_t> refused_ = 0;
  std::atomic<std::uint64_t> overhead_ = 0;  // cells before the tail beyond one for each record
  wake_up bell_;

  mutable std::mutex mutex_;  // of making segments
  std::condition_variable room_;
  std::string last_error_;

  std::mutex retire_mutex_;  // keeps the segments that are being synchronized
  std::mutex disk_mutex_;    // of the rest
  std::condition_variable disk_done_;
  std::uint64_t disk_started_ = 0;  // synchronizations
  std::uint64_t disk_finished_ = 0;
  std::uint64_t disk_from_ = ~0ULL;  // the first segment that one has to see to
  bool disk_good_ = true;
};

}  // namespace mizzen::tracking::detail
