// AWS's published examples: of S3's documentation, and of the test suite of Signature Version 4.
#include "tracking/aws_signature.hpp"

#include "core/sha256.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>

namespace mizzen::tracking::detail {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string signed_as(http::request what, const aws_credentials& as, const aws_scope& where,
                      const std::string& payload, std::chrono::system_clock::time_point now) {
  sign_request(what, as, where, payload, now);
  return std::string(what.headers.value("Authorization"));
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
std::string of_s3(http::request what, std::string_view body = {}) {
  const aws_credentials as{.access_key = "AKIAIOSFODNN7EXAMPLE",
                           .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
  const std::string payload = mizzen::detail::sha256_hex(body);
  what.headers.set("x-amz-content-sha256", payload);
  return signed_as(std::move(what), as, {.region = "us-east-1"}, payload,
                   std::chrono::sys_days(2013y / 5 / 24));
}

TEST(aws_signature, examples_of_s3) {
  const std::string bucket = "https://examplebucket.s3.amazonaws.com/";
  EXPECT_EQ(of_s3({.url = bucket + "test.txt", .headers = {{"Range", "bytes=0-9"}}}),
            "AWS4-HMAC-SHA256 "
            "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_THAT(of_s3({.method = "PUT",
                     .url = bucket + "test$file.text",
                     .headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                                 {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}},
                    "Welcome to Amazon S3."),
              EndsWith("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
  EXPECT_THAT(of_s3({.url = bucket + "?lifecycle"}),
              EndsWith("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
  EXPECT_THAT(of_s3({.url = bucket + "?prefix=J&max-keys=2"}),
              EndsWith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

std::string of_suite(const std::string& method, const std::string& target, http::headers headers,
                     std::string_view body = {}) {
  const aws_credentials as{.access_key = "AKIDEXAMPLE",
                           .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
  const std::string text = signed_as(
      {.method = method, .url = "https://example.amazonaws.com" + target, .headers = headers}, as,
      {.region = "us-east-1", .service = "service"}, mizzen::detail::sha256_hex(body),
      std::chrono::sys_days(2015y / 8 / 30) + 12h + 36min);
  return text.substr(text.rfind('=') + 1);
}

TEST(aws_signature, examples_of_the_test_suite) {
  // get-vanilla
  EXPECT_EQ(of_suite("GET", "/", {}),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  // get-vanilla-query-order-key-case
  EXPECT_EQ(of_suite("GET", "/?Param2=value2&Param1=value1", {}),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
  // get-vanilla-utf8-query
  EXPECT_EQ(of_suite("GET", "/?\u1234=bar", {}),
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04");
  // get-utf8
  EXPECT_EQ(of_suite("GET", "/\u1234", {}),
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
  // get-header-key-duplicate
  EXPECT_EQ(
      of_suite("GET", "/",
               {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}),
      "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
  // get-header-value-trim
  EXPECT_EQ(of_suite("GET", "/", {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}}),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
  // post-x-www-form-urlencoded
  EXPECT_EQ(of_suite("POST", "/", {{"Content-Type", "application/x-www-form-urlencoded"}},
                     "Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

TEST(aws_signature, a_second_signature_replaces_the_first) {
  const aws_credentials as{.access_key = "a", .secret_key = "s", .session_token = "t"};
  http::request what{.url = "http://localhost:9000/b/k",
                     .headers = {{"User-Agent", "x"}, {"Accept-Encoding", "identity"}}};
  const std::chrono::system_clock::time_point day = std::chrono::sys_days(2026y / 1 / 2);
  sign_request(what, as, {.region = "r"}, "UNSIGNED-PAYLOAD", day);
  const std::string first(what.headers.value("Authorization"));
  EXPECT_THAT(first, StartsWith("AWS4-HMAC-SHA256 Credential=a/20260102/r/s3/aws4_request, "
                                "SignedHeaders=host;x-amz-date;x-amz-security-token, "));
  sign_request(what, as, {.region = "r"}, "UNSIGNED-PAYLOAD", day + 25h);
  EXPECT_EQ(what.headers.values("Authorization").size(), 1U);
  EXPECT_THAT(std::string(what.headers.value("Authorization")), HasSubstr("20260103"));
  sign_request(what, as, {.region = "r"}, "UNSIGNED-PAYLOAD", day);
  EXPECT_EQ(what.headers.value("Authorization"), first);
}

}  // namespace
}  // namespace mizzen::tracking::detail
