#include "kubernetes/credential_cache.hpp"
#include "kubernetes/exec_info.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/exec_credential.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr const char* v1 = "client.authentication.k8s.io/v1";
constexpr const char* v1beta1 = "client.authentication.k8s.io/v1beta1";

std::string failure(const std::string& printed, const char* version = v1) {
  try {
    parse_exec_credential(printed, version);
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::invalid_argument);
    return e.what();
  }
  return "no error";
}

std::string with_status(const std::string& status) {
  return R"({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": )" +
         status + "}";
}

// The forms that the providers' documentation shows.
TEST(ExecCredentialTest, ReadsWhatTheProvidersPluginsPrint) {
  // aws eks get-token
  const exec_credential eks = parse_exec_credential(
      R"({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", )"
      R"("spec": {}, "status": {"expirationTimestamp": "2026-11-22T12:34:56Z", )"
      R"("token": "k8s-aws-v1.aHR0cHM6Ly9zdHMu"}})",
      v1beta1);
  EXPECT_EQ(eks.token, "k8s-aws-v1.aHR0cHM6Ly9zdHMu");
  EXPECT_EQ(eks.expires, parse_rfc3339("2026-11-22T12:34:56Z"));

  // gke-gcloud-auth-plugin
  const exec_credential gke = parse_exec_credential(R"({
    "kind": "ExecCredential",
    "apiVersion": "client.authentication.k8s.io/v1beta1",
    "spec": {
        "interactive": false
    },
    "status": {
        "expirationTimestamp": "2026-11-22T13:00:00Z",
        "token": "ya29.a0AfH6SM"
    }
}
)",
                                                    v1beta1);
  EXPECT_EQ(gke.token, "ya29.a0AfH6SM");

  // kubelogin get-token
  const exec_credential aks = parse_exec_credential(
      R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",)"
      R"("spec":{"interactive":false},"status":{"expirationTimestamp":"2026-11-22T13:00:00+01:00",)"
      R"("token":"eyJ0eXAi.eyJhdWQi.c2ln"}})"
      "\n",
      v1);
  EXPECT_EQ(aks.expires, parse_rfc3339("2026-11-22T12:00:00Z"));
}

TEST(ExecCredentialTest, ReadsCertificatesAndNulls) {
  const exec_credential both = parse_exec_credential(
      with_status(
          R"({"clientCertificateData": "CERT\n", "clientKeyData": "KEY\n", "token": null,
              "expirationTimestamp": null, "later": {}})"),
      v1);
  EXPECT_EQ(both.certificate_pem, "CERT\n");
  EXPECT_EQ(both.key_pem, "KEY\n");
  EXPECT_EQ(both.token, "");
  EXPECT_FALSE(both.expires);
}

TEST(ExecCredentialTest, ReadsYamlAsKubectlDoes) {
  EXPECT_EQ(parse_exec_credential("apiVersion: client.authentication.k8s.io/v1\n"
                                  "kind: ExecCredential\nstatus:\n  token: abc\n",
                                  v1)
                .token,
            "abc");
}

TEST(ExecCredentialTest, HoldsTokensOfAnySize) {
  const std::string token(200'000, 'x');
  EXPECT_EQ(parse_exec_credential(with_status(R"({"token": ")" + token + "\"}"), v1).token, token);
}

TEST(ExecCredentialTest, SaysWhatIsWrong) {
  EXPECT_THAT(failure(""), HasSubstr("nothing was printed"));
  EXPECT_THAT(failure(" \n"), HasSubstr("nothing was printed"));
  EXPECT_THAT(failure("{\"kind\": "), HasSubstr("not JSON"));
  EXPECT_THAT(failure("[1]"), HasSubstr("not an object"));
  EXPECT_THAT(failure("{}"), HasSubstr("kind: is missing"));
  EXPECT_THAT(failure(R"({"kind": "Status"})"), HasSubstr("kind: must be ExecCredential"));
  EXPECT_THAT(
      failure(
          R"({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1"})"),
      HasSubstr("asks for client.authentication.k8s.io/v1, but the plugin answered with "
                "client.authentication.k8s.io/v1beta1"));
  EXPECT_THAT(failure(with_status("null")), HasSubstr("status: is missing"));
  EXPECT_THAT(failure(with_status("[]")), HasSubstr("status: must be an object"));
  EXPECT_THAT(failure(with_status("{}")), HasSubstr("neither a token nor"));
  EXPECT_THAT(failure(with_status(R"({"token": 5})")), HasSubstr("status.token: must be text"));
  EXPECT_THAT(failure(with_status(R"({"clientKeyData": "K"})")), HasSubstr("only one of"));
  EXPECT_THAT(failure(with_status(R"({"token": "t", "expirationTimestamp": "soon"})")),
              HasSubstr("status.expirationTimestamp"));
  EXPECT_THAT(failure(with_status(R"({"token": "a\r\nX-Evil: 1"})")), HasSubstr("status.token"));
  EXPECT_THAT(failure(std::string(100'000, '[')), HasSubstr("ExecCredential"));
  EXPECT_THAT(failure("{\"a\":" + std::string(100'000, '[')), HasSubstr("ExecCredential"));
}

TEST(ExecCredentialTest, ErrorsDoNotQuoteSecrets) {
  EXPECT_THAT(failure("secret-token"), Not(HasSubstr("secret")));
  EXPECT_THAT(failure("a: [secret"), Not(HasSubstr("secret")));
  EXPECT_THAT(failure(with_status(R"({"token": "secret token"})")), Not(HasSubstr("secret")));
}

TEST(ExecInfoTest, TellsAboutTheClusterWhenAsked) {
  exec_plugin plugin{.command = "x", .api_version = v1beta1};
  config cluster{.server = "https://h:1",
                 .tls_server_name = "name",
                 .proxy = "http://p",
                 .compression = false,
                 .exec_extension = R"({"audience": "a"})"};
  EXPECT_EQ(json::parse(detail::exec_info(plugin, cluster, "PEM", true)), json::parse(R"({
      "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1",
      "spec": {"interactive": true}})"));
  plugin.provide_cluster_info = true;
  EXPECT_EQ(json::parse(detail::exec_info(plugin, cluster, "PEM", false)), json::parse(R"({
      "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1",
      "spec": {"interactive": false, "cluster": {
          "server": "https://h:1", "tls-server-name": "name", "proxy-url": "http://p",
          "disable-compression": true, "certificate-authority-data": "UEVN",
          "config": {"audience": "a"}}}})"));
}

TEST(CredentialCacheTest, IsDueOnceExpiredOrRefused) {
  const detail::wall_clock::time_point start = parse_rfc3339("2026-11-22T12:00:00Z");
  detail::credential_cache cache;
  EXPECT_TRUE(cache.due(start));
  EXPECT_EQ(cache.generation(), 0u);

  EXPECT_TRUE(cache.put({.token = "one", .expires = start + 60s}));
  EXPECT_EQ(cache.generation(), 1u);
  EXPECT_FALSE(cache.due(start));
  EXPECT_FALSE(cache.due(start + 49s));
  EXPECT_TRUE(cache.due(start + 50s));
  // A refresh that fails meanwhile does no harm until it has really expired.
  EXPECT_TRUE(cache.keep(start + 59s));
  EXPECT_FALSE(cache.keep(start + 60s));

  // Only its expiry is new.
  EXPECT_FALSE(cache.put({.token = "one", .expires = start + 120s}));
  EXPECT_EQ(cache.generation(), 1u);
  EXPECT_FALSE(cache.due(start + 60s));

  cache.refuse(1);
  EXPECT_TRUE(cache.due(start));
  EXPECT_FALSE(cache.keep(start));
  EXPECT_TRUE(cache.put({.token = "two"}));
  EXPECT_EQ(cache.generation(), 2u);
  // Answers to requests that went out before say nothing about the new one.
  cache.refuse(1);
  EXPECT_FALSE(cache.due(start + 1000h));
}

TEST(LookScheduleTest, LooksOncePerPeriodAndWhenTheClockIsSetBack) {
  const detail::wall_clock::time_point start = parse_rfc3339("2026-11-22T12:00:00Z");
  detail::look_schedule schedule{10s};
  EXPECT_TRUE(schedule.due(start));
  schedule.looked(start);
  EXPECT_FALSE(schedule.due(start + 9s));
  EXPECT_TRUE(schedule.due(start + 10s));
  EXPECT_TRUE(schedule.due(start - 1s));
}

}  // namespace
}  // namespace mizzen::kubernetes
