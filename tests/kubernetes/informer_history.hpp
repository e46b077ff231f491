// What one handler of an informer has seen, checked against the rules while it is recorded.
#pragma once

#include <mizzen/kubernetes/informer.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace mizzen::kubernetes::test {

// The rules: an object is added, then updated with versions that strictly rise, then deleted; each
// event begins where the last one ended. Thread safe.
class informer_history {
 public:
  void added(const std::string& key, const std::string& version) {
    const std::lock_guard lock(mutex_);
    ++events_;
    const auto [at, fresh] = live_.emplace(key, version);
    if (!fresh) complain("added again", key, at->second, version);
    const auto last = last_.find(key);
    if (last != last_.end() && number(version) <= last->second) {
      complain("added with a version that is not new", key, std::to_string(last->second), version);
    }
    last_[key] = number(version);
    at->second = version;
  }

  void updated(const std::string& key, const std::string& before, const std::string& now) {
    const std::lock_guard lock(mutex_);
    ++events_;
    const auto found = live_.find(key);
    if (found == live_.end()) return complain("updated, but not there", key, before, now);
    if (found->second != before) complain("updated from another state", key, found->second, before);
    if (number(now) <= number(before)) complain("updated backwards", key, before, now);
    found->second = now;
    last_[key] = number(now);
  }

  void deleted(const std::string& key, const std::string& before) {
    const std::lock_guard lock(mutex_);
    ++events_;
    const auto found = live_.find(key);
    if (found == live_.end()) return complain("deleted, but not there", key, before, {});
    if (found->second != before) complain("deleted in another state", key, found->second, before);
    live_.erase(found);
  }

  // Name to version, as the events have left it.
  std::map<std::string, std::string> state() const {
    const std::lock_guard lock(mutex_);
    return live_;
  }
  std::vector<std::string> violations() const {
    const std::lock_guard lock(mutex_);
    return violations_;
  }
  std::uint64_t events() const {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  static std::uint64_t number(const std::string& version) { return std::stoull(version); }

  void complain(const char* what, const std::string& key, const std::string& a,
                const std::string& b) {
    if (violations_.size() < 20)
      violations_.push_back(std::string(what) + ": " + key + " " + a + " -> " + b);
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::string> live_;
  std::map<std::string, std::uint64_t> last_;
  std::vector<std::string> violations_;
  std::uint64_t events_ = 0;
};

}  // namespace mizzen::kubernetes::test
