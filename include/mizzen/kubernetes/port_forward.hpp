// Connections to ports of a pod, through the API server.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/log.hpp>
#include <mizzen/kubernetes/client.hpp>

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::kubernetes {

struct port_forward_options {
  // Ends the connection, or the listener with all of its connections, at any time.
  mizzen::cancellation cancel = {};

  // As in exec_options.
  std::chrono::milliseconds ping_interval{10'000};
  std::chrono::milliseconds silence{60'000};

  logger log = {};
};

// One connection to one port of a pod. A WebSocket per connection (v4.channel.k8s.io with ?ports=,
// which kubelets and container runtimes serve): there is no half-close, so that the end of what
// this side says is the end of the connection.
//
// One coroutine reads while others write. Move only; destroying it closes at once.
class pod_connection {
 public:
  pod_connection(pod_connection&&) noexcept;
  pod_connection& operator=(pod_connection&&) noexcept;
  ~pod_connection();

  // What the pod says next, empty when it has closed. Valid until the next read. Throws unavailable
  // with the kubelet's words, e.g. when nothing listens on the port.
  boost::asio::awaitable<std::string_view> read();

  // data must live until it returns.
  boost::asio::awaitable<void> write(std::string_view data);

  // Frees the socket at once; from any thread.
  void close() noexcept;

 private:
  friend boost::asio::awaitable<pod_connection> connect_to_pod(client, std::string, std::string,
                                                               std::uint16_t, port_forward_options);
  struct impl;
  explicit pod_connection(std::shared_ptr<impl> made) noexcept;
  std::shared_ptr<impl> impl_;
};

// Throws status_error when there is no such pod or it does not run. That nothing listens on the
// port shows in the first read.
boost::asio::awaitable<pod_connection> connect_to_pod(
    client k8s, std::string ns, std::string pod, std::uint16_t port,
    port_forward_options options = port_forward_options());

// Listens on this machine and gives each connection one to the pod. Works from construction to
// stop() or destruction, on the client's executor. A connection that fails is closed and logged;
// the others go on. As there is no half-close, a local program that ends its sending direction (nc
// -N) ends the connection, and what the pod had yet to say is lost. Thread safe.
class port_forwarder {
 public:
  // local_port 0 takes a free one. host: an address of this machine; loopback by default, since
  // being reachable from outside is a decision. Throws error(unavailable) that names host and port.
  port_forwarder(client k8s, std::string ns, std::string pod, std::uint16_t port,
                 std::uint16_t local_port = 0, std::string host = "127.0.0.1",
                 port_forward_options options = port_forward_options());
  port_forwarder(port_forwarder&&) noexcept;
  port_forwarder& operator=(port_forwarder&&) noexcept;
  ~port_forwarder();

  // Where it listens.
  std::uint16_t local_port() const noexcept;

  // Connections now.
  std::size_t connections() const noexcept;

  // Closes the listener and all connections.
  void stop() noexcept;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace mizzen::kubernetes
