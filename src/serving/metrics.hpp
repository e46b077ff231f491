// What GET /metrics tells: lock-free instruments, and the text format they are shown in.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::serving::detail {

class counter {
 public:
  void add(std::uint64_t amount = 1) noexcept {
    value_.fetch_add(amount, std::memory_order_relaxed);
  }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

class gauge {
 public:
  void add(std::int64_t amount) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
  std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_ = 0;
};

// Counts a gauge up for a scope.
class gauge_hold {
 public:
  explicit gauge_hold(gauge& which) noexcept : gauge_(which) { gauge_.add(1); }
  ~gauge_hold() { gauge_.add(-1); }
  gauge_hold(const gauge_hold&) = delete;
  gauge_hold& operator=(const gauge_hold&) = delete;

 private:
  gauge& gauge_;
};

// Durations in buckets from 100 µs to 10 s.
class histogram {
 public:
  static constexpr std::array<double, 16> bounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                    0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                                    1.0,    2.5,     5.0,    10.0};

  void observe(std::chrono::nanoseconds duration) noexcept;

  struct snapshot {
    std::array<std::uint64_t, bounds.size() + 1> cumulative;  // the last one is +Inf
    double sum;                                               // seconds
  };
  // The buckets are consistent with each other; the sum may be an observation ahead or behind.
  snapshot read() const noexcept;

 private:
  std::array<std::atomic<std::uint64_t>, bounds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> nanoseconds_ = 0;
};

// Writes the Prometheus text format 0.0.4.
class exposition {
 public:
  using labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // Begins a family; its samples follow at once.
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(labels with, double value);
  void sample(labels with, std::uint64_t value);
  void sample(labels with, const histogram& value);

  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, labels with, std::string_view bound, std::string_view value);

  std::string text_;
  std::string_view name_;
};

// process_*: CPU seconds, memory, open files, start time, as Prometheus' client libraries name
// them. Nothing where /proc cannot be read.
void write_process_metrics(exposition& to);

}  // namespace mizzen::serving::detail
