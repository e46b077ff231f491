#include "http/proxy.hpp"

#include "loopback.hpp"
#include "scripted.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mizzen::http {
namespace {

using namespace std::string_literals;
using test::failure_of;
using test::raw_listener;
using test::raw_socket;
using test::scripted_server;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string port_of(const scripted_server& s) { return std::to_string(s.port()); }

TEST(Proxy, Urls) {
  const auto parsed = [](const char* url) {
    const detail::proxy p = detail::parse_proxy(url);
    return p.host + " " + p.port + " " + p.user + " " + p.password;
  };
  EXPECT_EQ(parsed("http://proxy"), "proxy 80  ");
  EXPECT_EQ(parsed("https://proxy/"), "proxy 443  ");
  EXPECT_EQ(parsed("socks5://[::1]"), "::1 1080  ");
  EXPECT_EQ(parsed("socks5h://u:p%40ss@proxy:9"), "proxy 9 u p@ss");
  for (const char* url : {"proxy:8080", "ftp://proxy", "http://", "", "http://a b"}) {
    const error e = failure_of([&] { detail::parse_proxy(url); });
    EXPECT_EQ(e.code(), errc::invalid_argument) << url;
    EXPECT_EQ(e.subject(), "client_options.proxy");
  }
  EXPECT_THAT(failure_of([] { detail::parse_proxy("ftp://u:secret@proxy"); }).what(),
              Not(HasSubstr("secret")));
  EXPECT_EQ(failure_of([] { blocking_client({.proxy = "nonsense"}); }).code(),
            errc::invalid_argument);
}

TEST(Proxy, AbsoluteFormForPlainTargets) {
  std::string seen;
  scripted_server s([&](raw_listener& listener) {
    raw_socket c = listener.accept();
    seen = c.read_until("\r\n\r\n");
    c.send(ok);
  });
  {
    blocking_client c({.proxy = "http://user:pass@127.0.0.1:" + port_of(s)});
    EXPECT_EQ(c.get("http://far.test:81/a?b").body, "ok");
  }
  EXPECT_THAT(seen, testing::StartsWith("GET http://far.test:81/a?b HTTP/1.1\r\n"));
  EXPECT_THAT(seen, AllOf(HasSubstr("\r\nHost: far.test:81\r\n"),
                          HasSubstr("\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n")));
}

TEST(Proxy, RefusalsOfATunnel) {
  std::string seen;
  const auto failure_with = [&](std::string_view answer, const std::string& login = "") {
    scripted_server s([&](raw_listener& listener) {
      raw_socket c = listener.accept();
      seen = c.read_until("\r\n\r\n");
      c.send(answer);
    });
    blocking_client c({.proxy = "http://" + login + "127.0.0.1:" + port_of(s)});
    return failure_of([&] { c.get("https://far.test/secret"); });
  };
  const error login = failure_with("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(login.code(), errc::unauthenticated);
  EXPECT_THAT(login.what(), HasSubstr("wants a user and password"));
  EXPECT_THAT(seen, testing::StartsWith("CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n"));
  EXPECT_THAT(seen, Not(HasSubstr("secret")));
  EXPECT_EQ(failure_with("HTTP/1.1 407 Who\r\n\r\n", "u:p@").code(), errc::unauthenticated);
  EXPECT_THAT(seen, HasSubstr("Proxy-Authorization: Basic dTpw\r\n"));
  const error refused = failure_with("HTTP/1.1 403 No\r\n\r\n");
  EXPECT_EQ(refused.code(), errc::unavailable);
  EXPECT_THAT(refused.what(), HasSubstr("403 Forbidden"));
  EXPECT_EQ(failure_with("").code(), errc::unavailable);
  EXPECT_EQ(failure_with("SSH-2.0\r\n\r\n").code(), errc::data_loss);
  EXPECT_EQ(failure_with("HTTP/1.1 200 OK\r\n\r\nunasked").code(), errc::unavailable);
}

// Checks each step of the client's and plays the origin when it is through.
void play_socks(raw_socket& c, const std::string& wanted_connect, bool login) {
  if (login) {
    EXPECT_EQ(c.read_at_least(4), "\x05\x02\x00\x02"s);
    c.forget();
    c.send("\x05\x02");
    EXPECT_EQ(c.read_at_least(7), "\x01\x01u\x03pwd"s);
    c.forget();
    c.send("\x01\x00"s);
  } else {
    EXPECT_EQ(c.read_at_least(3), "\x05\x01\x00"s);
    c.forget();
    c.send("\x05\x00"s);
  }
  EXPECT_EQ(c.read_at_least(wanted_connect.size()), wanted_connect);
  c.forget();
  c.send("\x05\x00\x00\x03\x04host\x00\x01"s);
  EXPECT_THAT(c.read_until("\r\n\r\n"), testing::StartsWith("GET /x HTTP/1.1\r\n"));
  c.send(ok);
}

TEST(Proxy, Socks) {
  scripted_server s([&](raw_listener& listener) {
    {
      raw_socket c = listener.accept();
      play_socks(c, "\x05\x01\x00\x03\x08"s + "far.test" + "\x00\x50"s, true);
    }
    {
      raw_socket c = listener.accept();
      play_socks(c, "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x51"s, false);
    }
    raw_socket c = listener.accept();
    play_socks(c, "\x05\x01\x00\x04"s + std::string(15, '\0') + "\x01\x00\x50"s, false);
  });
  const std::string at = "127.0.0.1:" + port_of(s);
  blocking_client by_name({.proxy = "socks5h://u:pwd@" + at});
  EXPECT_EQ(by_name.get("http://far.test/x").body, "ok");
  blocking_client by_address({.proxy = "socks5://" + at});
  EXPECT_EQ(by_address.get("http://127.0.0.1:81/x").body, "ok");
  EXPECT_EQ(by_address.get("http://[::1]/x").body, "ok");
}

TEST(Proxy, SocksRefusals) {
  const auto failure_with = [&](std::vector<std::string> steps, const std::string& login = "") {
    scripted_server s([&](raw_listener& listener) {
      raw_socket c = listener.accept();
      for (const std::string& each : steps) {
        c.read_at_least(1);
        c.forget();
        c.send(each);
      }
      c.finish_sending();
      c.read_all();
    });
    blocking_client c({.proxy = "socks5h://" + login + "127.0.0.1:" + port_of(s)});
    return failure_of([&] { c.get("http://far.test/x"); });
  };
  EXPECT_EQ(failure_with({"\x05\xff"}).code(), errc::unauthenticated);
  EXPECT_EQ(failure_with({"\x05\x02"}).code(), errc::unauthenticated);
  EXPECT_EQ(failure_with({"\x05\x02", "\x01\x01"}, "u:p@").code(), errc::unauthenticated);
  const error refused = failure_with({"\x05\x00"s, "\x05\x05\x00\x01"s});
  EXPECT_EQ(refused.code(), errc::unavailable);
  EXPECT_THAT(refused.what(), AllOf(HasSubstr("refused"), HasSubstr("far.test:80")));
  EXPECT_EQ(failure_with({"HTTP"}).code(), errc::unavailable);
  EXPECT_EQ(failure_with({}).code(), errc::unavailable);
  EXPECT_EQ(failure_with({"\x05\x00"s, "\x05\x00\x00\x01"s}).code(), errc::unavailable);
}

TEST(Proxy, OneThatIsNotThere) {
  std::uint16_t port = 0;
  {
    port = raw_listener().port();
  }
  blocking_client c({.proxy = "http://127.0.0.1:" + std::to_string(port)});
  try {
    c.get("http://far.test/");
    FAIL();
  } catch (const request_error& e) {
    EXPECT_EQ(e.code(), errc::unavailable);
    EXPECT_FALSE(e.was_sent());
    EXPECT_THAT(e.what(), HasSubstr(std::to_string(port)));
  }
}

}  // namespace
}  // namespace mizzen::http
