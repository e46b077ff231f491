// The maps of the API: labels, annotations, quantities, data of a ConfigMap.
#pragma once

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

namespace detail {
struct string_map_access;
}

// A map from std::string to T with the interface of std::map as far as it goes, kept as one sorted
// array: a third of the size, one allocation rather than one for each entry, and as fast to fill as
// a vector when the keys come in order, as they do from the server. Inserting elsewhere moves what
// follows, which is right for the handfuls of entries that these maps hold. A key must not be
// changed through an iterator. References live until the next insertion or removal.
template <typename T>
class string_map {
 public:
  using key_type = std::string;
  using mapped_type = T;
  using value_type = std::pair<std::string, T>;
  using iterator = typename std::vector<value_type>::iterator;
  using const_iterator = typename std::vector<value_type>::const_iterator;
  using size_type = std::size_t;

  string_map() noexcept = default;
  // As std::map: of several entries with the same key the first one stays.
  string_map(std::initializer_list<value_type> entries)
      : string_map(entries.begin(), entries.end()) {}
  template <typename Iterator>
  string_map(Iterator first, Iterator last) {
    for (; first != last; ++first) emplace(first->first, first->second);
  }

  iterator begin() noexcept { return entries_.begin(); }
  iterator end() noexcept { return entries_.end(); }
  const_iterator begin() const noexcept { return entries_.begin(); }
  const_iterator end() const noexcept { return entries_.end(); }
  bool empty() const noexcept { return entries_.empty(); }
  std::size_t size() const noexcept { return entries_.size(); }
  void clear() noexcept { entries_.clear(); }
  void reserve(std::size_t count) { entries_.reserve(count); }
  void shrink_to_fit() { entries_.shrink_to_fit(); }

  iterator find(std::string_view key) noexcept {
    const auto at = lower_bound(key);
    return at != end() && at->first == key ? at : end();
  }
  const_iterator find(std::string_view key) const noexcept {
    return const_cast<string_map*>(this)->find(key);
  }
  bool contains(std::string_view key) const noexcept { return find(key) != end(); }
  std::size_t count(std::string_view key) const noexcept { return contains(key) ? 1 : 0; }

  // The value of the key; error(not_found) naming it if there is none.
  const T& at(std::string_view key) const {
    const auto found = find(key);
    if (found == end()) throw error(errc::not_found, key, "there is no such key in the map");
    return found->second;
  }
  T& at(std::string_view key) { return const_cast<T&>(std::as_const(*this).at(key)); }

  // The value of the key, made from nothing if there is none.
  T& operator[](std::string_view key) { return emplace(key, T{}).first->second; }

  // Adds the entry if there is none of its key, and says whether it did.
  template <typename Key, typename Value>
  std::pair<iterator, bool> emplace(Key&& key, Value&& value) {
    const std::string_view wanted = key;
    auto at = entries_.empty() || entries_.back().first < wanted ? end() : lower_bound(wanted);
    if (at != end() && at->first == wanted) return {at, false};
    at = entries_.emplace(at, std::string(std::forward<Key>(key)), std::forward<Value>(value));
    return {at, true};
  }
  std::pair<iterator, bool> insert(value_type entry) {
    return emplace(std::move(entry.first), std::move(entry.second));
  }
  template <typename Value>
  std::pair<iterator, bool> insert_or_assign(std::string_view key, Value&& value) {
    const auto at = find(key);
    if (at == end()) return emplace(key, std::forward<Value>(value));
    at->second = std::forward<Value>(value);
    return {at, false};
  }

  // Removes the entry, and says how many there were.
  std::size_t erase(std::string_view key) {
    const auto at = find(key);
    if (at == end()) return 0;
    entries_.erase(at);
    return 1;
  }
  iterator erase(const_iterator at) { return entries_.erase(at); }

  // Not defaulted: that would ask for a complete T where a struct holds a map of itself.
  friend bool operator==(const string_map& a, const string_map& b) {
    return a.entries_ == b.entries_;
  }

 private:
  friend struct detail::string_map_access;

  iterator lower_bound(std::string_view key) noexcept {
    return std::lower_bound(
        entries_.begin(), entries_.end(), key,
        [](const value_type& entry, std::string_view wanted) { return entry.first < wanted; });
  }

  std::vector<value_type> entries_;  // sorted by key, no key twice
};

namespace detail {

// For the codecs: entries are added as they come, and put in order once all are there.
struct string_map_access {
  template <typename T>
  static T& append(string_map<T>& map, std::string_view key) {
    return map.entries_.emplace_back(std::string(key), T{}).second;
  }
  // False if a key is there twice.
  template <typename T>
  static bool finish(string_map<T>& map) {
    const auto less = [](const auto& a, const auto& b) { return a.first < b.first; };
    const auto not_less = [](const auto& a, const auto& b) { return a.first >= b.first; };
    auto& entries = map.entries_;
    if (std::adjacent_find(entries.begin(), entries.end(), not_less) == entries.end()) return true;
    std::sort(entries.begin(), entries.end(), less);
    return std::adjacent_find(entries.begin(), entries.end(), not_less) == entries.end();
  }
};

}  // namespace detail

}  // namespace mizzen::kubernetes
