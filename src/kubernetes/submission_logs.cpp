#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/submission.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/watch.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <set>
#include <stop_token>
#include <tuple>
#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;

namespace {

constexpr std::size_t most_waiting = 256;  // lines

// Whether the kubelet has something to read. A terminated container that never was started has no
// time of that.
bool has_log(const core_v1::container_status& status) {
  const auto ran = [](const core_v1::container_state& state) {
    return state.running || (state.terminated && state.terminated->started_at);
  };
  return ran(status.state) || ran(status.last_state);
}

bool has_container(const core_v1::pod_spec& spec, const std::string& name) {
  const auto named = [&](const auto& container) { return container.name == name; };
  return std::any_of(spec.containers.begin(), spec.containers.end(), named) ||
         std::any_of(spec.init_containers.begin(), spec.init_containers.end(), named);
}

struct log_source {
  std::string pod;
  std::string container;
};

}  // namespace

// Everything happens on the strand, but for abort().
struct submission_logs::impl : std::enable_shared_from_this<impl> {
  impl(submission which, log_options how)
      : of(std::move(which)),
        options(std::move(how)),
        strand(asio::make_strand(of.k8s().executor())),
        wanted(strand),
        there(strand) {
    // Both timers are only ever cancelled: they wake who waits.
    wanted.expires_at(std::chrono::steady_clock::time_point::max());
    there.expires_at(std::chrono::steady_clock::time_point::max());
    // One token for all: the caller's stops it, and so does the end of submission_logs.
    on_stop.emplace(options.cancel.token, [source = stopped]() mutable { source.request_stop(); });
    options.cancel.token = stopped.get_token();
    if (of.kind() == "Job") {
      label_selector = "batch.kubernetes.io/controller-uid=" + of.uid();
    } else {
      field_selector = "metadata.name=" + of.name();
    }
  }

  void fail(std::exception_ptr why) {
    if (!failure) failure = std::move(why);
    there.cancel();
  }

  // The logs of a pod that were not opened before.
  std::vector<log_source> new_logs(const core_v1::pod& pod) {
    std::vector<log_source> found;
    if (of.kind() == "Pod" && pod.metadata.uid != of.uid()) return found;
    const auto& name = options.container;
    if (!name.empty() && !has_container(pod.spec, name)) {
      throw error(errc::not_found, "log_options.container",
                  "pod " + pod.metadata.name + " has no container " + name);
    }
    const auto look = [&](const core_v1::container_status& status) {
      if (!has_log(status)) return;
      if (!opened.insert(pod.metadata.uid + ' ' + status.name + ' ' + status.container_id).second) {
        return;
      }
      found.push_back({pod.metadata.name, status.name});
    };
    for (const auto& status : pod.status.init_container_statuses) {
      if (status.name == name) look(status);
    }
    for (const auto& status : pod.status.container_statuses) {
      if (name.empty() || status.name == name) look(status);
    }
    return found;
  }

  static asio::awaitable<void> read(std::shared_ptr<impl> self, log_source from) {
    boost::system::error_code woken;
    log_options how = self->options;
    how.container = from.container;
    try {
      auto opening = open_logs(self->of.k8s(), self->of.namespace_(), from.pod, std::move(how));
      log_stream log = co_await std::move(opening);
      while (std::optional<std::string> text = co_await log.read_line()) {
        while (self->lines.size() >= most_waiting && !self->stopped.stop_requested()) {
          co_await self->wanted.async_wait(asio::redirect_error(asio::use_awaitable, woken));
        }
        if (self->stopped.stop_requested()) break;
        self->lines.push_back({from.pod, from.container, std::move(*text)});
        self->there.cancel();
      }
    } catch (const status_error& e) {
      if (!is_not_found(e)) self->fail(std::current_exception());  // else deleted meanwhile
    } catch (...) {
      self->fail(std::current_exception());
    }
  }

  static asio::awaitable<void> read_beside(std::shared_ptr<impl> self, log_source from) {
    co_await read(self, std::move(from));
    --self->running;
    self->there.cancel();
  }

  void start(std::vector<log_source> logs) {
    for (auto& each : logs) {
      ++running;
      asio::co_spawn(strand, read_beside(shared_from_this(), std::move(each)),
                     [](const std::exception_ptr&) {});
    }
  }

  static asio::awaitable<std::vector<core_v1::pod>> list_pods(std::shared_ptr<impl> self) {
    const api<core_v1::pod> pods(self->of.k8s(), self->of.namespace_());
    list_options which;
    which.label_selector = self->label_selector;
    which.field_selector = self->field_selector;
    which.cancel = self->options.cancel;
    kubernetes::list<core_v1::pod> found = co_await pods.list_all(std::move(which));
    std::sort(found.items.begin(), found.items.end(), [](const auto& a, const auto& b) {
      return std::tie(a.metadata.creation_timestamp, a.metadata.name) <
             std::tie(b.metadata.creation_timestamp, b.metadata.name);
    });
    co_return std::move(found.items);
  }

  // These two run beside each other, until the first of them returns; it says why it did.
  static asio::awaitable<std::exception_ptr> follow_pods(std::shared_ptr<impl> self) {
    try {
      watch_options which;
      which.label_selector = self->label_selector;
      which.field_selector = self->field_selector;
      const api<core_v1::pod> pods(self->of.k8s(), self->of.namespace_());
      watcher<core_v1::pod> events(pods, std::move(which));
      for (;;) {
        const watcher_event<core_v1::pod> event = co_await events.next();
        if (event.object && event.type != watcher_event_type::deleted) {
          self->start(self->new_logs(*event.object));
        }
      }
    } catch (...) {
      co_return std::current_exception();
    }
  }
  static asio::awaitable<std::exception_ptr> await_end(std::shared_ptr<impl> self) {
    try {
      wait_options waiting;
      waiting.cancel = self->options.cancel;
      co_await self->of.wait(std::move(waiting));
      co_return std::exception_ptr();
    } catch (...) {
      co_return std::current_exception();
    }
  }

  static asio::awaitable<void> run(std::shared_ptr<impl> self) {
    using namespace asio::experimental::awaitable_operators;
    try {
      if (self->options.follow) {
        const auto first = co_await (follow_pods(self) || await_end(self));
        const std::exception_ptr why = std::visit([](const auto& each) { return each; }, first);
        if (why) std::rethrow_exception(why);
      }
      // All pods, or those that came and went between two looks of the watch.
      const std::vector<core_v1::pod> pods = co_await list_pods(self);
      for (const auto& pod : pods) {
        std::vector<log_source> logs = self->new_logs(pod);
        for (auto& each : logs) co_await read(self, std::move(each));
        if (self->failure) break;
      }
      self->options.cancel.check(self->of.name());
    } catch (...) {
      self->fail(std::current_exception());
    }
    --self->running;
    self->there.cancel();
  }

  static asio::awaitable<std::optional<submission_log_line>> take(std::shared_ptr<impl> self) {
    boost::system::error_code woken;
    while (self->lines.empty()) {
      if (self->failure) std::rethrow_exception(self->failure);
      if (self->running == 0) co_return std::nullopt;
      co_await self->there.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }
    submission_log_line line = std::move(self->lines.front());
    self->lines.pop_front();
    self->wanted.cancel();
    co_return line;
  }

  void abort() {
    stopped.request_stop();
    asio::post(strand, [self = shared_from_this()] { self->wanted.cancel(); });
  }

  submission of;
  log_options options;
  std::string label_selector;
  std::string field_selector;
  asio::strand<asio::any_io_executor> strand;
  asio::steady_timer wanted;
  asio::steady_timer there;
  std::stop_source stopped;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  std::set<std::string> opened;  // uid, container, its instance
  std::deque<submission_log_line> lines;
  std::size_t running = 1;  // run(), and each read_beside()
  std::exception_ptr failure;
};

submission_logs::submission_logs(std::shared_ptr<impl> made) noexcept : impl_(std::move(made)) {}
submission_logs::submission_logs(submission_logs&&) noexcept = default;
submission_logs& submission_logs::operator=(submission_logs&& other) noexcept {
  if (impl_ && impl_ != other.impl_) impl_->abort();
  impl_ = std::move(other.impl_);
  return *this;
}
submission_logs::~submission_logs() {
  if (impl_) impl_->abort();
}

asio::awaitable<std::optional<submission_log_line>> submission_logs::read_line() {
  auto taking = impl::take(impl_);
  return asio::co_spawn(impl_->strand, std::move(taking), asio::use_awaitable);
}

void submission_logs::close() noexcept { impl_->abort(); }

submission_logs submission::logs(log_options options) const {
  options.check();
  if (options.previous) {
    throw error(errc::invalid_argument, "log_options.previous",
                "is about one container: read it with open_logs()");
  }
  const auto made = std::make_shared<submission_logs::impl>(*this, std::move(options));
  asio::co_spawn(made->strand, submission_logs::impl::run(made), [](const std::exception_ptr&) {});
  return submission_logs(made);
}

}  // namespace mizzen::kubernetes
