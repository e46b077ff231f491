#include "kubernetes/client_impl.hpp"

#include <mizzen/core/error.hpp>

#include <optional>
#include <utility>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;

asio::awaitable<http::response> open_once(
    std::shared_ptr<std::optional<http::response_stream>> into, std::shared_ptr<http::client> over,
    http::request what, http::send_options options) {
  http::response_stream stream = co_await over->open(std::move(what), std::move(options));
  http::response head = stream.head();
  if (head.ok()) {
    into->emplace(std::move(stream));
    co_return head;
  }
  // Why it was refused. A body that is endless or cut off does not hide the status.
  try {
    head.body = co_await stream.read_all(max_status_size);
  } catch (const error& e) {
    if (e.code() == errc::cancelled || e.code() == errc::deadline_exceeded) throw;
  }
  co_return head;
}

asio::awaitable<http::response> upgrade_once(std::shared_ptr<std::optional<http::websocket>> into,
                                             http::websocket_options options,
                                             std::shared_ptr<http::client> over,
                                             http::request what) {
  std::optional<http::response> refused;
  try {
    into->emplace(co_await over->upgrade(std::move(what), std::move(options)));
  } catch (const http::upgrade_refused& e) {
    refused = e.answer();
  }
  if (refused) co_return std::move(*refused);
  co_return http::response{.status = 101, .headers = {}, .body = {}};
}

// Waits for the exchange to be done, then hands out what its sender has kept.
template <class Kept>
asio::awaitable<Kept> take(asio::awaitable<http::response> exchanged,
                           std::shared_ptr<std::optional<Kept>> kept) {
  co_await std::move(exchanged);
  co_return std::move(**kept);
}

}  // namespace

asio::awaitable<http::response_stream> client::open(http::request what,
                                                    call_options options) const {
  const auto stream = std::make_shared<std::optional<http::response_stream>>();
  impl::sender send = [stream](std::shared_ptr<http::client> over, http::request attempt,
                               http::send_options with) {
    return open_once(stream, std::move(over), std::move(attempt), std::move(with));
  };
  return take(impl::exchange(impl_, std::move(what), std::move(options), std::move(send)), stream);
}

asio::awaitable<http::websocket> client::upgrade(http::request what,
                                                 http::websocket_options options) const {
  const auto socket = std::make_shared<std::optional<http::websocket>>();
  call_options call;
  call.cancel = options.cancel;
  // A GET that starts something on the other side: a command must not run twice.
  call.retry = false;
  impl::sender send = [socket, options](std::shared_ptr<http::client> over, http::request attempt,
                                        http::send_options) {
    return upgrade_once(socket, options, std::move(over), std::move(attempt));
  };
  return take(impl::exchange(impl_, std::move(what), std::move(call), std::move(send)), socket);
}

}  // namespace mizzen::kubernetes
