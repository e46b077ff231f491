// One watch of a collection that heals itself: list, watch, resume, list again when it must.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/error.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/detail/alarm.hpp>
#include <mizzen/kubernetes/detail/kind_of.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// What one step of a watch says.
enum class watcher_event_type {
  restarted,  // what follows, up to synced, is all that there is now: the first list, or another
              // one because the server no longer knew where this watch had stopped
  synced,     // the list is complete; an object that was not in it is gone
  added,      // also each object of a list
  modified,
  deleted,  // with the object as it was last, and the resourceVersion of its deletion
};

// "restarted", "synced", "added" …
std::string_view to_string(watcher_event_type type) noexcept;

struct watch_options {
  std::string label_selector = {};
  std::string field_selector = {};

  // Get the first list as events of the watch itself (WatchList, Kubernetes 1.32 and newer): the
  // server holds no whole list in memory. Where the server does not offer it, lists are read in
  // pages.
  bool stream_lists = true;
  // Objects per page of a list; 0: all in one.
  std::int64_t page_size = 500;

  // Start from this version instead of a list, as a list of the caller's own gave it. Should the
  // server no longer know it, the watch begins with restarted all the same.
  std::string resource_version = {};

  // A watch on which nothing comes, not even a bookmark (the server sends one each minute), is
  // taken for dead after so long, and resumed on another connection.
  std::chrono::milliseconds silence{130'000};

  // How long the server is asked to keep one watch open, at the least; a random part of the same
  // length is added, so that many clients do not come back at once.
  std::chrono::seconds server_timeout{300};

  // Pause before another try: doubled from the first to the last, with jitter; back at the first
  // after two minutes without a failure. A Retry-After of the server is honoured.
  std::chrono::milliseconds first_backoff{800};
  std::chrono::milliseconds last_backoff{30'000};

  // Told of every failure that is retried, on the watch's executor. Must not throw.
  std::function<void(const std::exception_ptr&)> on_error = {};
  logger log = {};
};

template <class K>
struct watcher_event {
  watcher_event_type type = watcher_event_type::synced;
  std::shared_ptr<const K> object = {};  // null for restarted and synced
};

namespace detail {

struct change {
  watcher_event_type type = watcher_event_type::synced;
  mutable_object_ptr object = {};
};

// Where lists and watches come from: the API server, or a test. src/kubernetes/watch_source.hpp
class watch_source;

// The type-erased core of watcher and informer: a watch machine and what it needs of the network.
class reflector {
 public:
  reflector(boost::asio::any_io_executor executor, std::unique_ptr<watch_source> source,
            watch_options options);
  reflector(const resource_client& of, kind_access kind, watch_options options);
  reflector(reflector&&) noexcept;
  reflector& operator=(reflector&&) noexcept;
  ~reflector();

  // At least one change, and all that are there without waiting.
  boost::asio::awaitable<std::vector<change>> next_batch();
  boost::asio::awaitable<change> next();
  void close();
  std::string resource_version() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace detail

// Follows a collection from now on: co_await next() in a loop, and nothing is lost, doubled or out
// of order between two restarts, whatever becomes of connections and servers. It keeps no objects;
// informer does.
//
//   watcher pods{api<core_v1::pod>{k8s, "default"}, {.label_selector = "app=web"}};
//   for (;;) {
//     auto event = co_await pods.next();
//     if (event.type == watcher_event_type::added) …
//   }
//
// Failures of the network and of the server are retried with backoff for ever and reported to
// watch_options::on_error. What no retry mends (400, 401, 403, 404, 405, 422) is thrown by next()
// as long as nothing was received yet; later it is retried too, since rights and kinds come and go.
// One call of next() at a time. Runs on the client's executor; not thread safe. Destroying it, or
// close(), frees the socket.
template <class K>
class watcher {
 public:
  explicit watcher(const api<K>& of, watch_options options = watch_options())
      : reflector_(of.core(), detail::kind_access_of<K>(), std::move(options)) {}

  // The next event. Throws error(cancelled) when the coroutine is cancelled or close() was called.
  boost::asio::awaitable<watcher_event<K>> next() {
    detail::change change = co_await reflector_.next();
    co_return watcher_event<K>{change.type,
                               std::static_pointer_cast<const K>(std::move(change.object))};
  }

  // Ends a pending next(), and frees the socket.
  void close() { reflector_.close(); }

  // Where the watch stands: it has everything up to this version. Empty before synced.
  std::string resource_version() const { return reflector_.resource_version(); }

 private:
  detail::reflector reflector_;
};

// Watches one object until `holds` is true of it, and returns it: null if that was said of its
// absence, for which holds is called with a null pointer. Throws error(deadline_exceeded) naming
// the object, and what watcher::next() throws.
//
//   auto pod = co_await wait_until<core_v1::pod>(pods, "web", [](const core_v1::pod* pod) {
//     return pod && pod->status.phase == "Running";
//   }, deadline::after(60s));
template <class K>
boost::asio::awaitable<std::shared_ptr<const K>> wait_until(api<K> of, std::string name,
                                                            std::function<bool(const K*)> holds,
                                                            deadline until = deadline()) {
  watch_options options;
  options.field_selector = field_selector{}.equals("metadata.name", name).text();
  watcher<K> events(of, std::move(options));
  const detail::deadline_alarm alarm(of.k8s().executor(), until, [&events] { events.close(); });
  std::shared_ptr<const K> last;
  for (bool complete = false;;) {
    watcher_event<K> event;
    try {
      event = co_await events.next();
    } catch (const error& e) {
      if (e.code() != errc::cancelled || !until.expired()) throw;
      throw error(errc::deadline_exceeded, name, "the deadline passed before it was as awaited");
    }
    switch (event.type) {
      case watcher_event_type::restarted:
        complete = false;
        last = nullptr;
        break;
      case watcher_event_type::synced:
        complete = true;
        break;
      case watcher_event_type::deleted:
        last = nullptr;
        break;
      default:
        last = std::move(event.object);
    }
    if (complete && holds(last.get())) co_return last;
  }
}

}  // namespace mizzen::kubernetes
