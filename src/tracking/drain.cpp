#include "tracking/drain_source.hpp"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <pthread.h>
#include <utility>

namespace mizzen::tracking::detail {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto tick = 10ms;  // between parts that are not full
constexpr auto slow_tick = 200ms;
constexpr auto slow_after = 1s;
constexpr auto asleep_after = 10s;

}  // namespace

std::chrono::milliseconds back_off::next() noexcept {
  const auto longest =
      std::min<std::chrono::milliseconds>(50ms * (1 << std::min(failures_, 8U)), 10s);
  ++failures_;
  // xorshift64
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return longest - longest * static_cast<std::int64_t>(random_ % 512) / 1024;
}

// --- drain ---------------------------------------------------------------------------------------

drain::drain(options chosen, std::vector<drain_sink> sinks) : options_(std::move(chosen)) {
  for (drain_sink& each : sinks) {
    lanes_.push_back(std::make_unique<lane>(std::move(each), lanes_.size()));
    lanes_.back()->wants_own = lanes_.back()->wants(options_.log.about);
  }
  wal_folder::clear_unmade(options_.log.directory);
  adopt();
}

std::shared_ptr<drain> drain::make(options chosen, std::vector<drain_sink> sinks) {
  return {new drain(std::move(chosen), std::move(sinks)), [](drain* made) {
            if (made->guard_.is_own()) delete made;
          }};
}

drain::~drain() {
  if (!thread_) return;
  stop_at_ = deadline::after(options_.close_timeout).time_point().time_since_epoch().count();
  stopping_ = true;
  hurry_ = true;
  wake();
  {
    std::unique_lock lock(mutex_);
    const bool in_time =
        progress_.wait_for(lock, options_.close_timeout + 100ms, [this] { return ended_; });
    if (!in_time) {
      for (const auto& each : lanes_) each->sink.sink->interrupt();
    }
  }
  thread_->join();
}

wal& drain::log() {
  if (wal* made = log_) return *made;
  const std::scoped_lock lock(mutex_);
  if (!owned_log_) {
    owned_log_ = std::make_unique<wal>(options_.log);
    if (!thread_) start();
    log_ = owned_log_.get();
    bell_.post();
  }
  return *owned_log_;
}

void drain::start() {
  // The program's signal handlers run on its own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::make_unique<std::thread>([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Logs are taken by a lock on their folders: by one process, and one thread of it.
void drain::adopt() {
  std::deque<std::unique_ptr<orphan_source>> found;
  for (const auto& path : wal_folder::list(options_.log.directory)) {
    try {
      if (auto orphan = take_over(path)) found.push_back(std::move(orphan));
    } catch (const std::exception& e) {
      // Said once, as each read looks for logs.
      const std::scoped_lock lock(mutex_);
      if (!untakeable_.insert(path).second) continue;
      last_error_ = e.what();
      options_.report.log(log_level::error, "tracking", "a log that was left cannot be taken over",
                          {{"log", path.string()}, {"error", e.what()}});
    }
  }
  if (found.empty()) return;
  const std::scoped_lock lock(mutex_);
  adopting_ += found.size();
  adopting_all_ += found.size();
  std::move(found.begin(), found.end(), std::back_inserter(found_orphans_));
  if (!thread_) start();
}

// The log in a folder, if its process is dead and it holds anything.
std::unique_ptr<drain::orphan_source> drain::take_over(const std::filesystem::path& path) {
  auto folder = wal_folder::take(path);
  if (!folder) return nullptr;
  auto orphan = std::make_unique<orphan_source>(lanes_.size(), std::move(*folder));
  for (const auto& each : orphan->folder.segments()) {
    std::error_code unknown;
    const auto written = std::filesystem::last_write_time(each, unknown);
    if (!unknown) orphan->written_at = std::max(orphan->written_at, written);
    try {
      auto segment = wal_segment::open(each);
      if (!segment) continue;
      if (segment->is_cut_short()) {
        report_damage("segment '" + each.string() + "' was cut short; what its end held is lost");
      }
      orphan->segments.push_back(std::move(segment));
    } catch (const error& e) {
      if (e.code() != errc::data_loss) throw;
      auto aside = each;
      aside += ".damaged";
      std::error_code ignored;
      std::filesystem::rename(each, aside, ignored);
      options_.report.log(log_level::error, "tracking",
                          "a segment of a log was set aside, because it cannot be read",
                          {{"file", aside.string()}, {"error", e.what()}});
      const std::scoped_lock lock(mutex_);
      last_error_ = e.what();
    }
  }
  if (orphan->segments.empty()) {
    orphan->folder.remove();
    return nullptr;
  }
  for (const auto& each : lanes_) {
    orphan->wanted.push_back(each->wants(orphan->segments[0]->header().about));
  }
  return orphan;
}

bool drain::flush(deadline until, upto which) {
  if (!guard_.is_own()) {
    throw error(errc::failed_precondition, "flush",
                "the client was made before fork(); make one in the child process");
  }
  adopt();
  wal* const log = log_;
  const std::uint64_t target = log != nullptr ? log->tail() : 0;
  std::unique_lock lock(mutex_);
  const auto done = [&] {
    return drained_upto(target, which) &&
           (which == upto::all_sinks ? adopting_all_ : adopting_) == 0;
  };
  if (done()) return true;
  ++waiting_;
  hurry_ = true;
  wake();
  bool good = true;
  if (until.is_never()) {
    progress_.wait(lock, done);
  } else {
    good = progress_.wait_until(lock, until.time_point(), done);
  }
  --waiting_;
  return good;
}

void drain::wake() noexcept {
  if (wal* const log = log_) log->wake();
  bell_.post();
}

bool drain::drained_upto(std::uint64_t position, upto which) const {
  return std::all_of(lanes_.begin(), lanes_.end(), [&](const auto& each) {
    return !each->wants_own || (which == upto::required_sinks && !each->sink.required) ||
           each->position >= position;
  });
}

writer_status drain::status() const {
  writer_status now;
  now.drained = drained_;
  now.rejected = rejected_;
  now.adopted = adopted_;
  if (const wal* log = log_) {
    now.acknowledged = log->acknowledged();
    now.refused = log->refused();
    now.log_size = log->size();
    now.last_error = log->last_error();
  }
  const std::scoped_lock lock(mutex_);
  if (!last_error_.empty()) now.last_error = last_error_;
  return now;
}

// --- the thread ----------------------------------------------------------------------------------

void drain::run() noexcept {
  clock::time_point busy_at = clock::now();
  for (;;) {
    const bool stopping = stopping_;
    const bool hurry = hurry_.exchange(false);
    wal* const log = log_;
    if (log != nullptr && !own_) own_ = std::make_unique<own_source>(lanes_.size(), *log);
    const std::uint64_t seen = log != nullptr ? log->tail() : 0;
    if (hurry) {
      for (auto& each : lanes_) each->not_before = each->asked_until;
    }
    {
      const std::scoped_lock lock(mutex_);
      std::move(found_orphans_.begin(), found_orphans_.end(), std::back_inserter(orphans_));
      found_orphans_.clear();
    }
    bool more = false;
    try {
      if (log != nullptr) log->prepare();
      more = pass();
      retire();
      report_refused();
    } catch (...) {
      options_.report.log(log_level::error, "tracking", "the drain of the log failed",
                          {{"error", describe(std::current_exception())}});
    }
    {
      // What is waited for changes under the lock, or a waiter could miss it.
      const std::scoped_lock lock(mutex_);
    }
    progress_.notify_all();

    const auto now = clock::now();
    const bool behind = is_behind(seen, stopping);
    if (stopping && (!behind || now.time_since_epoch().count() >= stop_at_)) break;
    if (more) {
      busy_at = now;
      continue;
    }
    std::chrono::nanoseconds pause = tick;
    if (behind) {
      // An entry that is being written this moment, or a sink that failed.
      busy_at = now;
      pause = waiting_ > 0 || stopping ? 1ms : tick;
      for (const auto& each : lanes_) {
        if (each->not_before > now)
          pause = std::min<clock::duration>(each->not_before - now, 200ms);
      }
    } else if (now - busy_at > slow_after) {
      pause = slow_tick;
    }
    if (log == nullptr) {
      bell_.wait(behind ? pause : std::chrono::nanoseconds(1h));
    } else {
      log->sleep(pause, false, seen);
      if (!behind && now - busy_at > asleep_after && log->tail() == seen) {
        log->sleep(1h, true, seen);
      }
      if (log->tail() != seen) busy_at = clock::now();
    }
  }
  finish();
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  progress_.notify_all();
}

// Whether there is something to do. Who stops does not wait for a sink that fails and is not
// required: its entries stay in the log.
bool drain::is_behind(std::uint64_t position, bool stopping) const {
  const auto matters = [&](const lane& on) { return !stopping || on.sink.required || !on.failing; };
  const bool own = std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& each) {
    return matters(*each) && each->wants_own && each->position < position;
  });
  return own || std::any_of(orphans_.begin(), orphans_.end(), [&](const auto& from) {
           return std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& each) {
             return matters(*each) && !from->is_done(each->number);
           });
         });
}

void drain::finish() {
  wal* const log = log_;
  if (log != nullptr && drained_upto(log->tail(), upto::all_sinks)) log->remove_if_drained();
}

// One part for each sink from each log. Whether there was more than that.
bool drain::pass() {
  bool more = false;
  for (auto& each : lanes_) {
    if (each->from != nullptr) {
      attempt(*each);
      more = more || each->from == nullptr;
      continue;
    }
    if (own_ && each->wants_own) more = work(*each, *own_) || more;
    for (auto& orphan : orphans_) {
      if (each->from != nullptr) break;
      if (!orphan->wanted[each->number]) continue;
      more = work(*each, *orphan) || more;
    }
  }
  return more;
}

// Whether there may be more at once.
bool drain::work(lane& on, source& from) {
  const bool full = collect(on, from);
  if (on.from == nullptr) return full;
  attempt(on);
  return full && on.from == nullptr;
}

// Removes segments that all sinks have.
void drain::retire() {
  if (own_) {
    wal& log = own_->log;
    // A sink that is not required does not fill up the log: it loses the oldest eighth.
    const bool short_of_room = log.is_blocked();
    const std::uint64_t eighth = std::max<std::uint64_t>(log.most_segments() / 8, 1);
    std::uint64_t required = ~0ULL;
    for (const auto& each : lanes_) {
      if (each->sink.required) {
        required = std::min(required, own_->cursors[each->number].index);
      }
    }
    std::uint64_t least = required;
    for (auto& each : lanes_) {
      cursor& at = own_->cursors[each->number];
      if (!each->wants_own) continue;
      if (short_of_room && at.index < required) {
        if (each->from == own_.get()) each->from = nullptr;
        const std::uint64_t next = std::min(at.index + eighth, required);
        at = {};
        at.index = next;
        each->position = next * log.cells();
        const std::scoped_lock lock(mutex_);
        last_error_ = each->sink.name + ": points were left out, because it failed for too long";
        options_.report.log(log_level::error, "tracking",
                            "points were left out of a sink that failed for too long",
                            {{"sink", each->sink.name}});
      }
      least = std::min(least, at.index);
    }
    while (log.first_segment() < least) log.retire();
    log.prepare();
  }
  for (auto each = orphans_.begin(); each != orphans_.end();) {
    orphan_source& from = **each;
    bool all = true;
    bool required = true;
    for (const auto& on : lanes_) {
      const bool done = from.is_done(on->number);
      all = all && done;
      required = required && (done || !on->sink.required);
    }
    if (required && !std::exchange(from.required_done, true)) {
      const std::scoped_lock lock(mutex_);
      --adopting_;
    }
    if (!all) {
      ++each;
      continue;
    }
    for (auto& segment : from.segments) segment->remove();
    from.folder.remove();
    each = orphans_.erase(each);
    const std::scoped_lock lock(mutex_);
    --adopting_all_;
  }
}

void drain::report_refused() {
  const wal* const log = log_;
  if (log == nullptr || log->refused() == reported_refused_) return;
  const auto now = clock::now();
  if (reported_refused_ != 0 && now - refused_reported_at_ < 10s) return;
  refused_reported_at_ = now;
  options_.report.log(
      log_level::error, "tracking", "points were refused, and are lost",
      {{"points", log->refused() - std::exchange(reported_refused_, log->refused())},
       {"error", log->last_error()}});
}

}  // namespace mizzen::tracking::detail
