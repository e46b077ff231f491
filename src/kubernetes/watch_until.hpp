// Follows one object until somebody has seen enough.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/watch.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace mizzen::kubernetes::detail {

struct watch_target {
  std::string namespace_ = {};
  std::string name = {};
  std::string label = {};  // for errors: "Job ml/train"
};

// Closes a watch when a cancellation says so, from whatever thread.
template <class Watcher>
class watch_stopper {
 public:
  watch_stopper(boost::asio::any_io_executor executor, std::shared_ptr<Watcher> watch,
                const cancellation& cancel)
      : timer_(executor), callback_(cancel.token, closer{executor, watch}) {
    if (cancel.deadline.is_never()) return;
    timer_.expires_at(cancel.deadline.time_point());
    timer_.async_wait([weak = std::weak_ptr<Watcher>(watch)](const auto& failure) {
      const auto still = weak.lock();
      if (!failure && still) still->close();
    });
  }

 private:
  struct closer {
    boost::asio::any_io_executor executor;
    std::weak_ptr<Watcher> watch;
    void operator()() const {
      boost::asio::post(executor, [watch = watch] {
        if (const auto still = watch.lock()) still->close();
      });
    }
  };

  boost::asio::steady_timer timer_;
  std::stop_callback<closer> callback_;
};

// Calls look with each state of the object (null: it does not exist) until that says true. Throws
// error(cancelled) or error(deadline_exceeded) when the cancellation comes first.
template <class K>
boost::asio::awaitable<void> watch_until(client k8s, watch_target target,
                                         std::function<bool(const K*)> look, cancellation cancel) {
  cancel.check(target.label);
  watch_options options;
  options.field_selector = field_selector{}.equals("metadata.name", target.name).text();
  const api<K> objects(k8s, target.namespace_);
  const auto watch = std::make_shared<watcher<K>>(objects, std::move(options));
  const watch_stopper<watcher<K>> stopper(k8s.executor(), watch, cancel);
  bool there = false;
  try {
    for (;;) {
      const watcher_event<K> event = co_await watch->next();
      switch (event.type) {
        case watcher_event_type::restarted:
          there = false;
          break;
        case watcher_event_type::synced:
          if (!there && look(nullptr)) co_return;
          break;
        case watcher_event_type::added:
        case watcher_event_type::modified:
          there = true;
          if (look(event.object.get())) co_return;
          break;
        case watcher_event_type::deleted:
          there = false;
          // The last state may be the one that was waited for.
          if (look(event.object.get()) || look(nullptr)) co_return;
          break;
      }
    }
  } catch (const error& e) {
    if (e.code() == errc::cancelled) cancel.check(target.label);
    throw;
  }
}

}  // namespace mizzen::kubernetes::detail
