#include "../http/loopback.hpp"
#include "core/base64.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/server.hpp>
#include <mizzen/kubernetes/auth.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using http::test::event_loop;
using mizzen::detail::base64_encode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// base64url differs from base64 in two digits and the padding.
std::string part(const std::string& text) {
  std::string encoded = base64_encode(text);
  while (encoded.ends_with('=')) encoded.pop_back();
  for (char& c : encoded) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return encoded;
}
std::string jwt(const std::string& payload) {
  return part(R"({"alg":"none"})") + "." + part(payload) + ".c2ln";
}

TEST(JwtTest, ReadsTheExpiry) {
  const auto at = [](std::int64_t seconds) {
    return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
  };
  EXPECT_EQ(jwt_expiry(jwt(R"({"exp": 1763812800, "sub": "me"})")), at(1763812800));
  EXPECT_EQ(jwt_expiry(jwt(R"({"exp": 1.7638128e9})")), at(1763812800));
  EXPECT_EQ(jwt_expiry(jwt(R"({"exp": -5})")), at(0));
  EXPECT_EQ(jwt_expiry(jwt(R"({"exp": 1e300})")), std::nullopt);
  EXPECT_EQ(jwt_expiry(jwt("{}")), std::nullopt);
  for (const std::string& wrong : {std::string("words"), std::string("a.b"), std::string("a.b.c.d"),
                                   std::string("a.!.c"), jwt("[]"), jwt(R"({"exp": "soon"})")}) {
    EXPECT_THROW(jwt_expiry(wrong), error) << wrong;
  }
}

// An issuer that hands out the ID tokens it is given, and remembers what it was asked.
class OidcTest : public testing::Test {
 protected:
  struct asked {
    std::string authorization;
    std::string form;
  };

  asio::awaitable<http::response> answer(http::request what) {
    const std::lock_guard lock(mutex);
    if (http::url_path(what.url) == "/.well-known/openid-configuration") {
      co_return http::make_response(200, "application/json", discovery);
    }
    requests.push_back({std::string(what.headers.value("Authorization")), what.body});
    if (secret_in_body && what.headers.contains("Authorization")) {
      co_return http::make_response(401, "application/json", R"({"error": "invalid_client"})");
    }
    co_return http::make_response(status, "application/json", tokens);
  }

  authenticator make(oidc_provider provider) {
    provider.issuer_url = issuer.url() + "/";
    provider.client_id = "me:too";
    config from{.server = "https://h"};
    from.user.oidc = provider;
    return authenticator(
        loop.executor(), std::move(from),
        {.oidc_refreshed = [this](const oidc_provider& fresh) { kept = fresh.refresh_token; },
         .now = [this] { return std::chrono::system_clock::time_point(1000s + passed); }});
  }
  std::string header(authenticator& auth) {
    http::request what;
    with = loop.run(auth.authorize(what));
    return std::string(what.headers.value("Authorization"));
  }
  std::string failure(authenticator& auth) {
    try {
      header(auth);
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::unauthenticated);
      return e.what();
    }
    return "no error";
  }

  event_loop loop;
  std::mutex mutex;
  std::string discovery;
  std::string tokens;
  int status = 200;
  bool secret_in_body = false;
  std::vector<asked> requests;
  std::string kept;
  std::chrono::seconds passed{0};
  authorization with;
  http::server issuer{
      loop.executor(), {}, [this](http::request what) { return answer(std::move(what)); }};

  OidcTest() { discovery = json{{"token_endpoint", issuer.url() + "/token"}}.dump(); }
};

const std::string soon = R"({"exp": 1060, "n": 1})";
const std::string later = R"({"exp": 9000, "n": 2})";

TEST_F(OidcTest, RefreshesTheIdTokenBeforeItExpires) {
  authenticator auth = make({.id_token = jwt(soon), .refresh_token = "r&1"});
  EXPECT_EQ(header(auth), "Bearer " + jwt(soon));
  EXPECT_THAT(requests, SizeIs(0));

  tokens = json{{"id_token", jwt(later)}, {"refresh_token", "r2"}, {"expires_in", 5}}.dump();
  passed = 50s;
  EXPECT_EQ(header(auth), "Bearer " + jwt(later));
  EXPECT_EQ(header(auth), "Bearer " + jwt(later));
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_EQ(requests[0].authorization, "");
  EXPECT_EQ(requests[0].form, "grant_type=refresh_token&refresh_token=r%261&client_id=me%3Atoo");
  EXPECT_EQ(kept, "r2");

  // Refused before its time: the next refresh shows the next refresh token.
  tokens = json{{"id_token", jwt(soon)}}.dump();
  EXPECT_TRUE(loop.run(auth.refresh_after_401(with)));
  ASSERT_THAT(requests, SizeIs(2));
  EXPECT_THAT(requests[1].form, HasSubstr("refresh_token=r2&"));
}

TEST_F(OidcTest, ShowsItsSecretInTheWayThatTheIssuerTakes) {
  tokens = json{{"id_token", jwt(later)}}.dump();
  authenticator header_auth = make({.client_secret = "s e", .refresh_token = "r"});
  EXPECT_EQ(header(header_auth), "Bearer " + jwt(later));
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_EQ(requests[0].authorization, "Basic " + base64_encode("me%3Atoo:s%20e"));
  EXPECT_EQ(requests[0].form, "grant_type=refresh_token&refresh_token=r");

  requests.clear();
  secret_in_body = true;
  authenticator body_auth = make({.client_secret = "s e", .refresh_token = "r"});
  EXPECT_EQ(header(body_auth), "Bearer " + jwt(later));
  ASSERT_THAT(requests, SizeIs(2));
  EXPECT_EQ(requests[1].authorization, "");
  EXPECT_THAT(requests[1].form, HasSubstr("&client_id=me%3Atoo&client_secret=s%20e"));
}

TEST_F(OidcTest, SaysWhyThereIsNoToken) {
  authenticator nothing = make({});
  EXPECT_THAT(failure(nothing), HasSubstr("no refresh-token"));

  authenticator auth = make({.refresh_token = "r"});
  status = 400;
  tokens = R"({"error": "invalid_grant", "error_description": "Token has been \u001b[1mrevoked"})";
  EXPECT_THAT(failure(auth), HasSubstr("invalid_grant (Token has been ?[1mrevoked); log in again"));
  status = 502;
  tokens = "<html>";
  EXPECT_THAT(failure(auth), HasSubstr("status 502"));
  status = 200;
  tokens = R"({"access_token": "a"})";
  EXPECT_THAT(failure(auth), HasSubstr("no id_token"));
  tokens = R"({"id_token": "words"})";
  EXPECT_THAT(failure(auth), HasSubstr("its id_token is unusable"));
  discovery = "{}";
  EXPECT_THAT(failure(auth), HasSubstr("no token_endpoint"));
  discovery = "words";
  EXPECT_THAT(failure(auth), HasSubstr("not a JSON object"));
}

// A refresh that fails a little before the expiry is no reason to fail requests.
TEST_F(OidcTest, UsesTheOldTokenToItsEnd) {
  authenticator auth = make({.id_token = jwt(soon)});
  passed = 55s;
  EXPECT_EQ(header(auth), "Bearer " + jwt(soon));
  passed = 60s;
  EXPECT_THAT(failure(auth), HasSubstr("log in again"));
}

}  // namespace
}  // namespace mizzen::kubernetes
