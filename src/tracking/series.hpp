// The metrics of a run that this process writes: found by key without a lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// One key of one run.
struct series {
  series(std::string_view of_run, std::string_view of_key) : run(of_run), key(of_key) {}
  const std::string run;
  const std::string key;
  // The segment that last declared it, plus one, above its number there (24 bits); see wal.
  std::atomic<std::uint64_t> declared = 0;
};

// Thread safe. Series stay where they are, and stay, as long as the table does.
class series_table {
 public:
  explicit series_table(std::string run) : run_(std::move(run)) { grow(64); }

  // The series of a key, which is made at its first use; check(key) may refuse it then by throwing.
  template <typename Check>
  series& get(std::string_view key, Check&& check) {
    const std::size_t hash = std::hash<std::string_view>{}(key);
    if (series* found = find(*slots_.load(std::memory_order_acquire), hash, key)) return *found;
    check(key);
    return insert(hash, key);
  }

 private:
  using slots = std::vector<std::atomic<series*>>;  // a power of two of them, at most half filled

  static series* find(const slots& in, std::size_t hash, std::string_view key) noexcept {
    for (std::size_t at = hash;; ++at) {
      series* const found = in[at & (in.size() - 1)].load(std::memory_order_acquire);
      if (found == nullptr || found->key == key) return found;
    }
  }
  static void put(slots& in, std::size_t hash, series* added) noexcept {
    while (in[hash & (in.size() - 1)].load(std::memory_order_relaxed) != nullptr) ++hash;
    in[hash & (in.size() - 1)].store(added, std::memory_order_release);
  }

  series& insert(std::size_t hash, std::string_view key) {
    const std::scoped_lock lock(mutex_);
    if (series* found = find(*tables_.back(), hash, key)) return *found;
    if ((all_.size() + 1) * 2 > tables_.back()->size()) grow(tables_.back()->size() * 2);
    series& made = *all_.emplace_back(std::make_unique<series>(run_, key));
    put(*tables_.back(), hash, &made);
    return made;
  }

  // Readers may still be in the old table: it stays. All old ones together are as large as the new.
  void grow(std::size_t size) {
    auto larger = std::make_unique<slots>(size);
    for (const auto& each : all_)
      put(*larger, std::hash<std::string_view>{}(each->key), each.get());
    slots_.store(larger.get(), std::memory_order_release);
    tables_.push_back(std::move(larger));
  }

  const std::string run_;
  std::atomic<const slots*> slots_ = nullptr;
  std::mutex mutex_;
  std::vector<std::unique_ptr<series>> all_;
  std::vector<std::unique_ptr<slots>> tables_;  // the last is the one in use
};

}  // namespace mizzen::tracking::detail
