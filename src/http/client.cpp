#include "http/exchange.hpp"
#include "http/websocket_connection.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

namespace mizzen::http {

using namespace detail;

struct client::impl {
  impl(asio::any_io_executor on, const client_options& with)
      : core(std::make_shared<client_core>(std::move(on), with)) {}
  ~impl() { core->pool.clear(); }

  // Each has what it needs in its own frame: the client may be gone before they begin.
  static asio::awaitable<response> send(std::shared_ptr<client_core> core, request what,
                                        send_options options) {
    const auto work = std::make_shared<exchange>(core, std::move(what), std::move(options));
    work->want_whole(core->options().max_body);
    co_await exchange::begin(work);
    co_return std::move(work->answer());
  }

  static asio::awaitable<response_stream> open(std::shared_ptr<client_core> core, request what,
                                               send_options options) {
    const auto work = std::make_shared<exchange>(core, std::move(what), std::move(options));
    co_await exchange::begin(work);
    work->lift_timeout();
    co_return response_stream(work);
  }

  static asio::awaitable<void> wait(asio::steady_timer& timer) {
    boost::system::error_code stopped;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, stopped));
  }

  // Ends early when the caller cancels; the next attempt says so.
  static asio::awaitable<void> pause(std::shared_ptr<client_core> core,
                                     std::chrono::milliseconds time, std::stop_token token) {
    const auto timer =
        std::make_shared<asio::steady_timer>(asio::make_strand(core->executor), time);
    const std::stop_callback on_stop(token, [timer] {
      asio::post(timer->get_executor(),
                 [timer] { timer->expires_at(std::chrono::steady_clock::time_point::min()); });
    });
    co_await asio::co_spawn(timer->get_executor(), wait(*timer), asio::use_awaitable);
  }

  static asio::awaitable<response> download(std::shared_ptr<client_core> core, request what,
                                            std::filesystem::path file, send_options options,
                                            retry_policy policy) {
    if (options.sink) {
      throw request_error(error(errc::invalid_argument, "send_options.sink",
                                "a download has its own; leave it empty"),
                          false);
    }
    const auto sink = std::make_shared<file_sink>(std::move(file));
    options.sink = sink;
    retry again(policy, what.method, options.cancel.deadline);
    for (;;) {
      sink->prepare(what);
      std::optional<std::chrono::milliseconds> time;
      std::optional<request_error> failure;
      try {
        auto sending = send(core, what, options);
        response answer = co_await std::move(sending);
        if (answer.ok()) {
          sink->commit();
          co_return answer;
        }
        if (sink->starts_over(answer)) continue;
        time = again.after(answer, std::chrono::system_clock::now());
        if (!time) co_return answer;
      } catch (const request_error& e) {
        failure = e;
      }
      if (failure) time = again.after(*failure);
      if (!time) throw *failure;
      core->options().log.log(log_level::debug, "http", "the download is gone on with",
                              {{"url", what.url}, {"bytes", sink->received()}});
      auto waiting = pause(core, *time, options.cancel.token);
      co_await std::move(waiting);
    }
  }

  static asio::awaitable<websocket> upgrade(std::shared_ptr<client_core> core, request what,
                                            websocket_options options) {
    auto opening = websocket_connection::open(std::move(core), std::move(what), std::move(options));
    auto made = co_await std::move(opening);
    co_return websocket(std::move(made));
  }

  std::shared_ptr<client_core> core;
};

client::client(asio::any_io_executor executor, client_options options)
    : impl_(std::make_shared<impl>(std::move(executor), std::move(options))) {}
client::client(client&&) noexcept = default;
client& client::operator=(client&&) noexcept = default;
client::~client() = default;

asio::awaitable<response> client::send(request what, send_options options) {
  return impl::send(impl_->core, std::move(what), std::move(options));
}

asio::awaitable<response_stream> client::open(request what, send_options options) {
  return impl::open(impl_->core, std::move(what), std::move(options));
}

asio::awaitable<response> client::download(request what, std::filesystem::path file,
                                           send_options options, retry_policy policy) {
  return impl::download(impl_->core, std::move(what), std::move(file), std::move(options), policy);
}

asio::awaitable<websocket> client::upgrade(request what, websocket_options options) {
  return impl::upgrade(impl_->core, std::move(what), std::move(options));
}

std::size_t client::idle_connections() const { return impl_->core->pool.size(); }

void client::close_idle() { impl_->core->pool.clear(); }

response_stream::response_stream(std::shared_ptr<exchange> of) noexcept
    : exchange_(std::move(of)) {}
response_stream::response_stream() noexcept = default;
response_stream::response_stream(response_stream&&) noexcept = default;
response_stream& response_stream::operator=(response_stream&& other) noexcept {
  if (exchange_ && exchange_ != other.exchange_) exchange_->abandon();
  exchange_ = std::move(other.exchange_);
  return *this;
}
response_stream::~response_stream() {
  if (exchange_) exchange_->abandon();
}

const response& response_stream::head() const noexcept { return exchange_->answer(); }

asio::awaitable<std::string_view> response_stream::read() { return exchange::read(exchange_); }

asio::awaitable<std::string> response_stream::read_all(std::size_t max_size) {
  return exchange::read_all(exchange_, max_size);
}

void response_stream::close() noexcept { exchange_->abandon(); }

struct blocking_client::impl {
  explicit impl(client_options options) : inner(context.get_executor(), std::move(options)) {}

  // The calling thread does the work.
  response run(asio::awaitable<response> work) {
    std::exception_ptr failure;
    std::optional<response> answer;
    asio::co_spawn(context, std::move(work),
                   [&](const std::exception_ptr& thrown, response result) {
                     failure = thrown;
                     answer = std::move(result);
                   });
    context.restart();
    while (!answer) context.run_one();
    if (failure) std::rethrow_exception(failure);
    return std::move(*answer);
  }

  std::mutex mutex;
  asio::io_context context{1};
  client inner;
};

blocking_client::blocking_client(client_options options)
    : impl_(std::make_unique<impl>(std::move(options))) {}
blocking_client::blocking_client(blocking_client&&) noexcept = default;
blocking_client& blocking_client::operator=(blocking_client&&) noexcept = default;
blocking_client::~blocking_client() = default;

response blocking_client::send(request what, send_options options) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->run(impl_->inner.send(std::move(what), std::move(options)));
}

response blocking_client::download(request what, std::filesystem::path file, send_options options,
                                   retry_policy policy) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->run(
      impl_->inner.download(std::move(what), std::move(file), std::move(options), policy));
}

response blocking_client::get(std::string url, send_options options) {
  return send({.method = "GET", .url = std::move(url), .headers = {}, .body = {}},
              std::move(options));
}

response blocking_client::post(std::string url, std::string_view content_type, std::string body,
                               send_options options) {
  request what{.method = "POST", .url = std::move(url), .headers = {}, .body = std::move(body)};
  what.headers.add("Content-Type", std::string(content_type));
  return send(std::move(what), std::move(options));
}

}  // namespace mizzen::http
