// How to get through a proxy, without I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::http::detail {

struct proxy {
  enum class scheme : std::uint8_t { http, https, socks5, socks5h };
  scheme kind = scheme::http;
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  bool has_login = false;
  std::string user;
  std::string password;

  bool is_socks() const noexcept { return kind == scheme::socks5 || kind == scheme::socks5h; }
  // "Basic ...", empty without a login.
  std::string authorization() const;
};

// Throws error(invalid_argument) whose subject is client_options.proxy; never repeats a password.
proxy parse_proxy(const std::string& url);

// The request for a tunnel (RFC 9110, section 9.3.6).
std::string connect_head(const proxy& through, const std::string& host, const std::string& port);

// The client's side of SOCKS5 (RFC 1928) with user and password (RFC 1929). Alternates: output() is
// sent, then bytes go in through put() until output() has something again or done().
class socks5 {
 public:
  // host: a name for the proxy to resolve, or an address. Throws error(invalid_argument) for a name
  // or login that the protocol has no room for.
  socks5(const proxy& through, const std::string& host, std::uint16_t port);

  // What is to be sent now; empty when nothing is.
  std::string output();

  // How many bytes are to be read next: never more than belong to the handshake.
  std::size_t wanted() const noexcept { return wanted_; }

  // Exactly wanted() bytes.
  void put(std::string_view data);

  bool done() const noexcept { return step_ == step::done; }
  // Why the proxy refused; the login when is_login_refused().
  const std::optional<std::string>& failure() const noexcept { return failure_; }
  bool is_login_refused() const noexcept { return login_refused_; }

 private:
  enum class step : std::uint8_t { method, login, reply, address_size, address, done };

  void send_connect();

  std::string login_;
  std::string connect_;
  std::string output_;
  step step_ = step::method;
  std::size_t wanted_ = 2;
  std::optional<std::string> failure_;
  bool login_refused_ = false;
};

}  // namespace mizzen::http::detail
