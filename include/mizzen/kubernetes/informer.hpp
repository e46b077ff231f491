// A shared informer: one list and watch, a local copy with indexes, and any number of handlers.
#pragma once

#include <mizzen/kubernetes/store.hpp>
#include <mizzen/kubernetes/watch.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace mizzen::kubernetes {

enum class informer_event_type { added, updated, deleted };

// "added", "updated", "deleted".
std::string_view to_string(informer_event_type type) noexcept;

// One change of the local copy. Objects are shared with the copy: they never change.
template <class K>
struct informer_event {
  informer_event_type type = informer_event_type::added;
  std::shared_ptr<const K> before = {};  // updated, deleted: as the copy had it
  // added, updated: as it is; deleted: as the server last had it, or null when the deletion was
  // seen only by the object's absence from a list (then before may be older than its last state).
  std::shared_ptr<const K> now = {};
  bool initial = false;  // added: was there before the handler, or before the first list
  bool resync = false;   // updated: nothing has changed (before == now), see resync
};

// Which functions are called; empty ones are not. Called one after the other, in the order in which
// the server made the changes. An exception that one throws goes to informer_options::on_error, and
// the next event is handled.
template <class K>
struct informer_handler {
  std::function<void(const std::shared_ptr<const K>& now)> added = {};
  std::function<void(const std::shared_ptr<const K>& before, const std::shared_ptr<const K>& now)>
      updated = {};
  std::function<void(const std::shared_ptr<const K>& last)> deleted = {};
  // Every event, with all that is known of it; called before the function of its own.
  std::function<void(const informer_event<K>&)> event = {};
};

struct handler_options {
  // Where the handler is called; by default on the informer's strand, so that handlers of one
  // informer never run at once. A handler that takes long or blocks belongs on an executor of its
  // own (a thread pool): it then holds up neither the informer nor other handlers, while its own
  // calls still come one at a time, in order.
  boost::asio::any_io_executor executor = {};
  // Calls `updated` for every object at this period, changed or not. Zero: never.
  std::chrono::milliseconds resync{0};
};

// What a handler was given when it was added; to ask after it and to remove it.
using handler_id = std::uint64_t;

template <class K>
struct informer_options {
  watch_options watch = {};
  // Applied to each object before it is stored; drop_managed_fields is one. What it throws goes to
  // on_error, and the object is stored as it is then.
  std::function<void(K&)> transform = {};
  std::map<std::string, index_function<K>> indexes = {};
  // Told of failures that are retried, and of exceptions of handlers, on the informer's strand.
  std::function<void(const std::exception_ptr&)> on_error = {};
};

namespace detail {

struct erased_informer_event {
  informer_event_type type = informer_event_type::added;
  object_ptr before = {};
  object_ptr now = {};
  bool initial = false;
  bool resync = false;
};

using erased_handler = std::function<void(const erased_informer_event&)>;
using erased_async_handler = std::function<boost::asio::awaitable<void>(erased_informer_event)>;

struct erased_informer_options {
  watch_options watch = {};
  std::function<void(void*)> transform = {};
  std::function<void(const std::exception_ptr&)> on_error = {};
};

// The type-erased informer. Thread safe.
class informer_core {
 public:
  informer_core(const resource_client& of, kind_access kind, erased_informer_options options);
  informer_core(boost::asio::any_io_executor executor, std::unique_ptr<watch_source> source,
                object_store::identify_function identify, erased_informer_options options);
  informer_core(const informer_core&) = delete;
  informer_core& operator=(const informer_core&) = delete;
  ~informer_core();

  handler_id add_handler(erased_handler handler, handler_options options);
  handler_id add_handler(erased_async_handler handler, handler_options options);
  void remove_handler(handler_id id);
  bool has_synced(handler_id id) const;
  std::size_t backlog(handler_id id) const;
  void start();
  bool has_synced() const;
  boost::asio::awaitable<void> synced();
  boost::asio::awaitable<void> synced(handler_id id);
  boost::asio::awaitable<void> stop();
  const std::shared_ptr<object_store>& objects() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace detail

// One list and watch, shared by many.
//
//   informer<core_v1::pod> pods{api<core_v1::pod>{k8s, all_namespaces}, {.indexes = {{"node",
//   [](const core_v1::pod& pod) …}}}};
//   const handler_id mine = pods.add_handler({.added = [](const auto& pod) { … }});
//   pods.start();
//   co_await pods.synced();       // the copy is whole
//   co_await pods.synced(mine);   // and the handler has heard of all that is in it
//   for (auto& pod : pods.store().by_index("node", "gpu-7")) …
//   co_await pods.stop();
//
// The copy follows the server's changes one by one and in order; handlers see exactly what the copy
// goes through: for each object an added, then updated ones with strictly newer resourceVersions,
// then a deleted. When the server no longer knows where the watch had stopped, the collection is
// listed again and handlers see the difference; intermediate states are then left out.
//
// Each handler has a queue of its own. It is not bounded, as a bound would mean losing events or
// holding up everyone: a handler that is slower than the changes for ever grows it (see backlog()).
// A controller keeps its handlers short by putting keys into a work_queue, which is bounded by the
// number of objects.
//
// Thread safe. No threads of its own: the work is done by whoever runs the client's executor.
// Destroying the informer stops it without waiting; queued events are dropped, and a handler that
// runs at that moment on another thread may still be running afterwards: await stop() first where
// that matters.
template <class K>
class informer {
 public:
  explicit informer(const api<K>& of, informer_options<K> options = informer_options<K>())
      : informer(of, detail::kind_access_of<K>(), std::move(options)) {}

  // Adds a handler, at any time; it gets an added (initial) for each object that is there already,
  // then what follows.
  handler_id add_handler(informer_handler<K> handler, handler_options options = handler_options()) {
    return core_->add_handler(
        [handler = std::move(handler)](const detail::erased_informer_event& event) {
          const auto before = std::static_pointer_cast<const K>(event.before);
          const auto now = std::static_pointer_cast<const K>(event.now);
          if (handler.event) handler.event({event.type, before, now, event.initial, event.resync});
          if (event.type == informer_event_type::added) {
            if (handler.added) handler.added(now);
          } else if (event.type == informer_event_type::updated) {
            if (handler.updated) handler.updated(before, now);
          } else if (handler.deleted) {
            handler.deleted(now ? now : before);
          }
        },
        std::move(options));
  }

  // The same with a coroutine that gets every event; the next is handled when it has returned.
  handler_id add_async_handler(
      std::function<boost::asio::awaitable<void>(informer_event<K>)> handler,
      handler_options options = handler_options()) {
    return core_->add_handler(
        detail::erased_async_handler(
            [handler = std::move(handler)](detail::erased_informer_event event) {
              return handler({event.type, std::static_pointer_cast<const K>(event.before),
                              std::static_pointer_cast<const K>(event.now), event.initial,
                              event.resync});
            }),
        std::move(options));
  }

  // No call of the handler begins after this has returned on the handler's executor; what is queued
  // for it is dropped.
  void remove_handler(handler_id id) { core_->remove_handler(id); }

  // True once the handler has been called for every object of the first list, or, if it was added
  // later, for every one that was there then. False for one that was removed before.
  bool has_synced(handler_id id) const { return core_->has_synced(id); }

  // Waits for has_synced(id). Throws as synced() does, and error(cancelled) if the handler is not
  // there or is removed before.
  boost::asio::awaitable<void> synced(handler_id id) { return core_->synced(id); }

  // Events that wait for the handler now.
  std::size_t backlog(handler_id id) const { return core_->backlog(id); }

  // Begins; does nothing when it has begun.
  void start() { core_->start(); }

  // True once the first list is in the copy. Handlers may not have heard of all of it by then: a
  // program that acts on what they were told asks or waits for its own handler.
  bool has_synced() const { return core_->has_synced(); }

  // Waits for has_synced(). Throws what no retry mends (403, 404 …), error(cancelled) if it is
  // stopped before.
  boost::asio::awaitable<void> synced() { return core_->synced(); }

  // Ends the watch, drops what is queued, waits for handlers that run. The socket is free when it
  // returns. The copy stays readable.
  boost::asio::awaitable<void> stop() { return core_->stop(); }

  // The local copy.
  kubernetes::store<K> store() const { return kubernetes::store<K>(core_->objects()); }

 private:
  informer(const api<K>& of, const detail::kind_access& kind, informer_options<K> options) {
    detail::erased_informer_options erased;
    erased.watch = std::move(options.watch);
    erased.on_error = std::move(options.on_error);
    if (options.transform) {
      erased.transform = [transform = std::move(options.transform)](void* object) {
        transform(*static_cast<K*>(object));
      };
    }
    core_ = std::make_unique<detail::informer_core>(of.core(), kind, std::move(erased));
    for (auto& [name, function] : options.indexes) {
      core_->objects()->add_index(name, [values = std::move(function)](const void* object) {
        return values(*static_cast<const K*>(object));
      });
    }
  }

  std::unique_ptr<detail::informer_core> core_;
};

// A transform: forgets who set which field, often the largest part of an object.
template <class K>
void drop_managed_fields(K& object) {
  object.metadata.managed_fields.clear();
}

// An index under the name by_namespace.
template <class K>
std::vector<std::string> namespace_of(const K& object) {
  return {object.metadata.namespace_};
}

}  // namespace mizzen::kubernetes
