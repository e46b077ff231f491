// The thread that moves what was logged from the write-ahead log to the sinks.
#pragma once

#include "tracking/sink.hpp"
#include "tracking/wal.hpp"

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/tracking/writer.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::tracking::detail {

// Waits that double from 50 ms to 10 s, each shortened by up to a half at random, so that many
// processes do not come back to a server at once. A state machine without a clock.
class back_off {
 public:
  explicit back_off(std::uint64_t seed) noexcept : random_(seed | 1) {}
  std::chrono::milliseconds next() noexcept;
  void reset() noexcept { failures_ = 0; }

 private:
  std::uint64_t random_;
  unsigned failures_ = 0;
};

struct drain_sink {
  std::string name;
  std::size_t slot = 0;  // of its position in the segments' headers: for ever the same
  // Whether entries wait for it however long it fails. Others lose entries, and that is reported,
  // rather than let the log fill up.
  bool required = true;
  std::unique_ptr<metric_sink> sink = {};
  // How long entries of a dead process wait for one that is not required; 0: for ever.
  std::chrono::seconds patience = {};
  // Whether a log is to go to it, by wal_header::about. Empty: every log.
  std::function<bool(std::string_view)> wanted = {};
};

// One log and its drain. Its members may be called from any thread.
class drain {
 public:
  struct options {
    wal::options log;
    std::chrono::milliseconds close_timeout = {};
    std::chrono::milliseconds settle_timeout = {};  // how long reads wait for what was logged
    logger report = {};
  };

  // Looks for logs that dead processes left in the directory; if there are any the thread starts.
  drain(options chosen, std::vector<drain_sink> sinks);
  // The one way to make one: in a forked child it is left as it is, since its thread and locks are
  // the parent's.
  static std::shared_ptr<drain> make(options chosen, std::vector<drain_sink> sinks);
  // Waits for close_timeout at most. What is not drained then is left to the next start.
  ~drain();
  drain(const drain&) = delete;
  drain& operator=(const drain&) = delete;

  // The log of this process, which is made (and the thread started) at the first call. Throws what
  // wal's constructor does.
  wal& log();

  enum class upto { required_sinks, all_sinks };
  // Waits until what was appended before, and what dead processes have left, is in the sinks.
  // False: the deadline came first.
  bool flush(deadline until, upto which);

  writer_status status() const;
  std::chrono::milliseconds settle_timeout() const noexcept { return options_.settle_timeout; }

 private:
  struct source;  // a log: of this process, or of a dead one
  struct own_source;
  struct orphan_source;
  struct lane;  // a sink and how far it is

  void start();
  void wake() noexcept;
  void run() noexcept;
  bool pass();
  bool work(lane& on, source& from);
  bool collect(lane& on, source& from);
  void attempt(lane& on);
  delivery deliver(lane& on, std::span<const log_entry> entries, const log_part& part);
  void reject(lane& on, std::span<const log_entry> entries, const error& reason);
  void retire();
  void adopt();
  std::unique_ptr<orphan_source> take_over(const std::filesystem::path& path);
  void report_refused();
  void report_damage(const std::string& what);
  void failed(lane& on, const error& reason, std::chrono::milliseconds asked);
  bool drained_upto(std::uint64_t position, upto which) const;
  bool is_behind(std::uint64_t position, bool stopping) const;
  bool is_overdue(const lane& on) const;
  void finish();

  const options options_;
  const process_guard guard_;
  std::vector<std::unique_ptr<lane>> lanes_;

  // Of the thread alone.
  std::unique_ptr<own_source> own_;
  std::deque<std::unique_ptr<orphan_source>> orphans_;
  std::vector<log_entry> part_entries_;
  std::uint64_t reported_refused_ = 0;
  std::chrono::steady_clock::time_point refused_reported_at_ = {};

  std::atomic<wal*> log_ = nullptr;
  std::atomic<bool> hurry_ = false;  // somebody began to wait: try now what had failed
  std::atomic<int> waiting_ = 0;     // threads in flush()
  std::atomic<bool> stopping_ = false;
  std::atomic<std::int64_t> stop_at_ = 0;  // steady clock
  std::atomic<std::uint64_t> drained_ = 0;
  std::atomic<std::uint64_t> rejected_ = 0;
  std::atomic<std::uint64_t> adopted_ = 0;
  wake_up bell_;  // until there is a log to sleep on

  mutable std::mutex mutex_;  // of the rest
  std::condition_variable progress_;
  std::unique_ptr<wal> owned_log_;
  std::unique_ptr<std::thread> thread_;
  bool ended_ = false;
  std::deque<std::unique_ptr<orphan_source>> found_orphans_;  // on their way to the thread
  std::set<std::filesystem::path> untakeable_;                // that was reported
  std::size_t adopting_ = 0;  // logs of dead processes that required sinks do not have yet
  std::size_t adopting_all_ = 0;
  std::string last_error_;
};

}  // namespace mizzen::tracking::detail
