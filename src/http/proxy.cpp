#include "http/proxy.hpp"

#include "core/base64.hpp"

#include <mizzen/core/error.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <array>

namespace mizzen::http::detail {
namespace {

constexpr char subject[] = "client_options.proxy";

[[noreturn]] void refuse(std::string_view why) {
  throw error(errc::invalid_argument, subject, why);
}

char byte(std::size_t value) { return static_cast<char>(static_cast<unsigned char>(value)); }

}  // namespace

std::string proxy::authorization() const {
  return has_login ? "Basic " + mizzen::detail::base64_encode(user + ":" + password)
                   : std::string();
}

proxy parse_proxy(const std::string& url) {
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed) refuse("not a URL, as in http://user:password@host:port");
  const boost::urls::url_view& view = *parsed;
  proxy made;
  std::string port;
  if (view.scheme() == "http") {
    port = "80";
  } else if (view.scheme() == "https") {
    made.kind = proxy::scheme::https;
    port = "443";
  } else if (view.scheme() == "socks5") {
    made.kind = proxy::scheme::socks5;
    port = "1080";
  } else if (view.scheme() == "socks5h") {
    made.kind = proxy::scheme::socks5h;
    port = "1080";
  } else {
    refuse("the scheme must be http, https, socks5 or socks5h");
  }
  made.host = view.host_address();
  if (made.host.empty()) refuse("the host is missing");
  made.port = view.has_port() && !view.port().empty() ? std::string(view.port()) : port;
  if (view.has_userinfo()) {
    made.has_login = true;
    made.user = view.user();
    made.password = view.password();
    if (!made.is_socks() && made.user.find(':') != std::string::npos) {
      refuse("the user must not have a colon in it");
    }
  }
  return made;
}

std::string connect_head(const proxy& through, const std::string& host, const std::string& port) {
  const bool is_v6 = host.find(':') != std::string::npos;
  const std::string to = (is_v6 ? "[" + host + "]" : host) + ":" + port;
  std::string head = "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n";
  if (through.has_login) head += "Proxy-Authorization: " + through.authorization() + "\r\n";
  return head + "\r\n";
}

socks5::socks5(const proxy& through, const std::string& host, std::uint16_t port) {
  if (through.has_login) {
    if (through.user.empty() || through.user.size() > 255 || through.password.empty() ||
        through.password.size() > 255) {
      refuse("SOCKS5 has room for a user and a password of 1 to 255 bytes each");
    }
    login_ = "\x01" + std::string(1, byte(through.user.size())) + through.user +
             std::string(1, byte(through.password.size())) + through.password;
    output_ = std::string("\x05\x02\x00\x02", 4);
  } else {
    output_ = std::string("\x05\x01\x00", 3);
  }
  connect_ = std::string("\x05\x01\x00", 3);
  boost::system::error_code ec;
  const auto address = boost::asio::ip::make_address(host, ec);
  if (ec) {
    if (host.empty() || host.size() > 255) refuse("SOCKS5 has room for a name of up to 255 bytes");
    connect_ += "\x03" + std::string(1, byte(host.size())) + host;
  } else if (address.is_v4()) {
    const auto bytes = address.to_v4().to_bytes();
    connect_ += "\x01";
    connect_.append(bytes.begin(), bytes.end());
  } else {
    const auto bytes = address.to_v6().to_bytes();
    connect_ += "\x04";
    connect_.append(bytes.begin(), bytes.end());
  }
  connect_ += byte(port >> 8);
  connect_ += byte(port & 0xff);
}

std::string socks5::output() { return std::exchange(output_, {}); }

void socks5::send_connect() {
  output_ = connect_;
  step_ = step::reply;
  wanted_ = 4;
}

void socks5::put(std::string_view data) {
  if (failure_ || data.size() != wanted_ || done()) return;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(data[i]); };
  switch (step_) {
    case step::method:
      if (at(0) != 5) {
        failure_ = "the proxy does not speak SOCKS5";
      } else if (at(1) == 0) {
        send_connect();
      } else if (at(1) == 2 && !login_.empty()) {
        output_ = login_;
        step_ = step::login;
      } else {
        login_refused_ = true;
        failure_ = login_.empty() ? "the proxy wants a user and password"
                                  : "the proxy takes no user and password";
      }
      return;
    case step::login:
      if (at(1) != 0) {
        login_refused_ = true;
        failure_ = "the proxy refused the user or password";
      } else {
        send_connect();
      }
      return;
    case step::reply: {
      static constexpr std::array<const char*, 9> reasons = {
          "",
          "the proxy failed",
          "the proxy's rules do not allow it",
          "the network cannot be reached",
          "the host cannot be reached",
          "the connection was refused",
          "it took too long",
          "the proxy does not know the command",
          "the proxy does not know this kind of address"};
      const unsigned char status = at(1);
      if (at(0) != 5 || at(2) != 0) {
        failure_ = "the proxy does not speak SOCKS5";
      } else if (status != 0) {
        failure_ =
            status < reasons.size() ? reasons[status] : "the proxy said " + std::to_string(status);
      } else if (at(3) == 3) {
        step_ = step::address_size;
        wanted_ = 1;
      } else if (at(3) == 1 || at(3) == 4) {
        step_ = step::address;
        wanted_ = at(3) == 1 ? 6 : 18;
      } else {
        failure_ = "the proxy does not speak SOCKS5";
      }
      return;
    }
    case step::address_size:
      step_ = step::address;
      wanted_ = std::size_t{at(0)} + 2;
      return;
    case step::address:
      step_ = step::done;
      wanted_ = 0;
      return;
    case step::done:
      return;
  }
}

}  // namespace mizzen::http::detail
