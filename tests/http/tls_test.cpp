#include "loopback.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/http/client.hpp>
#include <mizzen/http/server.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <memory>
#include <string>

namespace mizzen::http {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using testing::HasSubstr;

template <typename T, void (*release)(T*)>
struct releaser {
  void operator()(T* what) const { release(what); }
};
using key_ptr = std::unique_ptr<EVP_PKEY, releaser<EVP_PKEY, EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, releaser<X509, X509_free>>;

template <typename Write>
std::string to_pem(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  BUF_MEM* memory = nullptr;
  BIO_ctrl(bio, BIO_C_GET_BUF_MEM_PTR, 0, &memory);
  std::string text(memory->data, memory->length);
  BIO_free(bio);
  return text;
}

// A certificate made on the spot, signed by another one or by itself.
struct identity {
  key_ptr key;
  certificate_ptr certificate;
  std::string pem;
  std::string key_pem;

  identity(const char* name, const char* alternative_names, const identity* issuer)
      : key(EVP_EC_gen("P-256")), certificate(X509_new()) {
    X509* const x = certificate.get();
    X509_set_version(x, X509_VERSION_3);
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509* const by = issuer ? issuer->certificate.get() : x;
    X509_set_issuer_name(x, X509_get_subject_name(by));
    const auto extend = [&](int nid, const char* value) {
      X509V3_CTX context;
      X509V3_set_ctx(&context, by, x, nullptr, nullptr, 0);
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    };
    extend(NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (alternative_names) extend(NID_subject_alt_name, alternative_names);
    X509_sign(x, (issuer ? issuer->key : key).get(), EVP_sha256());
    pem = to_pem([&](BIO* bio) { PEM_write_bio_X509(bio, x); });
    key_pem = to_pem([&](BIO* bio) {
      PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }
};

class TlsTest : public testing::Test {
 protected:
  identity authority{"test authority", nullptr, nullptr};
  identity host{"server", "DNS:localhost,IP:127.0.0.1", &authority};
  identity elsewhere{"server", "DNS:elsewhere.test", &authority};
  identity user{"user", nullptr, &authority};
  test::event_loop loop;

  server start(const identity& as, bool ask_for_client = false) {
    server_options options;
    options.tls.certificate_pem = as.pem;
    options.tls.key_pem = as.key_pem;
    if (ask_for_client) options.tls.client_ca_pem = authority.pem;
    return server(loop.executor(), options, [](request what) -> asio::awaitable<response> {
      co_return make_response(200, "text/plain", std::move(what.body));
    });
  }
  static errc code(const tls_client_options& tls, const std::string& url, std::string* text) {
    blocking_client c({.tls = tls});
    try {
      c.get(url);
    } catch (const error& e) {
      if (text) *text = e.what();
      return e.code();
    }
    return errc::unknown;
  }
};

TEST_F(TlsTest, VerifiedByAddressByNameAndByServerName) {
  const server s = start(host);
  const server other = start(elsewhere);
  EXPECT_THAT(s.url(), testing::StartsWith("https://127.0.0.1:"));
  const std::string big(std::size_t{1} << 20, 'x');
  blocking_client c({.tls = {.ca_pem = authority.pem}});
  EXPECT_EQ(c.post(s.url(), "text/plain", big).body, big);
  EXPECT_EQ(c.post(s.url(), "text/plain", "again").body, "again");
  EXPECT_EQ(s.connections(), 1U);
  EXPECT_EQ(c.get("https://localhost:" + std::to_string(s.port())).status, 200);
  blocking_client named({.tls = {.ca_pem = authority.pem, .server_name = "elsewhere.test"}});
  EXPECT_EQ(named.get(other.url()).status, 200);
}

TEST_F(TlsTest, WhatDoesNotVerifyIsRefusedWithTheReason) {
  const server s = start(host);
  const server other = start(elsewhere);
  std::string text;
  EXPECT_EQ(code({}, s.url(), &text), errc::unauthenticated);
  EXPECT_THAT(text, AllOf(HasSubstr("GET " + s.url()), HasSubstr("did not verify")));
  EXPECT_EQ(code({.ca_pem = authority.pem}, other.url(), &text), errc::unauthenticated);
  EXPECT_THAT(text, HasSubstr("127.0.0.1"));
  const identity stranger("stranger", nullptr, nullptr);
  EXPECT_EQ(code({.ca_pem = stranger.pem}, s.url(), nullptr), errc::unauthenticated);
  blocking_client careless({.tls = {.verify = false}});
  EXPECT_EQ(careless.get(other.url()).status, 200);
}

TEST_F(TlsTest, ClientCertificates) {
  const server s = start(host, true);
  EXPECT_NE(code({.ca_pem = authority.pem}, s.url(), nullptr), errc::unknown);
  blocking_client c(
      {.tls = {.ca_pem = authority.pem, .certificate_pem = user.pem, .key_pem = user.key_pem}});
  EXPECT_EQ(c.get(s.url()).status, 200);
}

TEST_F(TlsTest, PlainAgainstTlsAndTheOtherWayRound) {
  const server s = start(host);
  test::raw_socket plain = test::raw_socket::connect(s.port());
  plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(plain.read_all(), testing::Not(HasSubstr("HTTP/1.1 200")));
  const server clear(loop.executor(), {},
                     [](request) -> asio::awaitable<response> { co_return response{}; });
  std::string text;
  const std::string url = "https://127.0.0.1:" + std::to_string(clear.port());
  EXPECT_EQ(code({.ca_pem = authority.pem}, url, &text), errc::unauthenticated) << text;
  EXPECT_TRUE(test::eventually([&] { return s.connections() == 0; }));
}

TEST_F(TlsTest, DrainClosesIdleConnections) {
  server s = start(host);
  blocking_client c({.tls = {.ca_pem = authority.pem}});
  EXPECT_EQ(c.get(s.url()).status, 200);
  EXPECT_TRUE(loop.run(s.drain(deadline::after(60s))));
}

TEST_F(TlsTest, UnusableMaterialNamesItsField) {
  const auto message = [](const tls_client_options& tls) {
    try {
      blocking_client c({.tls = tls});
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::invalid_argument);
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  EXPECT_THAT(message({.ca_pem = "junk"}), HasSubstr("tls.ca"));
  EXPECT_THAT(message({.ca_file = "/nonexistent.pem"}), HasSubstr("/nonexistent.pem"));
  EXPECT_THAT(message({.ca_pem = "a", .ca_file = "b"}), HasSubstr("not both"));
  EXPECT_THAT(message({.certificate_pem = user.pem}), HasSubstr("together"));
  EXPECT_THAT(message({.certificate_pem = user.pem, .key_pem = host.key_pem}),
              HasSubstr("tls.key"));
}

}  // namespace
}  // namespace mizzen::http
