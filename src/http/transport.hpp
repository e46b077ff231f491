// A byte stream over TCP, with or without TLS.
#pragma once

#include <mizzen/http/tls.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <memory>
#include <span>
#include <string>

namespace mizzen::http::detail {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using boost::system::error_code;

// Certificates and keys, loaded. Copies share. Throws error(invalid_argument) naming the field.
class tls_context {
 public:
  explicit tls_context(const tls_client_options& options);
  explicit tls_context(const tls_server_options& options);
  ~tls_context();

  struct impl;
  impl& get() const noexcept { return *impl_; }

 private:
  std::shared_ptr<impl> impl_;
};

// Not thread safe: everything happens on the executor of its socket, a strand. Errors go to `ec`.
class transport {
 public:
  transport() = default;
  transport(const transport&) = delete;
  transport& operator=(const transport&) = delete;
  virtual ~transport() = default;

  virtual tcp::socket& socket() noexcept = 0;
  virtual asio::awaitable<void> handshake(error_code& ec) = 0;
  virtual asio::awaitable<std::size_t> read_some(asio::mutable_buffer into, error_code& ec) = 0;
  virtual asio::awaitable<void> write(std::span<const asio::const_buffer> what, error_code& ec) = 0;
  // Says that nothing more comes (TLS close_notify, FIN) without waiting for the peer.
  virtual asio::awaitable<void> shutdown(error_code& ec) = 0;

  // The error's text; for a certificate that did not verify, why.
  virtual std::string explain(const error_code& ec) const;

  // Frees the socket; what is pending ends with operation_aborted.
  void close() noexcept;
};

std::unique_ptr<transport> make_plain_transport(tcp::socket socket);

// over: what one of these functions made, up to one layer of TLS (an https proxy). host: the name
// to ask for and to verify; an IP address is verified but not asked for.
std::unique_ptr<transport> make_tls_client_transport(std::unique_ptr<transport> over,
                                                     const tls_context& context,
                                                     const std::string& host, bool verify);
std::unique_ptr<transport> make_tls_server_transport(tcp::socket socket,
                                                     const tls_context& context);

// True if the error is the other side's TLS or certificate rather than the network's.
bool is_tls_error(const error_code& ec) noexcept;

}  // namespace mizzen::http::detail
