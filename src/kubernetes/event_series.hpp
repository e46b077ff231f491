// Which recorded events are written as new objects, and which become a series. No socket, no clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mizzen::kubernetes::detail {

// The same event again and again is one object with a count. Its first repetition is written at
// once, later ones now and then; after six quiet minutes the series ends, with its final count
// written. Source: KEP-383.
class event_series {
 public:
  using time_point = std::chrono::sys_time<std::chrono::microseconds>;

  static constexpr std::chrono::minutes quiet{6};     // then a series ends
  static constexpr std::chrono::minutes refresh{30};  // a series is written this often

  // Remembers so many different events; of more, the one that was quiet longest is forgotten.
  explicit event_series(std::size_t capacity) : capacity_(capacity) {}

  // What to do with an event.
  struct action {
    enum class kind { none, create, update };
    kind what = kind::none;
    std::string key = {};
    std::string name = {};  // of the object
    std::string namespace_ = {};
    std::int32_t count = 0;  // update
    time_point last = {};
  };

  // The event of this key was recorded; name is what a new object would be called.
  action recorded(const std::string& key, const std::string& namespace_, const std::string& name,
                  time_point now) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) {
      make_room();
      order_.push_back(key);
      entries_.emplace(key, entry{name, namespace_, 1, now, now, false, std::prev(order_.end())});
      return {action::kind::create, key, name, namespace_, 1, now};
    }
    entry& series = found->second;
    order_.splice(order_.end(), order_, series.place);
    ++series.count;
    series.last = now;
    if (series.count == 2) {
      series.written = now;
      return update(key, series);
    }
    series.dirty = true;
    return {};
  }

  // What is due now: the count of long series, and the last one of those that have ended.
  std::vector<action> due(time_point now) {
    std::vector<action> actions;
    for (auto at = entries_.begin(); at != entries_.end();) {
      entry& series = at->second;
      const bool ended = now - series.last >= quiet;
      if (series.dirty && (ended || now - series.written >= refresh)) {
        series.dirty = false;
        series.written = now;
        actions.push_back(update(at->first, series));
      }
      if (ended) {
        order_.erase(series.place);
        at = entries_.erase(at);
      } else {
        ++at;
      }
    }
    return actions;
  }

  // The object could not be made, or is gone: the next of its kind is a first one.
  void forget(const std::string& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    order_.erase(found->second.place);
    entries_.erase(found);
  }

  std::size_t size() const { return entries_.size(); }

 private:
  struct entry {
    std::string name, namespace_;
    std::int32_t count = 1;
    time_point last, written;
    bool dirty = false;  // the count that was written is not the last
    std::list<std::string>::iterator place;
  };

  static action update(const std::string& key, const entry& series) {
    return {action::kind::update, key, series.name, series.namespace_, series.count, series.last};
  }

  void make_room() {
    while (entries_.size() >= capacity_ && !order_.empty()) {
      entries_.erase(order_.front());
      order_.pop_front();
    }
  }

  std::size_t capacity_;
  std::unordered_map<std::string, entry> entries_;
  std::list<std::string> order_;  // the one that was quiet longest first
};

}  // namespace mizzen::kubernetes::detail
