#include "kubernetes/event_series.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/detail/wake.hpp>
#include <mizzen/kubernetes/event_recorder.hpp>
#include <mizzen/kubernetes/types/events_v1.hpp>
#include <mizzen/kubernetes/work_queue.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <unistd.h>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace detail;
using event_api = api<events_v1::event>;
using wall_time = event_series::time_point;

// Limits of the server's validation (pkg/apis/core/validation/events.go).
constexpr std::size_t max_word = 128;
constexpr std::size_t max_note = 1024;
constexpr std::size_t max_name = 253;

std::string host_name() {
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) return "unknown";
  return host;
}

wall_time now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

void cut(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  // Not in the middle of a character of UTF-8.
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0U) == 0x80U) --most;
  text.resize(most);
}

void check(const recorded_event& event) {
  const auto fail = [](std::string_view field, std::string_view why) {
    throw error(errc::invalid_argument, field, why);
  };
  if (event.regarding.kind.empty()) fail("event.regarding.kind", "is missing");
  if (event.regarding.name.empty()) fail("event.regarding.name", "is missing");
  if (event.reason.empty() || event.reason.size() > max_word) {
    fail("event.reason", "must have 1 to 128 characters");
  }
  if (event.action.empty() || event.action.size() > max_word) {
    fail("event.action", "must have 1 to 128 characters");
  }
}

// Events with the same key are one series. '\0' is in none of the parts.
std::string key_of(const recorded_event& event) {
  std::string key;
  const auto add = [&key](std::string_view part) { key.append(part).push_back('\0'); };
  for (const core_v1::object_reference* each : {&event.regarding, &event.related}) {
    add(each->api_version);
    add(each->kind);
    add(each->namespace_);
    add(each->name);
    add(each->uid);
    add(each->field_path);
  }
  add(event.reason);
  add(event.action);
  add(event.type == event_type::warning ? "w" : "n");
  return key;
}

std::string object_name(const recorded_event& event, wall_time at, std::uint64_t number) {
  char suffix[48];
  const int length = std::snprintf(suffix, sizeof suffix, ".%llx.%llx",
                                   static_cast<unsigned long long>(at.time_since_epoch().count()),
                                   static_cast<unsigned long long>(number));
  std::string name = event.regarding.name;
  // What some kinds allow in names (RBAC's colons) an event's name may not hold.
  std::erase_if(name, [](char c) {
    return !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.');
  });
  if (name.size() + static_cast<std::size_t>(length) > max_name) {
    name.resize(max_name - static_cast<std::size_t>(length));
  }
  while (!name.empty() && (name.back() == '.' || name.back() == '-')) name.pop_back();
  while (!name.empty() && (name.front() == '.' || name.front() == '-')) name.erase(0, 1);
  if (name.empty()) name = "event";
  return name + suffix;
}

}  // namespace

struct event_recorder::impl : std::enable_shared_from_this<event_recorder::impl> {
  struct queued {
    recorded_event event;
    wall_time at;
  };

  impl(const client& to, event_recorder_options with)
      : k8s(to),
        options(std::move(with)),
        on_strand(asio::make_strand(k8s.executor())),
        changed(k8s.executor()),
        series(options.capacity) {}

  // The worker runs as long as something is queued; the alarm starts it for what is due.
  void kick() {
    {
      const std::lock_guard lock(mutex);
      if (stopped || std::exchange(working, true)) return;
    }
    asio::co_spawn(on_strand, work(shared_from_this()), asio::detached);
  }

  void record(recorded_event event) {
    cut(event.note, max_note);
    {
      const std::lock_guard lock(mutex);
      if (queue.size() >= options.capacity) {
        ++dropped;
        return;
      }
      queue.push_back({std::move(event), now()});
      ++accepted;
    }
    kick();
  }

  static asio::awaitable<void> work(std::shared_ptr<impl> self) {
    for (;;) {
      std::optional<queued> next;
      {
        const std::lock_guard lock(self->mutex);
        if (!self->queue.empty() && !self->stopped) {
          next.emplace(std::move(self->queue.front()));
          self->queue.pop_front();
        }
      }
      if (next) {
        const std::string key = key_of(next->event);
        const std::string& own = next->event.regarding.namespace_;
        const event_series::action action =
            self->series.recorded(key, own.empty() ? "default" : own,
                                  object_name(next->event, next->at, ++self->number), next->at);
        if (action.what == event_series::action::kind::create) {
          co_await create(self, action, std::move(*next));
        } else if (action.what == event_series::action::kind::update) {
          co_await update(self, action);
        }
        {
          const std::lock_guard lock(self->mutex);
          ++self->handled;
        }
        self->changed.notify();
        continue;
      }
      for (const event_series::action& action : self->series.due(now())) {
        co_await update(self, action);
      }
      if (self->series.size() > 0) {
        self->alarm->set(std::chrono::steady_clock::now() + std::chrono::minutes(1));
      }
      const std::lock_guard lock(self->mutex);
      if (!self->queue.empty() && !self->stopped) continue;
      self->working = false;
      co_return;
    }
  }

  static asio::awaitable<void> create(std::shared_ptr<impl> self, event_series::action action,
                                      queued what) {
    events_v1::event event;
    event.metadata.name = action.name;
    event.metadata.namespace_ = action.namespace_;
    event.event_time = micro_time{what.at};
    event.reporting_controller = self->options.controller;
    event.reporting_instance = self->options.instance;
    event.regarding = std::move(what.event.regarding);
    if (!what.event.related.name.empty()) event.related = std::move(what.event.related);
    event.reason = std::move(what.event.reason);
    event.action = std::move(what.event.action);
    event.note = std::move(what.event.note);
    event.type = what.event.type == event_type::warning ? "Warning" : "Normal";
    std::exception_ptr failure;
    try {
      event_api events(self->k8s, action.namespace_);
      write_options write;
      write.cancel = self->limit();
      co_await events.create(event, std::move(write));
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) co_return;
    self->series.forget(action.key);
    self->failed(failure);
  }

  static asio::awaitable<void> update(std::shared_ptr<impl> self, event_series::action action) {
    std::exception_ptr failure;
    try {
      event_api events(self->k8s, action.namespace_);
      patch_options write;
      write.cancel = self->limit();
      json series;
      series["series"]["count"] = action.count;
      series["series"]["lastObservedTime"] = micro_time{action.last}.to_string();
      patch change = patch::merge(std::move(series));
      co_await events.patch(action.name, std::move(change), std::move(write));
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) co_return;
    self->series.forget(action.key);
    self->failed(failure);
  }

  cancellation limit() const {
    return {stop.get_token(), deadline::after(std::chrono::seconds(30))};
  }

  void failed(const std::exception_ptr& failure) {
    if (stop.stop_requested()) return;
    ++dropped;
    options.log.log(log_level::warning, "kubernetes", "event not written",
                    {{"error", describe(failure)}});
    if (options.on_error) options.on_error(failure);
  }

  void halt() {
    {
      const std::lock_guard lock(mutex);
      stopped = true;
      queue.clear();
    }
    stop.request_stop();
    changed.notify();
  }

  client k8s;
  const event_recorder_options options;
  const asio::strand<asio::any_io_executor> on_strand;
  const wake changed;
  std::unique_ptr<detail::alarm> alarm;
  std::stop_source stop;
  std::atomic<std::uint64_t> dropped = 0;

  std::mutex mutex;
  std::deque<queued> queue;
  std::uint64_t accepted = 0, handled = 0;
  bool working = false;
  bool stopped = false;

  // On the strand.
  event_series series;
  std::uint64_t number = 0;
};

event_recorder::event_recorder(const client& k8s, event_recorder_options options) {
  if (options.controller.empty()) {
    throw error(errc::invalid_argument, "event_recorder_options.controller",
                "is missing: say who reports, as in example.com/my-controller");
  }
  if (options.instance.empty()) options.instance = host_name();
  cut(options.instance, max_word);
  options.capacity = std::max<std::size_t>(1, options.capacity);
  const auto made = std::make_shared<impl>(k8s, std::move(options));
  made->alarm = std::make_unique<detail::alarm>(k8s.executor(), [weak = std::weak_ptr<impl>(made)] {
    if (const auto self = weak.lock()) self->kick();
  });
  impl_ = detail::halting(made);
}

event_recorder::event_recorder(event_recorder&&) noexcept = default;
event_recorder& event_recorder::operator=(event_recorder&&) noexcept = default;
event_recorder::~event_recorder() = default;

void event_recorder::record(recorded_event event) {
  check(event);
  impl_->record(std::move(event));
}

std::uint64_t event_recorder::dropped() const noexcept { return impl_->dropped; }

asio::awaitable<void> event_recorder::flush() {
  const std::shared_ptr<impl> self = impl_.share();
  std::uint64_t wanted = 0;
  {
    const std::lock_guard lock(self->mutex);
    wanted = self->accepted;
  }
  std::function<bool()> ready = [raw = self.get(), wanted] {
    const std::lock_guard lock(raw->mutex);
    return raw->handled >= wanted || raw->stopped;
  };
  co_await self->changed.until(std::move(ready), "event_recorder.flush");
}

}  // namespace mizzen::kubernetes
