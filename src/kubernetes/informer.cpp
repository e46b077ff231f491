#include "kubernetes/watch_source.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/detail/wake.hpp>
#include <mizzen/kubernetes/informer.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace mizzen::kubernetes {

std::string_view to_string(informer_event_type type) noexcept {
  switch (type) {
    case informer_event_type::added:
      return "added";
    case informer_event_type::updated:
      return "updated";
    case informer_event_type::deleted:
      return "deleted";
  }
  return "unknown";
}

namespace detail {
namespace {

namespace asio = boost::asio;
using strand = asio::strand<asio::any_io_executor>;

// A handler is called so often before others on its executor get their turn.
constexpr int calls_in_a_row = 64;

// Versions that are numbers can be compared (Kubernetes 1.35 promises that of all of its own).
std::optional<std::uint64_t> number(std::string_view version) {
  std::uint64_t value = 0;
  const auto [end, failed] =
      std::from_chars(version.data(), version.data() + version.size(), value);
  if (failed != std::errc() || end != version.data() + version.size()) return std::nullopt;
  return value;
}

// True unless b is a state of the object that lies before a, as far as can be known.
bool is_newer(const object_identity& a, const object_identity& b) {
  const auto had = number(a.resource_version);
  const auto got = number(b.resource_version);
  return !had || !got || *got > *had;
}

using report = std::function<void(const std::exception_ptr&)>;

// One handler: a queue that is worked off on the handler's executor, one call at a time.
class listener : public std::enable_shared_from_this<listener> {
 public:
  listener(handler_id id, asio::any_io_executor executor, erased_handler call,
           erased_async_handler call_async, report failed, wake idle)
      : id_(id),
        executor_(std::move(executor)),
        call_(std::move(call)),
        call_async_(std::move(call_async)),
        failed_(std::move(failed)),
        idle_(std::move(idle)) {}

  handler_id id() const noexcept { return id_; }

  void push(erased_informer_event event) {
    {
      const std::lock_guard lock(mutex_);
      if (removed_) return;
      queue_.push_back({std::move(event), false});
      if (std::exchange(running_, true)) return;
    }
    run();
  }

  // What was pushed before is all of the first list.
  void push_synced() {
    {
      const std::lock_guard lock(mutex_);
      if (removed_ || synced_) return;
      queue_.push_back({{}, true});
      if (std::exchange(running_, true)) return;
    }
    run();
  }

  void remove() {
    std::deque<entry> dropped;
    const std::lock_guard lock(mutex_);
    removed_ = true;
    queue_.swap(dropped);
  }

  bool synced() const {
    const std::lock_guard lock(mutex_);
    return synced_;
  }
  bool idle() const {
    const std::lock_guard lock(mutex_);
    return !running_;
  }
  std::size_t backlog() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
  }

 private:
  struct entry {
    erased_informer_event event;
    bool synced = false;  // a mark, not an event
  };

  void run() {
    if (call_async_) {
      asio::co_spawn(executor_, work(shared_from_this()), asio::detached);
    } else {
      asio::post(executor_, [self = shared_from_this()] { self->work_some(); });
    }
  }

  // The next event, or nothing when there is none: then the listener rests.
  std::optional<erased_informer_event> take() {
    bool rests = false;
    std::optional<erased_informer_event> next;
    {
      const std::lock_guard lock(mutex_);
      while (!queue_.empty() && !next) {
        entry first = std::move(queue_.front());
        queue_.pop_front();
        if (first.synced) {
          synced_ = true;
          rests = true;
        } else {
          next.emplace(std::move(first.event));
        }
      }
      if (!next) {
        running_ = false;
        rests = true;
      }
    }
    if (rests) idle_.notify();
    return next;
  }

  void work_some() {
    for (int i = 0; i < calls_in_a_row; ++i) {
      const std::optional<erased_informer_event> next = take();
      if (!next) return;
      try {
        call_(*next);
      } catch (...) {
        failed_(std::current_exception());
      }
    }
    asio::post(executor_, [self = shared_from_this()] { self->work_some(); });
  }

  static asio::awaitable<void> work(std::shared_ptr<listener> self) {
    for (;;) {
      std::optional<erased_informer_event> next = self->take();
      if (!next) co_return;
      std::exception_ptr failure;
      try {
        co_await self->call_async_(std::move(*next));
      } catch (...) {
        failure = std::current_exception();
      }
      if (failure) self->failed_(failure);
    }
  }

  const handler_id id_;
  const asio::any_io_executor executor_;
  const erased_handler call_;
  const erased_async_handler call_async_;
  const report failed_;
  const wake idle_;  // told when it rests, and when it has synced
  mutable std::mutex mutex_;
  std::deque<entry> queue_;
  bool running_ = false;  // somebody works on the queue, or is on the way
  bool synced_ = false;
  bool removed_ = false;
};

}  // namespace

// The copy and the list of handlers change on the strand only; the lock is for those who look.
struct informer_core::impl : std::enable_shared_from_this<informer_core::impl> {
  impl(asio::any_io_executor executor, std::unique_ptr<watch_source> source,
       object_store::identify_function identify, erased_informer_options with)
      : on_strand(asio::make_strand(executor)),
        options(std::move(with)),
        identify_object(identify),
        objects(std::make_shared<object_store>(identify)),
        state_changed(executor),
        reflected(on_strand, std::move(source), options.watch) {}

  void report_failure(const std::exception_ptr& failure) const {
    options.watch.log.log(log_level::warning, "kubernetes", "informer",
                          {{"error", describe(failure)}});
    if (!options.on_error) return;
    try {
      options.on_error(failure);
    } catch (...) {
      // It must not throw, and there is nobody else to tell.
    }
  }

  // --- What the watch says, on the strand
  // ---------------------------------------------------------

  void apply(change& what) {
    switch (what.type) {
      case watcher_event_type::restarted:
        objects->begin_replace();
        return;
      case watcher_event_type::synced:
        return apply_synced();
      case watcher_event_type::deleted:
        return apply_deleted(std::move(what.object));
      case watcher_event_type::added:
      case watcher_event_type::modified:
        return apply_present(std::move(what.object));
    }
  }

  void transform(const mutable_object_ptr& object) const {
    if (!options.transform) return;
    try {
      options.transform(object.get());
    } catch (...) {
      report_failure(std::current_exception());
    }
  }

  void apply_present(mutable_object_ptr object) {
    transform(object);
    const object_identity now = identify_object(object.get());
    const object_ptr had = objects->get(now.namespace_, now.name);
    if (had) {
      const object_identity before = identify_object(had.get());
      // A list is the truth, whatever it says; an event that comes late is none.
      const bool same = before.uid == now.uid;
      if (same && (before.resource_version == now.resource_version ||
                   (!listing && !is_newer(before, now)))) {
        return objects->keep(now.namespace_, now.name);
      }
      if (!same) {
        // Deleted and made again while nobody watched.
        objects->remove(before.namespace_, before.name);
        tell({informer_event_type::deleted, had, nullptr, false, false});
        objects->put(object);
        tell({informer_event_type::added, nullptr, std::move(object), false, false});
        return;
      }
    }
    objects->put(object);
    if (had) {
      tell({informer_event_type::updated, had, std::move(object), false, false});
    } else {
      tell({informer_event_type::added, nullptr, std::move(object), !synced, false});
    }
  }

  void apply_deleted(mutable_object_ptr object) {
    transform(object);
    const object_identity gone = identify_object(object.get());
    object_ptr had = objects->remove(gone.namespace_, gone.name);
    if (!had) return;
    tell({informer_event_type::deleted, std::move(had), std::move(object), false, false});
  }

  void apply_synced() {
    for (object_ptr& each : objects->end_replace()) {
      tell({informer_event_type::deleted, std::move(each), nullptr, false, false});
    }
    listing = false;
    {
      const std::lock_guard lock(mutex);
      if (synced.exchange(true)) return;
    }
    for (const auto& each : listeners) each->push_synced();
  }

  void tell(const erased_informer_event& event) {
    for (const auto& each : listeners) each->push(event);
  }

  static asio::awaitable<void> run(std::shared_ptr<impl> self) {
    for (;;) {
      std::exception_ptr failure;
      std::vector<change> batch;
      try {
        batch = co_await self->reflected.next_batch();
        for (change& each : batch) {
          if (self->stopping) break;
          self->apply(each);
          each.object.reset();
        }
        self->objects->resource_version(self->reflected.resource_version());
      } catch (...) {
        failure = std::current_exception();
      }
      self->state_changed.notify();
      if (failure || self->stopping) {
        self->ended(failure);
        co_return;
      }
      // Others on the executor get their turn, handlers on this strand among them.
      co_await asio::post(self->on_strand, asio::use_awaitable);
    }
  }

  void ended(const std::exception_ptr& failure) {
    if (failure && !stopping) report_failure(failure);
    {
      const std::lock_guard lock(mutex);
      failed = failure;
      running = false;
    }
    state_changed.notify();
  }

  // --- Handlers
  // -----------------------------------------------------------------------------------

  handler_id add(erased_handler call, erased_async_handler call_async, handler_options with) {
    handler_id id = 0;
    {
      const std::lock_guard lock(mutex);
      id = ++last_id;
    }
    asio::any_io_executor executor =
        with.executor ? with.executor : asio::any_io_executor(on_strand);
    auto added = std::make_shared<listener>(
        id, std::move(executor), std::move(call), std::move(call_async),
        [weak = weak_from_this()](const std::exception_ptr& failure) {
          if (const auto self = weak.lock()) self->report_failure(failure);
        },
        state_changed);
    {
      const std::lock_guard lock(mutex);
      known.push_back(added);
    }
    asio::dispatch(on_strand, [self = shared_from_this(), added, period = with.resync] {
      self->enlist(added);
      if (period.count() > 0) self->resync_each(added, period);
    });
    return id;
  }

  // On the strand, so that it misses nothing and sees nothing twice.
  void enlist(const std::shared_ptr<listener>& added) {
    if (stopping || !find(added->id())) return;
    for (object_ptr& each : objects->list()) {
      added->push({informer_event_type::added, nullptr, std::move(each), true, false});
    }
    if (synced) added->push_synced();
    listeners.push_back(added);
  }

  void resync_each(const std::shared_ptr<listener>& of, std::chrono::milliseconds period) {
    auto timer = std::make_shared<asio::steady_timer>(on_strand, period);
    resyncs.push_back(timer);
    resync_wait(timer, of, period);
  }

  void resync_wait(const std::shared_ptr<asio::steady_timer>& timer,
                   const std::shared_ptr<listener>& of, std::chrono::milliseconds period) {
    timer->async_wait(
        [weak = weak_from_this(), timer, of, period](const boost::system::error_code& ec) {
          const auto self = weak.lock();
          if (ec || !self || self->stopping || !self->find(of->id())) return;
          // One that has not got through the last round is not given another.
          if (self->synced && of->backlog() == 0) {
            for (const object_ptr& each : self->objects->list()) {
              of->push({informer_event_type::updated, each, each, false, true});
            }
          }
          timer->expires_after(period);
          self->resync_wait(timer, of, period);
        });
  }

  std::shared_ptr<listener> find(handler_id id) const {
    const std::lock_guard lock(mutex);
    const auto found = std::find_if(known.begin(), known.end(),
                                    [id](const auto& each) { return each->id() == id; });
    return found == known.end() ? nullptr : *found;
  }

  void remove(handler_id id) {
    const std::shared_ptr<listener> found = find(id);
    if (!found) return;
    found->remove();
    {
      const std::lock_guard lock(mutex);
      std::erase(known, found);
    }
    asio::dispatch(on_strand,
                   [self = shared_from_this(), found] { std::erase(self->listeners, found); });
    state_changed.notify();
  }

  // --- Beginning and end
  // --------------------------------------------------------------------------

  void start() {
    {
      const std::lock_guard lock(mutex);
      if (running || stopping) return;
      running = true;
      failed = nullptr;
    }
    asio::co_spawn(on_strand, run(shared_from_this()), asio::detached);
  }

  // Without waiting.
  void halt() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      for (const auto& each : known) each->remove();
    }
    reflected.close();
    asio::dispatch(on_strand, [self = shared_from_this()] {
      for (const auto& timer : self->resyncs) timer->cancel();
      self->resyncs.clear();
      self->listeners.clear();
    });
    state_changed.notify();
  }

  bool at_rest() const {
    const std::lock_guard lock(mutex);
    return !running &&
           std::all_of(known.begin(), known.end(), [](const auto& each) { return each->idle(); });
  }

  static asio::awaitable<void> wait_synced(std::shared_ptr<impl> self) {
    std::function<bool()> ready = [raw = self.get()] {
      const std::lock_guard lock(raw->mutex);
      return raw->synced || raw->failed || raw->stopping;
    };
    co_await self->state_changed.until(std::move(ready), "informer.synced");
    self->require(self->synced);
  }

  static asio::awaitable<void> wait_synced(std::shared_ptr<impl> self, handler_id id) {
    const std::shared_ptr<listener> of = self->find(id);
    if (!of) throw error(errc::cancelled, "informer", "there is no such handler");
    std::function<bool()> ready = [raw = self.get(), of, id] {
      if (of->synced() || !raw->find(id)) return true;
      const std::lock_guard lock(raw->mutex);
      return raw->stopping || (raw->failed && !raw->synced);
    };
    co_await self->state_changed.until(std::move(ready), "informer.synced");
    if (of->synced()) co_return;
    if (!self->find(id)) throw error(errc::cancelled, "informer", "the handler was removed");
    self->require(false);
  }

  // Why it is not synced, if it is not.
  void require(bool is_synced) const {
    if (is_synced) return;
    const std::lock_guard lock(mutex);
    if (failed && !stopping) std::rethrow_exception(failed);
    throw error(errc::cancelled, "informer", "stopped before it had the first list");
  }

  static asio::awaitable<void> stop(std::shared_ptr<impl> self) {
    self->halt();
    std::function<bool()> ready = [raw = self.get()] { return raw->at_rest(); };
    co_await self->state_changed.until(std::move(ready), "informer.stop");
  }

  const strand on_strand;
  const erased_informer_options options;
  const object_store::identify_function identify_object;
  const std::shared_ptr<object_store> objects;
  const wake state_changed;

  mutable std::mutex mutex;
  handler_id last_id = 0;
  std::vector<std::shared_ptr<listener>> known;
  bool running = false;
  std::atomic<bool> synced = false;    // once it is, it stays
  std::atomic<bool> stopping = false;  // the same
  std::exception_ptr failed;

  // On the strand.
  reflector reflected;
  bool listing = false;                              // between restarted and synced
  std::vector<std::shared_ptr<listener>> listeners;  // those that get events
  std::vector<std::shared_ptr<asio::steady_timer>> resyncs;
};

namespace {

erased_informer_options with_reports(erased_informer_options options) {
  // Failures of the watch and of handlers go the same way.
  if (!options.watch.on_error) {
    options.watch.on_error = options.on_error;
  } else if (options.on_error) {
    options.watch.on_error = [first = options.watch.on_error,
                              second = options.on_error](const std::exception_ptr& failure) {
      first(failure);
      second(failure);
    };
  }
  return options;
}

}  // namespace

informer_core::informer_core(asio::any_io_executor executor, std::unique_ptr<watch_source> source,
                             object_store::identify_function identify,
                             erased_informer_options options)
    : impl_(std::make_shared<impl>(std::move(executor), std::move(source), identify,
                                   with_reports(std::move(options)))) {}

informer_core::~informer_core() { impl_->halt(); }

handler_id informer_core::add_handler(erased_handler handler, handler_options options) {
  return impl_->add(std::move(handler), {}, std::move(options));
}

handler_id informer_core::add_handler(erased_async_handler handler, handler_options options) {
  return impl_->add({}, std::move(handler), std::move(options));
}

void informer_core::remove_handler(handler_id id) { impl_->remove(id); }

bool informer_core::has_synced(handler_id id) const {
  const auto found = impl_->find(id);
  return found && found->synced();
}

std::size_t informer_core::backlog(handler_id id) const {
  const auto found = impl_->find(id);
  return found ? found->backlog() : 0;
}

void informer_core::start() { impl_->start(); }

bool informer_core::has_synced() const { return impl_->synced; }

asio::awaitable<void> informer_core::synced() { return impl::wait_synced(impl_); }

asio::awaitable<void> informer_core::synced(handler_id id) { return impl::wait_synced(impl_, id); }

asio::awaitable<void> informer_core::stop() { return impl::stop(impl_); }

const std::shared_ptr<object_store>& informer_core::objects() const { return impl_->objects; }

}  // namespace detail
}  // namespace mizzen::kubernetes
