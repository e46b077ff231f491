#include "kubernetes/watch_machine.hpp"
#include "kubernetes/watch_source.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/status.hpp>
#include <mizzen/kubernetes/watch.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <stop_token>
#include <utility>

namespace mizzen::kubernetes {

std::string_view to_string(watcher_event_type type) noexcept {
  switch (type) {
    case watcher_event_type::restarted:
      return "restarted";
    case watcher_event_type::synced:
      return "synced";
    case watcher_event_type::added:
      return "added";
    case watcher_event_type::modified:
      return "modified";
    case watcher_event_type::deleted:
      return "deleted";
  }
  return "unknown";
}

namespace detail {
namespace {

namespace asio = boost::asio;
using clock = std::chrono::steady_clock;
using strand = asio::strand<asio::any_io_executor>;

// As many changes are handed out at once at most, so that others get their turn.
constexpr std::size_t batch_size = 256;

// A server that does not know of streamed lists sends the objects and then nothing: so much
// silence before the list's end means that.
constexpr std::chrono::milliseconds initial_silence{15'000};

watcher_event_type type_of_change(wire_kind kind) {
  switch (kind) {
    case wire_kind::modified:
      return watcher_event_type::modified;
    case wire_kind::deleted:
      return watcher_event_type::deleted;
    default:
      return watcher_event_type::added;
  }
}

watch_failure classify(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const status_error& e) {
    watch_failure result{.what = watch_failure::kind::status};
    result.code = e.http_status() >= 400 ? e.http_status() : e.status().code;
    result.version_too_large = has_cause(e, "ResourceVersionTooLarge");
    result.retry_after = e.retry_after();
    return result;
  } catch (const error& e) {
    switch (e.code()) {
      case errc::unauthenticated:
        return {.what = watch_failure::kind::status, .code = 401};
      case errc::data_loss:
      case errc::invalid_argument:
      case errc::resource_exhausted:
        return {.what = watch_failure::kind::malformed};
      default:
        return {.what = watch_failure::kind::network};
    }
  } catch (...) {
    return {.what = watch_failure::kind::network};
  }
}

// Closes a stream on which nothing has come for too long.
struct watchdog : std::enable_shared_from_this<watchdog> {
  watchdog(strand on, const std::shared_ptr<event_stream>& what) : timer(on), stream(what) {}

  static void start(const std::shared_ptr<watchdog>& self) {
    asio::post(self->timer.get_executor(), [self] { self->wait(); });
  }

  void stop() {
    stopped = true;
    asio::post(timer.get_executor(), [self = shared_from_this()] { self->timer.cancel(); });
  }

  void heard() { last.store(clock::now()); }

  void wait() {
    if (stopped) return;
    timer.expires_at(last.load() + limit.load());
    timer.async_wait([self = shared_from_this()](const boost::system::error_code&) {
      if (self->stopped) return;
      if (clock::now() < self->last.load() + self->limit.load()) return self->wait();
      self->barked = true;
      if (const auto alive = self->stream.lock()) alive->close();
    });
  }

  // Looks at the limit again, which has become shorter or longer.
  void limit_to(std::chrono::milliseconds most) { limit.store(most); }

  asio::steady_timer timer;
  std::weak_ptr<event_stream> stream;
  std::atomic<clock::time_point> last = clock::now();
  std::atomic<std::chrono::milliseconds> limit = std::chrono::milliseconds{0};
  std::atomic<bool> stopped = false;
  std::atomic<bool> barked = false;
};

watch_machine_options machine_options(const watch_options& options) {
  return {.stream_lists = options.stream_lists,
          .page_size = options.page_size,
          .resource_version = options.resource_version,
          .first_backoff = options.first_backoff,
          .last_backoff = options.last_backoff,
          .server_timeout = options.server_timeout,
          .seed = std::random_device{}()};
}

}  // namespace

struct reflector::impl {
  impl(asio::any_io_executor executor, std::unique_ptr<watch_source> from, watch_options with)
      : on_strand(asio::make_strand(std::move(executor))),
        pause(on_strand),
        source(std::move(from)),
        options(std::move(with)),
        machine(machine_options(options)) {}

  ~impl() { drop_stream(); }

  [[noreturn]] static void throw_closed() {
    throw error(errc::cancelled, "watch", "closed by the caller");
  }

  // Closed or cancelled; after the latter the next call goes on from here.
  [[noreturn]] void give_up() {
    drop_stream();
    throw_closed();
  }

  void report(const std::exception_ptr& failure) {
    options.log.log(
        log_level::warning, "kubernetes", "watch interrupted",
        {{"error", describe(failure)}, {"resource_version", machine.resource_version()}});
    if (options.on_error) options.on_error(failure);
  }

  // Tells the machine. Throws the failure if no retry mends it.
  void failed(const std::exception_ptr& why, bool may_throw) {
    const std::chrono::milliseconds lived = drop_stream();
    const watch_failure what = classify(why);
    failed(what, why, lived, may_throw);
  }

  void failed(const watch_failure& what, const std::exception_ptr& why,
              std::chrono::milliseconds lived, bool may_throw) {
    const bool never = !received && what.what == watch_failure::kind::malformed;
    const bool retry = machine.failed(what, lived);
    if (may_throw && (never || !retry)) std::rethrow_exception(why);
    report(why);
  }

  void open(std::shared_ptr<event_stream> opened) {
    opened_at = clock::now();
    guard = std::make_shared<watchdog>(on_strand, opened);
    guard->limit =
        machine.in_initial_events() ? std::min(options.silence, initial_silence) : options.silence;
    if (options.silence.count() > 0) watchdog::start(guard);
    const std::lock_guard lock(mutex);
    stream = std::move(opened);
    if (closed) stream->close();
  }

  // How long it had been open.
  std::chrono::milliseconds drop_stream() {
    std::shared_ptr<event_stream> dropped;
    {
      const std::lock_guard lock(mutex);
      dropped = std::exchange(stream, nullptr);
    }
    if (guard) guard->stop();
    if (!dropped) return {};
    dropped->close();
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - opened_at);
  }

  void put(const watch_verdict& verdict, watcher_event_type type, mutable_object_ptr object,
           std::vector<change>& out) {
    received = true;
    if (verdict.restarted) out.push_back({watcher_event_type::restarted, nullptr});
    if (verdict.deliver) out.push_back({type, std::move(object)});
    if (verdict.synced) out.push_back({watcher_event_type::synced, nullptr});
  }

  // Events that have been read already. False: the stream is gone.
  bool take_events(std::vector<change>& out) {
    try {
      wire_event event;
      while (out.size() < batch_size && stream->next(event)) {
        if (event.failure) {
          failed(event.failure, false);
          return false;
        }
        if (event.resource_version.empty()) {
          throw error(errc::data_loss, "watch event", "it has no metadata.resourceVersion");
        }
        const watch_verdict verdict =
            machine.event(event.kind, event.resource_version, event.initial_events_end);
        put(verdict, type_of_change(event.kind), std::move(event.object), out);
        if (verdict.synced) guard->limit_to(options.silence);
      }
      return true;
    } catch (const std::exception&) {
      const std::chrono::milliseconds lived = drop_stream();
      failed({.what = watch_failure::kind::malformed}, std::current_exception(), lived, false);
      return false;
    }
  }

  // After the read of a stream has failed.
  void read_failed(const std::exception_ptr& why) {
    if (guard->barked) {
      const std::chrono::milliseconds lived = drop_stream();
      const auto silent = std::make_exception_ptr(
          error(errc::deadline_exceeded, "watch",
                "nothing came for " + std::to_string(guard->limit.load().count()) +
                    " ms, not even a bookmark; it is resumed on another connection",
                why));
      failed({.what = watch_failure::kind::silence}, silent, lived, false);
    } else {
      failed(why, false);
    }
  }

  void stream_ended() {
    if (stream->mid_event()) {
      failed(std::make_exception_ptr(
                 error(errc::unavailable, "watch", "the stream ended in the middle of an event")),
             false);
    } else {
      machine.ended(drop_stream());
    }
  }

  void put_page(wire_page page, std::vector<change>& out) {
    watch_verdict verdict = machine.page(page.resource_version, page.continue_token);
    received = true;
    out.reserve(page.objects.size() + 2);
    if (verdict.restarted) out.push_back({watcher_event_type::restarted, nullptr});
    for (mutable_object_ptr& each : page.objects) {
      out.push_back({watcher_event_type::added, std::move(each)});
    }
    if (verdict.synced) out.push_back({watcher_event_type::synced, nullptr});
  }

  // On the strand.
  static asio::awaitable<void> sleep(std::shared_ptr<impl> self, std::chrono::milliseconds time) {
    if (self->closed) throw_closed();
    self->pause.expires_after(time);
    boost::system::error_code ignored;
    co_await self->pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (self->closed) throw_closed();
  }

  static asio::awaitable<std::vector<change>> next_batch(std::shared_ptr<impl> self) {
    const asio::cancellation_state cancelled = co_await asio::this_coro::cancellation_state;
    const auto stopped = [&] {
      return self->closed || cancelled.cancelled() != asio::cancellation_type::none;
    };
    std::vector<change> out;
    for (;;) {
      if (!out.empty()) co_return out;
      if (stopped()) self->give_up();
      std::exception_ptr failure;
      if (self->stream) {
        if (!self->take_events(out) || !out.empty()) continue;
        bool more = false;
        const std::shared_ptr<event_stream> stream = self->stream;
        try {
          more = co_await stream->read();
        } catch (...) {
          failure = std::current_exception();
        }
        if (stopped()) self->give_up();
        if (failure) {
          self->read_failed(failure);
        } else if (more) {
          self->guard->heard();
        } else {
          self->stream_ended();
        }
        continue;
      }

      watch_step step = self->machine.next();
      cancellation cancel;
      cancel.token = self->stop.get_token();
      if (step.what == watch_step::kind::wait) {
        co_await asio::co_spawn(self->on_strand, sleep(self, step.delay), asio::use_awaitable);
        continue;
      }
      try {
        if (step.what == watch_step::kind::list) {
          wire_page page = co_await self->source->list(std::move(step), cancel);
          self->put_page(std::move(page), out);
        } else {
          std::shared_ptr<event_stream> opened =
              co_await self->source->watch(std::move(step), cancel);
          self->open(std::move(opened));
        }
      } catch (...) {
        failure = std::current_exception();
      }
      if (stopped()) self->give_up();
      if (failure) self->failed(failure, true);
    }
  }

  void close() {
    closed = true;
    stop.request_stop();
    {
      const std::lock_guard lock(mutex);
      if (stream) stream->close();
    }
    asio::post(on_strand, [weak = std::weak_ptr<impl>(self)] {
      if (const auto alive = weak.lock()) alive->pause.cancel();
    });
  }

  std::weak_ptr<impl> self;
  strand on_strand;
  asio::steady_timer pause;  // on the strand
  std::unique_ptr<watch_source> source;
  watch_options options;
  watch_machine machine;
  std::mutex mutex;  // guards the pointer below against close()
  std::shared_ptr<event_stream> stream;
  std::shared_ptr<watchdog> guard;  // of the stream
  clock::time_point opened_at;
  std::vector<change> left;  // of a batch, for next()
  std::size_t left_from = 0;
  std::stop_source stop;
  std::atomic<bool> closed = false;
  bool received = false;  // anything at all
};

reflector::reflector(asio::any_io_executor executor, std::unique_ptr<watch_source> source,
                     watch_options options)
    : impl_(std::make_shared<impl>(std::move(executor), std::move(source), std::move(options))) {
  impl_->self = impl_;
}

reflector::reflector(reflector&&) noexcept = default;
reflector& reflector::operator=(reflector&& other) noexcept {
  if (this != &other) {
    if (impl_) impl_->close();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

reflector::~reflector() {
  if (impl_) impl_->close();
}

asio::awaitable<std::vector<change>> reflector::next_batch() { return impl::next_batch(impl_); }

namespace {
template <class Impl>
asio::awaitable<change> next_of(std::shared_ptr<Impl> self) {
  if (self->left_from == self->left.size()) {
    self->left.clear();
    self->left_from = 0;
    self->left = co_await Impl::next_batch(self);
  }
  if (self->closed) Impl::throw_closed();
  co_return std::move(self->left[self->left_from++]);
}
}  // namespace

asio::awaitable<change> reflector::next() { return next_of(impl_); }

void reflector::close() { impl_->close(); }

std::string reflector::resource_version() const { return impl_->machine.resource_version(); }

}  // namespace detail
}  // namespace mizzen::kubernetes
