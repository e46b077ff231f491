#include "kubernetes/channels.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/logs.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <stop_token>
#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;

namespace {

constexpr std::size_t longest_line = std::size_t{1} << 20;
// Lines that wait for the reader of several logs.
constexpr std::size_t most_waiting = 256;

}  // namespace

void log_options::check() const {
  const auto require = [](bool holds, const char* field, const char* why) {
    if (!holds) throw error(errc::invalid_argument, std::string("log_options.") + field, why);
  };
  require(!since || !since_time, "since", "since and since_time exclude each other");
  require(!since || since->count() > 0, "since", "must be positive");
  require(!tail_lines || *tail_lines >= 0, "tail_lines", "must not be negative");
  require(!limit_bytes || *limit_bytes > 0, "limit_bytes", "must be positive");
}

std::string log_url(std::string_view ns, std::string_view pod, const log_options& options) {
  options.check();
  std::string url = detail::pod_url(ns, pod, "log");
  const auto add = [&url](std::string_view name, std::string_view value) {
    detail::append_query(url, name, value);
  };
  if (!options.container.empty()) add("container", options.container);
  if (options.follow) add("follow", "true");
  if (options.previous) add("previous", "true");
  if (options.timestamps) add("timestamps", "true");
  if (options.since) add("sinceSeconds", std::to_string(options.since->count()));
  if (options.since_time) add("sinceTime", format_rfc3339(*options.since_time));
  if (options.tail_lines) add("tailLines", std::to_string(*options.tail_lines));
  if (options.limit_bytes) add("limitBytes", std::to_string(*options.limit_bytes));
  if (options.insecure_skip_tls_verify_backend) add("insecureSkipTLSVerifyBackend", "true");
  return url;
}

log_stream::log_stream(http::response_stream from) : from_(std::move(from)) {}

asio::awaitable<std::string_view> log_stream::read() { return from_.read(); }

asio::awaitable<std::optional<std::string>> log_stream::read_line() {
  for (;;) {
    const std::string_view waiting = std::string_view(rest_).substr(taken_);
    const std::size_t end = waiting.find('\n', searched_);
    if (end != std::string_view::npos || waiting.size() >= longest_line ||
        (ended_ && !waiting.empty())) {
      const std::size_t size = std::min({end, waiting.size(), longest_line});
      std::string line(waiting.substr(0, size));
      taken_ += size + (end == size ? 1 : 0);
      searched_ = 0;
      co_return line;
    }
    if (ended_) co_return std::nullopt;
    rest_.erase(0, taken_);
    taken_ = 0;
    searched_ = rest_.size();
    const std::string_view piece = co_await from_.read();
    rest_.append(piece);
    ended_ = piece.empty();
  }
}

asio::awaitable<log_stream> open_logs(client k8s, std::string ns, std::string pod,
                                      log_options options) {
  http::request what;
  what.url = log_url(ns, pod, options);
  what.headers.add("Accept", "*/*");
  call_options with;
  with.cancel = options.cancel;
  with.silence = options.silence;
  co_return log_stream(co_await k8s.open(std::move(what), std::move(with)));
}

asio::awaitable<std::string> read_logs(client k8s, std::string ns, std::string pod,
                                       log_options options, std::size_t max_size) {
  http::request what;
  what.url = log_url(ns, pod, options);
  what.headers.add("Accept", "*/*");
  call_options with;
  with.cancel = options.cancel;
  with.silence = options.silence;
  http::response_stream stream = co_await k8s.open(std::move(what), std::move(with));
  co_return co_await stream.read_all(max_size);
}

// Everything happens on the strand, but for abort().
struct merged_logs::impl : std::enable_shared_from_this<impl> {
  explicit impl(const asio::any_io_executor& on)
      : strand(asio::make_strand(on)), wanted(strand), there(strand) {
    // Both timers are only ever cancelled: they wake who waits.
    wanted.expires_at(std::chrono::steady_clock::time_point::max());
    there.expires_at(std::chrono::steady_clock::time_point::max());
  }

  static asio::awaitable<void> pump(std::shared_ptr<impl> self, std::size_t which,
                                    std::shared_ptr<log_stream> from) {
    boost::system::error_code woken;
    try {
      while (!self->stopped.stop_requested()) {
        std::optional<std::string> line = co_await from->read_line();
        if (!line) break;
        while (self->lines.size() >= most_waiting && !self->stopped.stop_requested()) {
          co_await self->wanted.async_wait(asio::redirect_error(asio::use_awaitable, woken));
        }
        self->lines.push_back({self->names[which], std::move(*line)});
        self->there.cancel();
      }
    } catch (...) {
      if (!self->failure) self->failure = std::current_exception();
    }
    --self->running;
    self->there.cancel();
  }

  static asio::awaitable<std::optional<log_line>> take(std::shared_ptr<impl> self) {
    boost::system::error_code woken;
    while (self->lines.empty()) {
      if (self->failure) std::rethrow_exception(self->failure);
      if (self->running == 0) co_return std::nullopt;
      co_await self->there.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }
    log_line line = std::move(self->lines.front());
    self->lines.pop_front();
    self->wanted.cancel();
    co_return line;
  }

  void abort() {
    stopped.request_stop();
    asio::post(strand, [self = shared_from_this()] { self->wanted.cancel(); });
  }

  asio::strand<asio::any_io_executor> strand;
  asio::steady_timer wanted;
  asio::steady_timer there;
  std::stop_source stopped;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  std::vector<std::string> names;
  std::deque<log_line> lines;
  std::size_t running = 0;
  std::exception_ptr failure;
};

merged_logs::merged_logs(std::shared_ptr<impl> made) noexcept : impl_(std::move(made)) {}
merged_logs::merged_logs(merged_logs&&) noexcept = default;
merged_logs& merged_logs::operator=(merged_logs&& other) noexcept {
  if (impl_ && impl_ != other.impl_) impl_->abort();
  impl_ = std::move(other.impl_);
  return *this;
}
merged_logs::~merged_logs() {
  if (impl_) impl_->abort();
}

asio::awaitable<std::optional<log_line>> merged_logs::read_line() {
  auto taking = impl::take(impl_);
  return asio::co_spawn(impl_->strand, std::move(taking), asio::use_awaitable);
}

const std::vector<std::string>& merged_logs::containers() const noexcept { return impl_->names; }

void merged_logs::close() noexcept { impl_->abort(); }

namespace {

asio::awaitable<std::vector<std::string>> containers_of(client k8s, std::string ns, std::string pod,
                                                        mizzen::cancellation cancel) {
  http::request what;
  what.url = detail::pod_url(ns, pod, "");
  what.url.pop_back();
  call_options with;
  with.cancel = std::move(cancel);
  const http::response answer = co_await k8s.send(std::move(what), std::move(with));
  std::vector<std::string> names;
  const json whole = json::parse(answer.body, nullptr, false);
  if (whole.is_object()) {
    const json none = json::array();
    const json spec = whole.value("spec", json::object());
    for (const json& each : spec.is_object() ? spec.value("containers", none) : none) {
      if (each.is_object() && each.contains("name") && each["name"].is_string()) {
        names.push_back(each["name"].get<std::string>());
      }
    }
  }
  if (names.empty()) {
    throw error(errc::data_loss, ns + "/" + pod, "the server's answer names no container");
  }
  co_return names;
}

}  // namespace

asio::awaitable<merged_logs> open_merged_logs(client k8s, std::string ns, std::string pod,
                                              log_options options,
                                              std::vector<std::string> containers) {
  if (containers.empty()) {
    auto asking = containers_of(k8s, ns, pod, options.cancel);
    containers = co_await std::move(asking);
  }
  const auto made = std::make_shared<merged_logs::impl>(k8s.executor());
  made->names = containers;
  // One token for all: the caller's stops it, and so does the end of this object.
  const std::stop_source source = made->stopped;
  made->on_stop.emplace(options.cancel.token,
                        [source]() mutable { std::stop_source(source).request_stop(); });
  merged_logs merged(made);
  options.cancel.token = made->stopped.get_token();
  std::vector<std::shared_ptr<log_stream>> streams;
  for (const std::string& each : containers) {
    options.container = each;
    auto opening = open_logs(k8s, ns, pod, options);
    streams.push_back(std::make_shared<log_stream>(co_await std::move(opening)));
  }
  made->running = streams.size();
  for (std::size_t i = 0; i < streams.size(); ++i) {
    asio::co_spawn(made->strand, merged_logs::impl::pump(made, i, streams[i]),
                   [](const std::exception_ptr&) {});
  }
  co_return merged;
}

}  // namespace mizzen::kubernetes
