// The local copy of a collection, with indexes; what an informer keeps and lists from.
#pragma once

#include <mizzen/kubernetes/detail/kind.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// Under which values an object is found in an index: none, one or several. Must give the same
// values for the same object each time; an exception counts as none.
template <class K>
using index_function = std::function<std::vector<std::string>(const K&)>;

// The name of the index that store::list(namespace) uses.
inline constexpr std::string_view by_namespace = "namespace";

namespace detail {

using erased_index = std::function<std::vector<std::string>(const void*)>;

// The store behind store<K>: holds one pointer per object, finds it by the names inside of the
// object (keys are not stored twice), and indexes by 32-bit slot. Thread safe: readers share a
// lock.
class object_store {
 public:
  using identify_function = object_identity (*)(const void*);

  explicit object_store(identify_function identify);
  object_store(const object_store&) = delete;
  object_store& operator=(const object_store&) = delete;
  ~object_store();

  // Indexes what is there, and all that comes. Throws error(already_exists) for a name in use. Not
  // while another thread puts objects.
  void add_index(std::string name, erased_index values);

  // Puts the object in the place of the one of its name, which is returned (null: there was none).
  object_ptr put(object_ptr object);

  // Removes and returns the object of that name, or null.
  object_ptr remove(std::string_view namespace_, std::string_view name);

  // Between begin and end everything that is to stay is put or kept; end removes and returns the
  // rest. Begin again forgets what was kept so far.
  void begin_replace();
  void keep(std::string_view namespace_, std::string_view name);
  std::vector<object_ptr> end_replace();

  object_ptr get(std::string_view namespace_, std::string_view name) const;
  std::vector<object_ptr> list() const;
  std::vector<object_ptr> list(std::string_view namespace_) const;
  // Throws error(not_found) if there is no such index.
  std::vector<object_ptr> by_index(std::string_view index, std::string_view value) const;
  std::vector<std::string> index_values(std::string_view index) const;
  void for_each(const std::function<void(const void*)>& visit) const;
  std::size_t size() const;

  void resource_version(std::string_view now);
  std::string resource_version() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

template <class K>
std::vector<std::shared_ptr<const K>> typed(std::vector<object_ptr> objects) {
  std::vector<std::shared_ptr<const K>> result;
  result.reserve(objects.size());
  for (object_ptr& each : objects) {
    result.push_back(std::static_pointer_cast<const K>(std::move(each)));
  }
  return result;
}

}  // namespace detail

// Reads of an informer's local copy. A cheap handle; it keeps the copy alive, also beyond the
// informer. Thread safe; objects are shared and never change once they are out.
template <class K>
class store {
 public:
  explicit store(std::shared_ptr<const detail::object_store> core) : core_(std::move(core)) {}

  // The object of that name, or null. namespace_ is empty for cluster-scoped kinds.
  std::shared_ptr<const K> get(std::string_view namespace_, std::string_view name) const {
    return std::static_pointer_cast<const K>(core_->get(namespace_, name));
  }

  // All objects, in no particular order.
  std::vector<std::shared_ptr<const K>> list() const { return detail::typed<K>(core_->list()); }

  // Those of one namespace: by the index by_namespace where there is one, else by looking at all.
  std::vector<std::shared_ptr<const K>> list(std::string_view namespace_) const {
    return detail::typed<K>(core_->list(namespace_));
  }

  // Those that the index has under a value. Throws error(not_found) if there is no such index.
  std::vector<std::shared_ptr<const K>> by_index(std::string_view index,
                                                 std::string_view value) const {
    return detail::typed<K>(core_->by_index(index, value));
  }

  // The values that the index has objects under.
  std::vector<std::string> index_values(std::string_view index) const {
    return core_->index_values(index);
  }

  // Visits each object under the store's shared lock, without copying pointers: visit must be quick
  // and must not call the store.
  template <class F>
  void for_each(F&& visit) const {
    core_->for_each([&visit](const void* object) { visit(*static_cast<const K*>(object)); });
  }

  std::size_t size() const { return core_->size(); }
  bool empty() const { return size() == 0; }

  // The version of the collection that this copy reflects; empty before the first list.
  std::string resource_version() const { return core_->resource_version(); }

 private:
  std::shared_ptr<const detail::object_store> core_;
};

}  // namespace mizzen::kubernetes
