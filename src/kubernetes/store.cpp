#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/store.hpp>

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace mizzen::kubernetes::detail {
namespace {

using slot = std::uint32_t;
constexpr slot no_slot = std::numeric_limits<slot>::max();

struct key_view {
  std::string_view namespace_, name;
  friend bool operator==(const key_view&, const key_view&) = default;
};

key_view key_of(const object_identity& id) { return {id.namespace_, id.name}; }

std::size_t hash_of(const key_view& key) {
  const std::hash<std::string_view> hash;
  return hash(key.name) * 31 + hash(key.namespace_);
}

struct string_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

}  // namespace

// Objects lie in slots, which they keep as long as they exist; an update replaces the pointer in
// the slot and touches an index only where the object's values there have changed. The table by
// name holds slot numbers and reads the names from the objects: five bytes per object instead of a
// second copy of its key.
struct object_store::impl {
  explicit impl(identify_function function)
      : identify(function), by_name(0, name_hash{this}, name_equal{this}) {}

  struct name_hash {
    using is_transparent = void;
    const impl* self;
    std::size_t operator()(slot at) const { return hash_of(self->key_at(at)); }
    std::size_t operator()(const key_view& key) const { return hash_of(key); }
  };
  struct name_equal {
    using is_transparent = void;
    const impl* self;
    bool operator()(slot a, slot b) const { return a == b || self->key_at(a) == self->key_at(b); }
    bool operator()(slot a, const key_view& b) const { return self->key_at(a) == b; }
    bool operator()(const key_view& a, slot b) const { return a == self->key_at(b); }
  };

  using slot_set = boost::unordered_flat_set<slot>;
  struct index {
    std::string name;
    erased_index values;
    boost::unordered_flat_map<std::string, slot_set, string_hash, std::equal_to<>> entries;

    void add(const std::string& value, slot at) { entries[value].insert(at); }
    void remove(const std::string& value, slot at) {
      const auto found = entries.find(value);
      if (found == entries.end()) return;
      found->second.erase(at);
      if (found->second.empty()) entries.erase(found);
    }
  };

  key_view key_at(slot at) const { return key_of(identify(slots[at].get())); }

  slot find(const key_view& key) const {
    const auto found = by_name.find(key);
    return found == by_name.end() ? no_slot : *found;
  }

  const index* find_index(std::string_view name) const {
    const auto found = std::find_if(indexes.begin(), indexes.end(),
                                    [&](const index& each) { return each.name == name; });
    return found == indexes.end() ? nullptr : &*found;
  }

  const index& require_index(std::string_view name) const {
    const index* found = find_index(name);
    if (!found) {
      throw error(errc::not_found, name,
                  "the store has no index of this name; add it when making the informer");
    }
    return *found;
  }

  std::vector<object_ptr> pointers(const slot_set& of) const {
    std::vector<object_ptr> result;
    result.reserve(of.size());
    for (const slot at : of) result.push_back(slots[at]);
    return result;
  }

  // Takes an object out of its slot, the table and the indexes.
  object_ptr take(slot at) {
    object_ptr old = slots[at];
    for (index& each : indexes) {
      for (const std::string& value : each.values(old.get())) each.remove(value, at);
    }
    by_name.erase(at);
    slots[at].reset();
    free.push_back(at);
    return old;
  }

  void mark(slot at) {
    if (!replacing) return;
    if (marks.size() <= at) marks.resize(std::max<std::size_t>(slots.size(), at + 1));
    marks[at] = true;
  }

  identify_function identify;
  mutable std::shared_mutex mutex;
  std::vector<object_ptr> slots;
  std::vector<slot> free;
  boost::unordered_flat_set<slot, name_hash, name_equal> by_name;
  std::vector<index> indexes;
  std::string version;
  bool replacing = false;
  std::vector<bool> marks;  // slots that the list on its way has
};

object_store::object_store(identify_function identify) : impl_(std::make_unique<impl>(identify)) {}
object_store::~object_store() = default;

void object_store::add_index(std::string name, erased_index values) {
  const std::unique_lock lock(impl_->mutex);
  if (impl_->find_index(name)) {
    throw error(errc::already_exists, name, "the store has an index of this name");
  }
  // The caller's code: what it throws counts as no values, then and whenever the object leaves.
  impl::index added{std::move(name),
                    [values = std::move(values)](const void* object) -> std::vector<std::string> {
                      try {
                        return values(object);
                      } catch (...) {
                        return {};
                      }
                    },
                    {}};
  for (const slot at : impl_->by_name) {
    for (const std::string& value : added.values(impl_->slots[at].get())) added.add(value, at);
  }
  impl_->indexes.push_back(std::move(added));
}

object_ptr object_store::put(object_ptr object) {
  impl& self = *impl_;
  const key_view key = key_of(self.identify(object.get()));
  // The caller's code, so not under the lock.
  std::vector<std::vector<std::string>> values;
  for (const impl::index& each : self.indexes) values.push_back(each.values(object.get()));

  const std::unique_lock lock(self.mutex);
  slot at = self.find(key);
  object_ptr old;
  if (at == no_slot) {
    if (self.free.empty()) {
      if (self.slots.size() >= no_slot) {
        throw error(errc::resource_exhausted, "store", "more than 4294967294 objects");
      }
      at = static_cast<slot>(self.slots.size());
      self.slots.push_back(std::move(object));
    } else {
      at = self.free.back();
      self.free.pop_back();
      self.slots[at] = std::move(object);
    }
    self.by_name.insert(at);
    for (std::size_t i = 0; i < self.indexes.size(); ++i) {
      for (const std::string& value : values[i]) self.indexes[i].add(value, at);
    }
  } else {
    old = std::exchange(self.slots[at], std::move(object));
    for (std::size_t i = 0; i < self.indexes.size(); ++i) {
      const std::vector<std::string> before = self.indexes[i].values(old.get());
      if (before == values[i]) continue;
      for (const std::string& value : before) self.indexes[i].remove(value, at);
      for (const std::string& value : values[i]) self.indexes[i].add(value, at);
    }
  }
  self.mark(at);
  return old;
}

object_ptr object_store::remove(std::string_view namespace_, std::string_view name) {
  const std::unique_lock lock(impl_->mutex);
  const slot at = impl_->find({namespace_, name});
  return at == no_slot ? nullptr : impl_->take(at);
}

void object_store::keep(std::string_view namespace_, std::string_view name) {
  const std::unique_lock lock(impl_->mutex);
  const slot at = impl_->find({namespace_, name});
  if (at != no_slot) impl_->mark(at);
}

void object_store::begin_replace() {
  const std::unique_lock lock(impl_->mutex);
  impl_->replacing = true;
  impl_->marks.assign(impl_->slots.size(), false);
}

std::vector<object_ptr> object_store::end_replace() {
  const std::unique_lock lock(impl_->mutex);
  impl& self = *impl_;
  std::vector<object_ptr> gone;
  if (!self.replacing) return gone;
  self.replacing = false;
  self.marks.resize(self.slots.size());
  for (std::size_t i = 0; i < self.slots.size(); ++i) {
    if (self.slots[i] && !self.marks[i]) gone.push_back(self.take(static_cast<slot>(i)));
  }
  self.marks = {};
  return gone;
}

object_ptr object_store::get(std::string_view namespace_, std::string_view name) const {
  const std::shared_lock lock(impl_->mutex);
  const slot at = impl_->find({namespace_, name});
  return at == no_slot ? nullptr : impl_->slots[at];
}

std::vector<object_ptr> object_store::list() const {
  const std::shared_lock lock(impl_->mutex);
  std::vector<object_ptr> result;
  result.reserve(impl_->by_name.size());
  for (const object_ptr& each : impl_->slots) {
    if (each) result.push_back(each);
  }
  return result;
}

std::vector<object_ptr> object_store::list(std::string_view namespace_) const {
  const std::shared_lock lock(impl_->mutex);
  if (const impl::index* found = impl_->find_index(by_namespace)) {
    const auto entry = found->entries.find(namespace_);
    if (entry == found->entries.end()) return {};
    return impl_->pointers(entry->second);
  }
  std::vector<object_ptr> result;
  for (const object_ptr& each : impl_->slots) {
    if (each && impl_->identify(each.get()).namespace_ == namespace_) result.push_back(each);
  }
  return result;
}

std::vector<object_ptr> object_store::by_index(std::string_view index,
                                               std::string_view value) const {
  const std::shared_lock lock(impl_->mutex);
  const auto& entries = impl_->require_index(index).entries;
  const auto found = entries.find(value);
  if (found == entries.end()) return {};
  return impl_->pointers(found->second);
}

std::vector<std::string> object_store::index_values(std::string_view index) const {
  const std::shared_lock lock(impl_->mutex);
  std::vector<std::string> result;
  for (const auto& [value, slots] : impl_->require_index(index).entries) result.push_back(value);
  return result;
}

void object_store::for_each(const std::function<void(const void*)>& visit) const {
  const std::shared_lock lock(impl_->mutex);
  for (const object_ptr& each : impl_->slots) {
    if (each) visit(each.get());
  }
}

std::size_t object_store::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->by_name.size();
}

void object_store::resource_version(std::string_view now) {
  const std::unique_lock lock(impl_->mutex);
  impl_->version = now;
}

std::string object_store::resource_version() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->version;
}

}  // namespace mizzen::kubernetes::detail
