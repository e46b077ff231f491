// Artifacts in object stores without one: what the environment says, XML, checksums, and stores
// that fail. The signatures and a real store are tested elsewhere.
#include "scripted_server.hpp"
#include "temporary_folder.hpp"
#include "tracking/artifact_stores.hpp"
#include "tracking/checksum.hpp"
#include "tracking/s3_messages.hpp"
#include "tracking/s3_repository.hpp"
#include "tracking/s3_settings.hpp"
#include "tracking/xml.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <span>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
namespace d = detail;

errc code_of(const std::function<void()>& work, std::string* text = nullptr) {
  try {
    work();
  } catch (const error& e) {
    if (text != nullptr) *text = e.what();
    return e.code();
  }
  ADD_FAILURE() << "it did not throw";
  return errc::unknown;
}

// --- checksums -----------------------------------------------------------------------------------

TEST(s3_checksum, of_the_digits) {
  const auto of_digits = [](d::checksum::kind kind) {
    d::checksum sum(kind);
    sum.update("1234");
    sum.update("56789");
    return sum.base64();
  };
  // The check values of the catalogue of CRCs: cbf43926, e3069283, ae8b14860a799888.
  EXPECT_EQ(of_digits(d::checksum::kind::crc32), "y/Q5Jg==");
  EXPECT_EQ(of_digits(d::checksum::kind::crc32c), "4waSgw==");
  EXPECT_EQ(of_digits(d::checksum::kind::crc64nvme), "rosUhgp5mIg=");
  EXPECT_EQ(of_digits(d::checksum::kind::sha256), "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
}

TEST(s3_checksum, only_of_the_whole_object) {
  EXPECT_EQ(d::find_checksum({{"x-amz-checksum-crc32", "y/Q5Jg=="}})->base64, "y/Q5Jg==");
  EXPECT_FALSE(d::find_checksum({{"x-amz-checksum-crc32", "y/Q5Jg==-3"}}));
  EXPECT_FALSE(d::find_checksum(
      {{"x-amz-checksum-crc32", "y/Q5Jg=="}, {"x-amz-checksum-type", "COMPOSITE"}}));
  EXPECT_FALSE(d::find_checksum({{"x-amz-checksum-sha1", "AAAA"}}));
}

// --- XML -----------------------------------------------------------------------------------------

TEST(s3_xml, elements_and_text) {
  const auto root = d::parse_xml(
      "\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- a -- b --><s:a x='1>' y = \"</a>\" ><b>1 &lt; 2 "
      "&amp;&#65;&#x20ac;</b><c/><b><![CDATA[<&>]]>!<!-- c --></b> t</s:a >\n");
  EXPECT_EQ(root.name, "a");
  EXPECT_EQ(root.text, " t");
  ASSERT_THAT(root.children, SizeIs(3));
  EXPECT_EQ(root.value("b"), "1 < 2 &A\u20ac");
  EXPECT_EQ(root.children[2].text, "<&>!");
  EXPECT_EQ(root.find("d"), nullptr);
  EXPECT_EQ(d::parse_xml("<a>" + d::escape_xml("<\"&'>") + "</a>").text, "<\"&'>");
}

TEST(s3_xml, refuses_what_is_none) {
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "<a>";
  std::string wide = "<a>";
  for (int i = 0; i < 100'001; ++i) wide += "<b/>";
  for (const std::string& text : std::vector<std::string>{
           "", "x", "<a>", "<a></b>", "<a/><b/>", "<a x=1/>", "<a>&nbsp;</a>", "<a>& b</a>",
           "<a>&#0;</a>", "<a>&#xd800;</a>", "<a>&#99999999;</a>", "<a>&#x;</a>", "<a", "<a><!-- ",
           "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "< a/>", deep, wide + "</a>"}) {
    EXPECT_EQ(code_of([&] { d::parse_xml(text); }), errc::data_loss) << text.substr(0, 80);
  }
}

// --- messages ------------------------------------------------------------------------------------

TEST(s3_messages, a_listing) {
  const auto page = d::parse_listing(
      "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>n</"
      "NextContinuationToken><Contents><Key>r/f/</Key><Size>0</Size></Contents><Contents>"
      "<Key>r/f/a&amp;b</Key><Size>5368709120</Size></Contents><CommonPrefixes><Prefix>r/f/d/"
      "</Prefix></CommonPrefixes></ListBucketResult>");
  EXPECT_EQ(page.next, "n");
  std::vector<artifact_info> entries;
  d::add_entries(page, "r/", "r/f/", entries);
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0].path, "f/a&b");
  EXPECT_EQ(entries[0].size, 5368709120U);
  EXPECT_EQ(entries[1].path, "f/d");
  EXPECT_TRUE(entries[1].is_directory);
  EXPECT_EQ(code_of([&] { d::add_entries(page, "r/", "r/g/", entries); }), errc::data_loss);
}

TEST(s3_messages, listings_that_are_none) {
  for (const char* text :
       {"<Error/>", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"}) {
    EXPECT_EQ(code_of([&] { d::parse_listing(text); }), errc::data_loss) << text;
  }
}

// --- settings ------------------------------------------------------------------------------------

d::environment variables(std::map<std::string, std::string> of) {
  return [of = std::move(of)](std::string_view name) -> std::optional<std::string> {
    const auto found = of.find(std::string(name));
    return found == of.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(s3_settings, a_store_of_ones_own) {
  const auto settings = d::resolve_s3_settings(
      variables({{"AWS_ACCESS_KEY_ID", "k"},
                 {"AWS_SECRET_ACCESS_KEY", "s"},
                 {"MLFLOW_S3_ENDPOINT_URL", "http://localhost:9000/"},
                 {"MLFLOW_TRACKING_TOKEN", "not for the store"},
                 {"MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"},
                 {"MLFLOW_S3_UPLOAD_EXTRA_ARGS", R"({"ServerSideEncryption": "aws:kms"})"}}));
  EXPECT_EQ(settings.url_of("b", "a b/c+d/\u20ac"),
            "http://localhost:9000/b/a%20b/c%2Bd/%E2%82%AC");
  EXPECT_EQ(settings.url_of("b", ""), "http://localhost:9000/b/");
  EXPECT_EQ(settings.connection.authorization, "");
  EXPECT_EQ(settings.connection.patience.max_retries, 2);
  EXPECT_EQ(settings.region, "us-east-1");
  EXPECT_EQ(settings.upload_headers.at("x-amz-server-side-encryption"), "aws:kms");
}

TEST(s3_settings, the_cloud_and_profiles) {
  temporary_folder folder;
  std::filesystem::create_directories(folder.path() / ".aws");
  write_file(folder.file(".aws/credentials"),
             "[default]\naws_access_key_id = d\naws_secret_access_key = ds\n"
             "# a comment\n[other]\naws_access_key_id=o\naws_secret_access_key=os=\n"
             "aws_session_token = t\n");
  write_file(folder.file(".aws/config"),
             "[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n[profile other]\n"
             "region=eu-central-1\n");
  const std::string home = folder.path().string();
  const auto settings = d::resolve_s3_settings(variables({{"HOME", home}}));
  EXPECT_EQ(settings.credentials->access_key, "d");
  EXPECT_EQ(settings.url_of("b", "k"), "https://b.s3.eu-west-1.amazonaws.com/k");
  // Would not match the certificate.
  EXPECT_EQ(settings.url_of("b.c", "k"), "https://s3.eu-west-1.amazonaws.com/b.c/k");
  const auto other = d::resolve_s3_settings(variables({{"HOME", home}, {"AWS_PROFILE", "other"}}));
  EXPECT_EQ(other.credentials->secret_key, "os=");
  EXPECT_EQ(other.credentials->session_token, "t");
  EXPECT_EQ(other.region, "eu-central-1");
  EXPECT_EQ(code_of([&] {
              d::resolve_s3_settings(variables({{"HOME", home}, {"AWS_PROFILE", "none"}}));
            }),
            errc::invalid_argument);
}

TEST(s3_settings, what_is_refused) {
  const std::map<std::string, std::string> good = {{"AWS_ACCESS_KEY_ID", "k"},
                                                   {"AWS_SECRET_ACCESS_KEY", "s"}};
  const auto with = [&](const std::string& name, const std::string& value) {
    auto all = good;
    all[name] = value;
    std::string text;
    const errc code = code_of([&] { d::resolve_s3_settings(variables(all)); }, &text);
    EXPECT_THAT(text, HasSubstr(name));
    return code;
  };
  EXPECT_EQ(with("AWS_REGION", "eu/../x"), errc::invalid_argument);
  EXPECT_EQ(with("MLFLOW_S3_ENDPOINT_URL", "localhost:9000"), errc::invalid_argument);
  EXPECT_EQ(with("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "x"), errc::invalid_argument);
  EXPECT_EQ(with("MLFLOW_S3_UPLOAD_EXTRA_ARGS", "[]"), errc::invalid_argument);
  EXPECT_EQ(with("MLFLOW_S3_UPLOAD_EXTRA_ARGS", R"({"Unheard": "x"})"), errc::unimplemented);
  EXPECT_EQ(with("AWS_REQUEST_CHECKSUM_CALCULATION", "x"), errc::invalid_argument);
  EXPECT_EQ(code_of([] { d::resolve_s3_settings(variables({})); }), errc::unauthenticated);
  EXPECT_EQ(code_of([] { d::resolve_s3_settings(variables({{"AWS_ACCESS_KEY_ID", "k"}})); }),
            errc::invalid_argument);
  for (const char* location : {"s3://", "s3:///a", "s3:/b/a", "s3://b?x/a", "s3://b@c/a"}) {
    EXPECT_EQ(code_of([&] { d::parse_s3_location(location); }), errc::invalid_argument) << location;
  }
  EXPECT_EQ(d::parse_s3_location("s3://b/a/c//").prefix, "a/c");
}

// --- keys that are lent
// ---------------------------------------------------------------------------

TEST(s3_roles, a_web_identity_of_a_pod) {
  temporary_folder folder;
  write_file(folder.file("token"), "e.y.J\n");
  const std::string granted =
      "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
      "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>"
      "<SecretAccessKey>s</SecretAccessKey><SessionToken>t+1</SessionToken>"
      "<Expiration>2199-01-02T03:04:05Z</Expiration></Credentials>"
      "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
  const scripted_server lender({http_answer(503, ""), http_answer(200, granted)});
  const scripted_server store({http_answer(200, "x")});
  auto settings =
      d::resolve_s3_settings(variables({{"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"},
                                        {"AWS_WEB_IDENTITY_TOKEN_FILE", folder.file("token")},
                                        {"AWS_ENDPOINT_URL_STS", lender.url()},
                                        {"MLFLOW_S3_ENDPOINT_URL", store.url()}}));
  settings.connection.patience = {.max_retries = 3, .backoff_factor = 0, .backoff_jitter = 0};
  const auto repository = d::s3_repository(d::open_s3(settings, {}), "s3://b/r", {});
  EXPECT_EQ(repository->read("f", 10), "x");
  EXPECT_EQ(repository->read("g", 10), "x");
  ASSERT_THAT(lender.requests(), SizeIs(2));
  EXPECT_THAT(lender.requests()[1], StartsWith("POST / HTTP"));
  EXPECT_THAT(lender.requests()[1],
              testing::EndsWith("\r\n\r\nAction=AssumeRoleWithWebIdentity&Version=2011-06-15&"
                                "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=mizzen&"
                                "WebIdentityToken=e.y.J"));
  ASSERT_THAT(store.requests(), SizeIs(2));
  EXPECT_THAT(store.requests()[1], HasSubstr("Credential=ASIA1/"));
  EXPECT_THAT(store.requests()[1], HasSubstr("X-Amz-Security-Token: t+1\r\n"));
}

TEST(s3_roles, an_agent_beside_the_container_and_keys_that_run_out) {
  const auto keys = [](const std::string& name, const std::string& until) {
    return http_answer(
        200,
        json{{"AccessKeyId", name}, {"SecretAccessKey", "s"}, {"Token", ""}, {"Expiration", until}}
            .dump());
  };
  const std::string soon =
      format_rfc3339(std::chrono::system_clock::now() + std::chrono::minutes(4));
  const auto signers = [](const scripted_server& agent) {
    const scripted_server store({http_answer(200, "x")});
    const auto settings = d::resolve_s3_settings(
        variables({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url() + "/v1/credentials"},
                   {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me in"},
                   {"MLFLOW_S3_ENDPOINT_URL", store.url()}}));
    const auto repository = d::s3_repository(d::open_s3(settings, {}), "s3://b/r", {});
    std::vector<std::string> names;
    for (int i = 0; i < 3; ++i) {
      repository->read("f", 10);
      const std::string said = store.requests().back();
      const auto begin = said.find("Credential=") + 11;
      names.push_back(said.substr(begin, said.find('/', begin) - begin));
      EXPECT_THAT(said, Not(HasSubstr("X-Amz-Security-Token")));
    }
    return names;
  };
  const scripted_server good({keys("first", soon), keys("second", "2199-01-01T00:00:00Z")});
  EXPECT_THAT(signers(good), ElementsAre("first", "second", "second"));
  ASSERT_THAT(good.requests(), SizeIs(2));
  EXPECT_THAT(good.requests()[0], StartsWith("GET /v1/credentials HTTP"));
  EXPECT_THAT(good.requests()[0], HasSubstr("Authorization: let me in\r\n"));
  // One that refuses is not asked each time; what it gave is good until its end.
  const scripted_server bad({keys("first", soon), http_answer(403, "no")});
  EXPECT_THAT(signers(bad), ElementsAre("first", "first", "first"));
  EXPECT_THAT(bad.requests(), SizeIs(2));
}

TEST(s3_roles, what_is_refused) {
  temporary_folder folder;
  write_file(folder.file("token"), "t");
  const auto lender = *d::find_web_identity(
      variables({{"AWS_ROLE_ARN", "r"}, {"AWS_WEB_IDENTITY_TOKEN_FILE", folder.file("token")}}),
      "eu-west-1");
  EXPECT_EQ(lender.url, "https://sts.eu-west-1.amazonaws.com/");
  const auto read = [](const d::aws_lender& from, int status, const std::string& body) {
    return code_of([&] { d::read_lent_keys(from, {.status = status, .body = body}); });
  };
  EXPECT_EQ(
      read(lender, 400, "<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"),
      errc::unauthenticated);
  EXPECT_EQ(read(lender, 503, ""), errc::unavailable);
  EXPECT_EQ(read(lender, 200, "<a/>"), errc::data_loss);
  EXPECT_EQ(read({}, 200, R"({"AccessKeyId": "a", "SecretAccessKey": "s", "Expiration": "soon"})"),
            errc::data_loss);
  EXPECT_EQ(read({}, 200, "[1]"), errc::data_loss);
  std::filesystem::remove(folder.file("token"));
  EXPECT_EQ(code_of([&] { d::borrow_request(lender); }), errc::unauthenticated);
  const auto half = variables({{"AWS_WEB_IDENTITY_TOKEN_FILE", "/x"}});
  EXPECT_EQ(code_of([&] { d::find_web_identity(half, "r"); }), errc::invalid_argument);
  for (const char* url : {"http://example.org/", "http://localhost.example.org/", "ftp://x"}) {
    const auto env = variables({{"AWS_CONTAINER_CREDENTIALS_FULL_URI", url}});
    EXPECT_EQ(code_of([&] { d::find_agent(env); }), errc::invalid_argument) << url;
  }
}

// --- stores that fail ----------------------------------------------------------------------------

std::shared_ptr<d::artifact_repository> repository(const scripted_server& server,
                                                   const d::multipart_settings& multipart = {}) {
  d::s3_settings settings;
  settings.connection.url = server.url();
  settings.connection.patience = {.max_retries = 3, .backoff_factor = 0, .backoff_jitter = 0};
  settings.region = "us-east-1";
  settings.credentials = d::aws_credentials{.access_key = "key", .secret_key = "secret"};
  settings.path_style = true;
  return d::s3_repository(d::open_s3(std::move(settings), {}), "s3://bucket/root", multipart);
}

TEST(s3_faults, what_came_is_not_what_is_kept) {
  temporary_folder folder;
  const scripted_server server(
      {http_answer(200, "123456789", "x-amz-checksum-crc32: AAAAAA==\r\n")});
  const auto store = repository(server);
  EXPECT_EQ(code_of([&] { store->fetch_file("f", folder.file("f")); }), errc::data_loss);
  EXPECT_FALSE(std::filesystem::exists(folder.file("f")));
  EXPECT_EQ(code_of([&] { store->read("f", 100); }), errc::data_loss);
}

TEST(s3_faults, a_download_goes_on_and_is_verified_as_a_whole) {
  temporary_folder folder;
  const scripted_server server(
      {"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nx-amz-checksum-crc32c: 4waSgw==\r\nContent-Length: "
       "9\r\n\r\n1234",
       http_answer(206, "56789", "ETag: \"e\"\r\nContent-Range: bytes 4-8/9\r\n")});
  repository(server)->fetch_file("f", folder.file("f"));
  EXPECT_EQ(read_file(folder.file("f")), "123456789");
  ASSERT_THAT(server.requests(), SizeIs(2));
  EXPECT_THAT(server.requests()[0], StartsWith("GET /bucket/root/f HTTP"));
  EXPECT_THAT(server.requests()[0], HasSubstr("x-amz-checksum-mode: ENABLED"));
  EXPECT_THAT(server.requests()[1], HasSubstr("Range: bytes=4-\r\n"));
}

TEST(s3_faults, an_upload_is_sent_again) {
  temporary_folder folder;
  write_file(folder.file("f"), "123456789");
  const scripted_server server(
      {http_answer(503, "<Error><Code>SlowDown</Code></Error>"), "", http_answer(200, "")});
  repository(server)->put_file(folder.file("f"), "a/f");
  ASSERT_THAT(server.requests(), SizeIs(3));
  for (const std::string& each : server.requests()) {
    EXPECT_THAT(each, StartsWith("PUT /bucket/root/a/f HTTP"));
    EXPECT_THAT(each, testing::EndsWith("\r\n\r\n123456789"));
    EXPECT_THAT(each, HasSubstr("x-amz-checksum-sha256: FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSO"));
    EXPECT_THAT(each, Not(HasSubstr("secret")));
  }
}

TEST(s3_faults, refusals_say_why) {
  const auto refused = [](const std::string& answer, errc expected) {
    const scripted_server server({answer});
    std::string text;
    EXPECT_EQ(code_of([&] { repository(server)->read("f", 10); }, &text), expected);
    EXPECT_THAT(text, HasSubstr(server.url() + "/bucket/root/f: "));
    return text;
  };
  EXPECT_THAT(refused(http_answer(403,
                                  "<Error><Code>SignatureDoesNotMatch</Code><Message>The key is "
                                  "wrong</Message></Error>"),
                      errc::unauthenticated),
              HasSubstr("403 SignatureDoesNotMatch: The key is wrong"));
  refused(http_answer(404, "<Error><Code>NoSuchKey</Code></Error>"), errc::not_found);
  refused(http_answer(403, "<html>a proxy's"), errc::permission_denied);
  EXPECT_THAT(refused(http_answer(301, "", "x-amz-bucket-region: eu-west-3\r\n"), errc::unknown),
              HasSubstr("the bucket is in eu-west-3"));
}

TEST(s3_faults, an_upload_in_parts_that_was_completed_without_our_knowing) {
  temporary_folder folder;
  write_file(folder.file("f"), std::string(std::size_t{6} << 20, 'x'));
  const std::string created = http_answer(200,
                                          "<InitiateMultipartUploadResult><UploadId>u</UploadId>"
                                          "</InitiateMultipartUploadResult>");
  const std::string part = http_answer(200, "", "ETag: \"p\"\r\n");
  const std::string gone = http_answer(404, "<Error><Code>NoSuchUpload</Code></Error>");
  const auto put = [&](scripted_server& server) {
    repository(server, {.least = 1, .part = 1})->put_file(folder.file("f"), "f");
  };
  scripted_server whole(
      {created, part, part, "", gone,
       "HTTP/1.1 200 OK\r\nContent-Length: 6291456\r\nConnection: close\r\n\r\n"});
  put(whole);
  const auto requests = whole.requests();
  ASSERT_THAT(requests, SizeIs(6));
  EXPECT_THAT(requests[0], StartsWith("POST /bucket/root/f?uploads= HTTP"));
  EXPECT_THAT(requests[1], StartsWith("PUT /bucket/root/f?partNumber=1&uploadId=u HTTP"));
  EXPECT_THAT(requests[2], HasSubstr("Content-Length: 1048576\r\n"));
  EXPECT_THAT(requests[4], HasSubstr("<PartNumber>2</PartNumber><ETag>&quot;p&quot;</ETag>"));
  EXPECT_THAT(requests[5], StartsWith("HEAD /bucket/root/f HTTP"));

  scripted_server other({created, part, part, gone,
                         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
                         http_answer(204, "")});
  EXPECT_EQ(code_of([&] { put(other); }), errc::not_found);
  EXPECT_THAT(other.requests().back(), StartsWith("DELETE /bucket/root/f?uploadId=u HTTP"));

  scripted_server late({created, part, part,
                        http_answer(200, "<Error><Code>InternalError</Code></Error>"),
                        http_answer(204, "")});
  EXPECT_EQ(code_of([&] { put(late); }), errc::unavailable);
}

TEST(s3_faults, removes_only_what_is_below) {
  const scripted_server server(
      {http_answer(200,
                   "<ListBucketResult><Contents><Key>root/a/x</Key><Size>1</Size></Contents>"
                   "<Contents><Key>root/ab</Key><Size>1</Size></Contents></ListBucketResult>"),
       http_answer(204, "")});
  repository(server)->remove("a");
  ASSERT_THAT(server.requests(), SizeIs(2));
  EXPECT_THAT(server.requests()[0], StartsWith("GET /bucket/?list-type=2&prefix=root%2Fa HTTP"));
  EXPECT_THAT(server.requests()[1], StartsWith("DELETE /bucket/root/a/x HTTP"));
}

TEST(s3_faults, a_listing_for_ever_is_given_up) {
  const scripted_server server(
      {http_answer(200,
                   "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>n"
                   "</NextContinuationToken></ListBucketResult>")});
  EXPECT_EQ(code_of([&] { repository(server)->list(""); }), errc::data_loss);
}

}  // namespace
}  // namespace mizzen::tracking
