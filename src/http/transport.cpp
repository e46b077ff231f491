#include "http/transport.hpp"

#include <mizzen/core/error.hpp>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

namespace mizzen::http::detail {
namespace ssl = asio::ssl;

struct tls_context::impl {
  explicit impl(ssl::context::method method) : context(method) {
    context.set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                        ssl::context::no_sslv3 | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 |
                        SSL_OP_NO_RENEGOTIATION);
    // The chain is sent as it was given. OpenSSL would add the authority's own certificate, and
    // kube-apiserver checks all that was sent again on every request: a third of its time.
    SSL_CTX_set_mode(context.native_handle(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    // A key that is encrypted would otherwise be asked for on the terminal.
    context.set_password_callback(
        [](std::size_t, ssl::context::password_purpose) { return std::string(); });
  }
  ssl::context context;
};

namespace {

struct pem_source {
  std::string_view name;  // "certificate"
  const std::string& pem;
  const std::string& file;
};

// The PEM text of a source, empty if there is none.
std::string load_pem(const pem_source& source) {
  const std::string name(source.name);
  if (!source.pem.empty() && !source.file.empty()) {
    throw error(errc::invalid_argument, "tls." + name,
                "give " + name + "_pem or " + name + "_file, not both");
  }
  if (!source.pem.empty() || source.file.empty()) return source.pem;
  std::ifstream in(source.file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) text.clear();
  if (text.empty()) {
    throw error(errc::invalid_argument, "tls." + name + "_file",
                "'" + source.file + "' cannot be read or is empty");
  }
  return text;
}

void check(const error_code& ec, std::string_view field, std::string_view what) {
  if (!ec) return;
  throw error(errc::invalid_argument, "tls." + std::string(field),
              std::string(what) + ": " + ec.message());
}

void use_certificate(ssl::context& context, const pem_source& certificate, const pem_source& key) {
  const std::string chain = load_pem(certificate);
  const std::string secret = load_pem(key);
  if (chain.empty() && secret.empty()) return;
  if (chain.empty() || secret.empty()) {
    throw error(errc::invalid_argument, "tls", "a certificate and its key are given together");
  }
  error_code ec;
  context.use_certificate_chain(asio::buffer(chain), ec);
  check(ec, "certificate", "not a PEM certificate chain");
  context.use_private_key(asio::buffer(secret), ssl::context::pem, ec);
  check(ec, "key", "not a PEM key without a password that fits the certificate");
}

bool trust(ssl::context& context, const pem_source& source) {
  const std::string authorities = load_pem(source);
  if (authorities.empty()) return false;
  error_code ec;
  context.add_certificate_authority(asio::buffer(authorities), ec);
  check(ec, source.name, "not PEM certificates");
  return true;
}

bool is_address(const std::string& host) {
  error_code ec;
  asio::ip::make_address(host, ec);
  return !ec;
}

tcp::socket& lowest(tcp::socket& socket) noexcept { return socket; }
template <typename Next>
tcp::socket& lowest(ssl::stream<Next>& stream) noexcept {
  return lowest(stream.next_layer());
}

class plain_transport final : public transport {
 public:
  explicit plain_transport(tcp::socket socket) : socket_(std::move(socket)) {}

  tcp::socket& socket() noexcept override { return socket_; }
  tcp::socket release() { return std::move(socket_); }

  asio::awaitable<void> handshake(error_code&) override { co_return; }

  asio::awaitable<std::size_t> read_some(asio::mutable_buffer into, error_code& ec) override {
    return socket_.async_read_some(into, asio::redirect_error(asio::use_awaitable, ec));
  }

  asio::awaitable<void> write(std::span<const asio::const_buffer> what, error_code& ec) override {
    co_await asio::async_write(socket_, what, asio::redirect_error(asio::use_awaitable, ec));
  }

  asio::awaitable<void> shutdown(error_code& ec) override {
    socket_.shutdown(tcp::socket::shutdown_send, ec);
    co_return;
  }

 private:
  tcp::socket socket_;
};

// Next: a socket, or a stream of TLS to a proxy.
template <typename Next>
class tls_transport final : public transport {
 public:
  tls_transport(Next next, const tls_context& context, ssl::stream_base::handshake_type as)
      : context_(context), stream_(std::move(next), context_.get().context), as_(as) {}

  ssl::stream<Next>& stream() noexcept { return stream_; }
  tcp::socket& socket() noexcept override { return lowest(stream_); }
  ssl::stream<Next> release() { return std::move(stream_); }

  asio::awaitable<void> handshake(error_code& ec) override {
    co_await stream_.async_handshake(as_, asio::redirect_error(asio::use_awaitable, ec));
  }

  asio::awaitable<std::size_t> read_some(asio::mutable_buffer into, error_code& ec) override {
    return stream_.async_read_some(into, asio::redirect_error(asio::use_awaitable, ec));
  }

  asio::awaitable<void> write(std::span<const asio::const_buffer> what, error_code& ec) override {
    co_await asio::async_write(stream_, what, asio::redirect_error(asio::use_awaitable, ec));
  }

  asio::awaitable<void> shutdown(error_code& ec) override {
    // As if the peer's close_notify were there already: ours is sent, its is not waited for.
    SSL* const handle = stream_.native_handle();
    SSL_set_shutdown(handle, SSL_get_shutdown(handle) | SSL_RECEIVED_SHUTDOWN);
    co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, ec));
    error_code ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  std::string explain(const error_code& ec) const override {
    // "certificate verify failed" alone does not say why.
    const long verdict =
        SSL_get_verify_result(const_cast<ssl::stream<Next>&>(stream_).native_handle());
    if (is_tls_error(ec) && verdict != X509_V_OK) {
      return std::string("the certificate did not verify: ") +
             X509_verify_cert_error_string(verdict);
    }
    return transport::explain(ec);
  }

 private:
  tls_context context_;
  ssl::stream<Next> stream_;
  ssl::stream_base::handshake_type as_;
};

template <typename Next>
std::unique_ptr<transport> make_client(Next next, const tls_context& context,
                                       const std::string& host, bool verify) {
  auto made =
      std::make_unique<tls_transport<Next>>(std::move(next), context, ssl::stream_base::client);
  if (verify) {
    made->stream().set_verify_mode(ssl::verify_peer);
    made->stream().set_verify_callback(ssl::host_name_verification(host));
  } else {
    made->stream().set_verify_mode(ssl::verify_none);
  }
  if (!is_address(host)) {
    SSL* const handle = made->stream().native_handle();
    // The macro SSL_set_tlsext_host_name casts in the old style.
    SSL_ctrl(handle, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(host.c_str()));
  }
  return made;
}

}  // namespace

tls_context::tls_context(const tls_client_options& options)
    : impl_(std::make_shared<impl>(ssl::context::tls_client)) {
  ssl::context& context = impl_->context;
  const bool own_authorities = trust(context, {"ca", options.ca_pem, options.ca_file});
  if (!own_authorities && options.verify) {
    error_code ec;
    context.set_default_verify_paths(ec);
    check(ec, "ca", "the system's certificates cannot be loaded");
  }
  use_certificate(context, {"certificate", options.certificate_pem, options.certificate_file},
                  {"key", options.key_pem, options.key_file});
}

tls_context::tls_context(const tls_server_options& options)
    : impl_(std::make_shared<impl>(ssl::context::tls_server)) {
  ssl::context& context = impl_->context;
  use_certificate(context, {"certificate", options.certificate_pem, options.certificate_file},
                  {"key", options.key_pem, options.key_file});
  if (trust(context, {"client_ca", options.client_ca_pem, options.client_ca_file})) {
    context.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  }
  // Without an id, OpenSSL fails a handshake that resumes a session with a client certificate.
  constexpr unsigned char id[] = "mizzen";
  SSL_CTX_set_session_id_context(context.native_handle(), id, sizeof id - 1);
}

tls_context::~tls_context() = default;

void transport::close() noexcept {
  error_code ignored;
  socket().close(ignored);
}

std::unique_ptr<transport> make_plain_transport(tcp::socket socket) {
  return std::make_unique<plain_transport>(std::move(socket));
}

std::unique_ptr<transport> make_tls_client_transport(std::unique_ptr<transport> over,
                                                     const tls_context& context,
                                                     const std::string& host, bool verify) {
  if (auto* plain = dynamic_cast<plain_transport*>(over.get())) {
    return make_client(plain->release(), context, host, verify);
  }
  if (auto* tls = dynamic_cast<tls_transport<tcp::socket>*>(over.get())) {
    return make_client(tls->release(), context, host, verify);
  }
  throw error(errc::internal, "tls", "more than two layers of TLS");
}

std::unique_ptr<transport> make_tls_server_transport(tcp::socket socket,
                                                     const tls_context& context) {
  return std::make_unique<tls_transport<tcp::socket>>(std::move(socket), context,
                                                      ssl::stream_base::server);
}

bool is_tls_error(const error_code& ec) noexcept {
  return ec.category() == asio::error::get_ssl_category();
}

std::string transport::explain(const error_code& ec) const {
  return ec == asio::error::eof ? "the connection was closed" : ec.message();
}

}  // namespace mizzen::http::detail
