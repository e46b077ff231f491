// Finalizers: cleaning up outside of the cluster before an object may go.
#pragma once

#include <mizzen/kubernetes/api.hpp>

#include <boost/asio/awaitable.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace mizzen::kubernetes {

namespace detail {
boost::asio::awaitable<bool> edit_finalizer(resource_client of, object_names names, std::string uid,
                                            std::string finalizer, bool present);
}  // namespace detail

// Adds a finalizer ("example.com/bucket") to an object; false if it was there already. Lost races
// against other writers are tried again. Throws error(not_found) if the object is gone,
// error(aborted) if the object of that name is another one by now, and status_error (422) if it is
// being deleted: the server takes no new finalizers then. `of` need not name the object's
// namespace.
template <class K>
boost::asio::awaitable<bool> add_finalizer(const api<K>& of, const K& object,
                                           std::string finalizer) {
  return detail::edit_finalizer(of.core(), {object.metadata.namespace_, object.metadata.name},
                                object.metadata.uid, std::move(finalizer), true);
}

// Removes it; false if it was not there, or the object is gone.
template <class K>
boost::asio::awaitable<bool> remove_finalizer(const api<K>& of, const K& object,
                                              std::string finalizer) {
  return detail::edit_finalizer(of.core(), {object.metadata.namespace_, object.metadata.name},
                                object.metadata.uid, std::move(finalizer), false);
}

// What the reconciler of a kind with a finalizer does with each state of an object: of one that
// lives, adds the finalizer and runs apply; of one that is being deleted, runs cleanup and then
// removes the finalizer. cleanup must bear being called again: it is when removing failed after it.
template <class K>
boost::asio::awaitable<void> finalize(
    api<K> of, std::shared_ptr<const K> object, std::string finalizer,
    std::function<boost::asio::awaitable<void>(const K&)> apply,
    std::function<boost::asio::awaitable<void>(const K&)> cleanup) {
  const auto& finalizers = object->metadata.finalizers;
  const bool has = std::find(finalizers.begin(), finalizers.end(), finalizer) != finalizers.end();
  if (!object->metadata.deletion_timestamp) {
    if (!has) co_await add_finalizer(of, *object, finalizer);
    if (apply) co_await apply(*object);
  } else if (has) {
    if (cleanup) co_await cleanup(*object);
    co_await remove_finalizer(of, *object, finalizer);
  }
}

}  // namespace mizzen::kubernetes
