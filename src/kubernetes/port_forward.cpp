#include "kubernetes/channels.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/port_forward.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

struct pod_connection::impl {
  impl(http::websocket over, std::uint16_t port, std::string about)
      : socket(std::move(over)), channels(port), subject(std::move(about)) {}

  http::websocket socket;
  detail::port_channels channels;
  std::string subject;

  static asio::awaitable<std::string_view> read(std::shared_ptr<impl> self) {
    using event = detail::port_channels::event;
    for (;;) {
      const std::optional<http::websocket_message> message = co_await self->socket.read();
      if (!message) co_return std::string_view();
      switch (self->channels.put(message->data)) {
        case event::nothing:
          continue;
        case event::data:
          co_return self->channels.text();
        case event::failed:
          self->socket.abort();
          throw error(errc::unavailable, self->subject, self->channels.text());
      }
    }
  }

  static asio::awaitable<void> write(std::shared_ptr<impl> self, std::string_view data) {
    constexpr std::size_t most = std::size_t{64} << 10;
    constexpr std::string_view data_channel("\0", 1);
    while (!data.empty()) {
      const std::string_view piece = data.substr(0, most);
      data.remove_prefix(piece.size());
      co_await self->socket.write(http::websocket_kind::binary, data_channel, piece);
    }
  }
};

pod_connection::pod_connection(std::shared_ptr<impl> made) noexcept : impl_(std::move(made)) {}
pod_connection::pod_connection(pod_connection&&) noexcept = default;
pod_connection& pod_connection::operator=(pod_connection&& other) noexcept {
  if (impl_ && impl_ != other.impl_) impl_->socket.abort();
  impl_ = std::move(other.impl_);
  return *this;
}
pod_connection::~pod_connection() {
  if (impl_) impl_->socket.abort();
}

asio::awaitable<std::string_view> pod_connection::read() { return impl::read(impl_); }

asio::awaitable<void> pod_connection::write(std::string_view data) {
  return impl::write(impl_, data);
}

void pod_connection::close() noexcept { impl_->socket.abort(); }

asio::awaitable<pod_connection> connect_to_pod(client k8s, std::string ns, std::string pod,
                                               std::uint16_t port, port_forward_options options) {
  const std::string subject = "port " + std::to_string(port) + " of " + ns + "/" + pod;
  if (port == 0) throw error(errc::invalid_argument, subject, "ports are from 1 to 65535");
  http::request what;
  what.url = detail::pod_url(ns, pod, "portforward");
  detail::append_query(what.url, "ports", std::to_string(port));
  // Kubelets answer 406 to application/json here.
  what.headers.add("Accept", "*/*");
  http::websocket_options with;
  with.subprotocols = {std::string(detail::protocol_v4)};
  with.cancel = options.cancel;
  with.ping_interval = options.ping_interval;
  with.silence = options.silence;
  http::websocket socket = co_await k8s.upgrade(std::move(what), std::move(with));
  co_return pod_connection(
      std::make_shared<pod_connection::impl>(std::move(socket), port, subject));
}

// The listener and what it has let in. Everything happens on the strand, but where it says so.
struct port_forwarder::impl : std::enable_shared_from_this<impl> {
  impl(client over, std::string in, std::string to, std::uint16_t to_port,
       port_forward_options with)
      : k8s(std::move(over)),
        ns(std::move(in)),
        pod(std::move(to)),
        port(to_port),
        options(std::move(with)),
        strand(asio::make_strand(k8s.executor())),
        acceptor(strand) {}

  void listen(const std::string& host, std::uint16_t at) {
    error_code ec;
    const asio::ip::address address = asio::ip::make_address(host, ec);
    if (ec) throw error(errc::invalid_argument, "host", "'" + host + "' is not an address");
    const tcp::endpoint endpoint(address, at);
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (!ec) local_port = acceptor.local_endpoint(ec).port();
    if (ec) {
      throw error(errc::unavailable, host + ":" + std::to_string(at),
                  "cannot listen: " + ec.message());
    }
  }

  // From any thread.
  void stop() {
    stopped.request_stop();
    asio::post(strand, [self = shared_from_this()] {
      error_code ignored;
      self->acceptor.close(ignored);
    });
  }

  static asio::awaitable<void> accept(std::shared_ptr<impl> self) {
    while (self->acceptor.is_open()) {
      error_code ec;
      tcp::socket local(self->strand);
      co_await self->acceptor.async_accept(local, asio::redirect_error(asio::use_awaitable, ec));
      if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) co_return;
      if (ec) {
        self->options.log.log(log_level::warning, "kubernetes", "port-forward cannot accept",
                              {{"error", ec.message()}});
        asio::steady_timer pause(self->strand, std::chrono::milliseconds(100));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        continue;
      }
      local.set_option(tcp::no_delay(true), ec);
      const auto shared = std::make_shared<tcp::socket>(std::move(local));
      ++self->connections;
      asio::co_spawn(self->strand, serve(self, shared),
                     [self](const std::exception_ptr&) { --self->connections; });
    }
  }

  static asio::awaitable<void> serve(std::shared_ptr<impl> self,
                                     std::shared_ptr<tcp::socket> local) {
    // What stops the forwarder frees the local sockets, too.
    const std::stop_callback on_stop(self->stopped.get_token(), [self, local] {
      asio::post(self->strand, [local] {
        error_code ignored;
        local->close(ignored);
      });
    });
    std::exception_ptr failure;
    try {
      port_forward_options with = self->options;
      with.cancel.token = self->stopped.get_token();
      auto connecting = connect_to_pod(self->k8s, self->ns, self->pod, self->port, with);
      const auto remote = std::make_shared<pod_connection>(co_await std::move(connecting));
      asio::co_spawn(self->strand, send(local, remote), [remote](const std::exception_ptr&) {
        // The local side has said all that it wanted; there is no half-close.
        remote->close();
      });
      for (;;) {
        const std::string_view piece = co_await remote->read();
        if (piece.empty()) break;
        co_await asio::async_write(*local, asio::buffer(piece), asio::use_awaitable);
      }
    } catch (...) {
      failure = std::current_exception();
    }
    error_code ignored;
    local->shutdown(tcp::socket::shutdown_send, ignored);
    local->close(ignored);
    if (failure && !self->stopped.stop_requested()) self->report(failure);
  }

  static asio::awaitable<void> send(std::shared_ptr<tcp::socket> local,
                                    std::shared_ptr<pod_connection> remote) {
    std::array<char, std::size_t{16} << 10> buffer;
    for (;;) {
      error_code ec;
      const std::size_t count = co_await local->async_read_some(
          asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, ec));
      if (ec) co_return;
      co_await remote->write(std::string_view(buffer.data(), count));
    }
  }

  void report(const std::exception_ptr& failure) const {
    try {
      std::rethrow_exception(failure);
    } catch (const error& e) {
      // The local side was done first: nothing that is worth a word.
      if (e.code() == errc::cancelled) return;
    } catch (const boost::system::system_error&) {
      return;
    } catch (...) {
    }
    options.log.log(log_level::warning, "kubernetes", "port-forward: a connection failed",
                    {{"pod", ns + "/" + pod}, {"error", describe(failure)}});
  }

  client k8s;
  std::string ns;
  std::string pod;
  std::uint16_t port;
  port_forward_options options;
  asio::strand<asio::any_io_executor> strand;
  tcp::acceptor acceptor;
  std::uint16_t local_port = 0;
  std::atomic<std::size_t> connections = 0;
  std::stop_source stopped;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
};

port_forwarder::port_forwarder(client k8s, std::string ns, std::string pod, std::uint16_t port,
                               std::uint16_t local_port, std::string host,
                               port_forward_options options)
    : impl_(std::make_shared<impl>(std::move(k8s), std::move(ns), std::move(pod), port,
                                   std::move(options))) {
  impl_->listen(host, local_port);
  const std::weak_ptr<impl> weak = impl_;
  impl_->on_stop.emplace(impl_->options.cancel.token, [weak] {
    if (const auto self = weak.lock()) self->stop();
  });
  asio::co_spawn(impl_->strand, impl::accept(impl_), [](const std::exception_ptr&) {});
}

port_forwarder::port_forwarder(port_forwarder&&) noexcept = default;
port_forwarder& port_forwarder::operator=(port_forwarder&& other) noexcept {
  if (impl_ && impl_ != other.impl_) stop();
  impl_ = std::move(other.impl_);
  return *this;
}
port_forwarder::~port_forwarder() {
  if (impl_) stop();
}

std::uint16_t port_forwarder::local_port() const noexcept { return impl_->local_port; }

std::size_t port_forwarder::connections() const noexcept { return impl_->connections; }

void port_forwarder::stop() noexcept {
  try {
    impl_->stop();
  } catch (...) {
    // Out of memory.
  }
}

}  // namespace mizzen::kubernetes
