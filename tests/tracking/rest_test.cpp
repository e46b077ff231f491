// The REST client without an MLflow server: messages, settings, repeating, and servers that fail.
#include "scripted_server.hpp"
#include "temporary_folder.hpp"
#include "tracking/backend.hpp"
#include "tracking/rest_artifacts.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/rest_settings.hpp"

#include <mizzen/tracking.hpp>
#include <mizzen/tracking/mlflow_error.hpp>

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <map>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
namespace d = detail;

template <typename Work>
errc code_of(Work&& work, std::string* text = nullptr) {
  try {
    work();
  } catch (const error& e) {
    if (text != nullptr) *text = e.what();
    return e.code();
  }
  ADD_FAILURE() << "it did not throw";
  return errc::unknown;
}

// --- messages ------------------------------------------------------------------------------------

TEST(rest_messages, read_numbers_as_protobuf_writes_them) {
  const json answer = d::parse_answer(
      R"({"a": 7, "b": "-9223372036854775808", "c": 1.5, "d": "NaN", "e": "Infinity", "f": null,
          "g": 3.0, "h": "x", "i": 18446744073709551615})");
  EXPECT_EQ(d::integer_field(answer, "a"), 7);
  EXPECT_EQ(d::integer_field(answer, "b"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(d::real_field(answer, "c"), 1.5);
  EXPECT_TRUE(std::isnan(d::real_field(answer, "d")));
  EXPECT_EQ(d::real_field(answer, "e"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(d::integer_field(answer, "f"), 0);
  EXPECT_EQ(d::integer_field(answer, "absent"), 0);
  EXPECT_EQ(d::integer_field(answer, "g"), 3);
  EXPECT_EQ(code_of([&] { d::integer_field(answer, "c"); }), errc::data_loss);
  EXPECT_EQ(code_of([&] { d::integer_field(answer, "h"); }), errc::data_loss);
  EXPECT_EQ(code_of([&] { d::integer_field(answer, "i"); }), errc::data_loss);
  EXPECT_EQ(code_of([&] { d::real_field(answer, "h"); }), errc::data_loss);
}

TEST(rest_messages, read_the_bare_words_of_python) {
  const json answer =
      d::parse_answer(R"({"a": NaN, "b": [-Infinity,Infinity], "c": "NaN \" NaN", "NaN": 1})");
  EXPECT_TRUE(std::isnan(d::real_field(answer, "a")));
  EXPECT_EQ(answer["b"].dump(), R"(["-Infinity","Infinity"])");
  EXPECT_EQ(answer["c"], "NaN \" NaN");
  EXPECT_THROW(d::parse_answer(R"({"a": NaNs})"), json::parse_error);
}

TEST(rest_messages, refuse_answers_of_another_shape) {
  EXPECT_EQ(code_of([] { d::read_experiment(json::array()); }), errc::data_loss);
  EXPECT_EQ(code_of([] { d::read_experiment(json::object()); }), errc::data_loss);
  EXPECT_EQ(code_of([] { d::read_run({{"info", 3}}); }), errc::data_loss);
  EXPECT_EQ(code_of([] { d::read_run({{"info", {{"run_id", "x"}, {"status", "DREAMING"}}}}); }),
            errc::data_loss);
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_EQ(code_of([&] { d::parse_answer(deep); }), errc::data_loss);
}

TEST(rest_messages, split_batches_at_every_limit) {
  std::vector<metric> points;
  for (int i = 0; i < 2500; ++i) points.push_back({"loss", i * 0.5, i, 1});
  string_map params;
  for (int i = 0; i < 101; ++i) params["p" + std::to_string(i)] = std::string(6000, 'x');
  string_map tags;
  for (int i = 0; i < 250; ++i) tags["t" + std::to_string(i)] = std::string(8000, 'y');
  const auto bodies = d::split_batch("r", points, params, tags);
  std::map<std::string, std::size_t> count;
  for (const json& body : bodies) {
    EXPECT_EQ(body["run_id"], "r");
    EXPECT_LE(body.dump().size(), 1'000'000U);
    std::size_t all = 0;
    for (const char* list : {"metrics", "params", "tags"}) {
      const std::size_t size = body.contains(list) ? body[list].size() : 0;
      EXPECT_LE(size, std::string(list) == "metrics" ? 1000U : 100U);
      count[list] += size;
      all += size;
    }
    EXPECT_LE(all, 1000U);
    EXPECT_GE(all, 1U);
  }
  EXPECT_EQ(count["metrics"], 2500U);
  EXPECT_EQ(count["params"], 101U);
  EXPECT_EQ(count["tags"], 250U);
  EXPECT_EQ(bodies[0]["params"][0]["key"], "p0");
  EXPECT_TRUE(d::split_batch("r", {}, {}, {}).empty());
  EXPECT_EQ(d::metric_value(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(d::metric_value(-std::numeric_limits<double>::infinity()),
            -std::numeric_limits<double>::max());
}

TEST(rest_messages, filters_quote_what_they_can) {
  EXPECT_EQ(d::filter_of({}), "");
  EXPECT_EQ(d::filter_of({.status = run_status::failed, .tags = {{"a b", "it's"}, {"c", "\""}}}),
            "attributes.status = 'FAILED' and tags.`a b` = \"it's\" and tags.`c` = '\"'");
  EXPECT_EQ(d::filter_of({.tags = {{"a", "'\""}}}), std::nullopt);
}

// --- settings ------------------------------------------------------------------------------------

d::environment with(std::map<std::string, std::string> values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(std::string(name));
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(rest_settings, take_the_environment_by_mlflows_names) {
  const auto s = d::resolve_rest_settings("https://host:5000/ml/", {},
                                          with({{"MLFLOW_TRACKING_TOKEN", "t0k"},
                                                {"MLFLOW_TRACKING_INSECURE_TLS", "true"},
                                                {"MLFLOW_TRACKING_CLIENT_CERT_PATH", "/c.pem"},
                                                {"MLFLOW_WORKSPACE", " team "},
                                                {"MLFLOW_HTTP_REQUEST_TIMEOUT", "7"},
                                                {"MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"},
                                                {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"},
                                                {"HTTPS_PROXY", "http://proxy:3128"}}));
  EXPECT_EQ(s.url, "https://host:5000/ml");
  EXPECT_EQ(s.authorization, "Bearer t0k");
  EXPECT_FALSE(s.verify_tls);
  EXPECT_EQ(s.client_certificate_file, "/c.pem");
  EXPECT_EQ(s.workspace, "team");
  EXPECT_EQ(s.timeout, std::chrono::seconds(7));
  EXPECT_EQ(s.patience.max_retries, 3);
  EXPECT_EQ(s.patience.backoff_factor, 0);
  EXPECT_EQ(s.proxy, "http://proxy:3128");
  const auto direct = d::resolve_rest_settings(
      "http://a.example.org:1", {},
      with({{"http_proxy", "http://proxy"}, {"no_proxy", "localhost, .example.org:1"}}));
  EXPECT_EQ(direct.proxy, "");
  EXPECT_EQ(direct.patience.max_retries, 7);
}

TEST(rest_settings, ask_for_credentials_in_order) {
  temporary_folder home;
  std::filesystem::create_directory(home.file(".mlflow"));
  std::ofstream(home.file(".mlflow/credentials"))
      << "[other]\nmlflow_tracking_username = no\n[mlflow]\n# mine\n"
         "mlflow_tracking_username = filed\nmlflow_tracking_password = secret=1\n";
  std::map<std::string, std::string> env = {
      {"HOME", std::filesystem::path(home.file(".mlflow")).parent_path().string()}};
  const auto header = [&](std::string_view uri, const server_options& options = {}) {
    return d::resolve_rest_settings(uri, options, with(env)).authorization;
  };
  EXPECT_EQ(header("http://h"), "Basic ZmlsZWQ6c2VjcmV0PTE=");  // filed:secret=1
  env["MLFLOW_TRACKING_USERNAME"] = "env";
  env["MLFLOW_TRACKING_TOKEN"] = "unused";
  EXPECT_EQ(header("http://h"), "Basic ZW52OnNlY3JldD0x");
  EXPECT_EQ(header("http://ann:p%40ss@h"), "Basic YW5uOnBAc3M=");  // ann:p@ss
  EXPECT_EQ(header("http://ann:p%40ss@h", {.username = "opt", .password = "pw"}), "Basic b3B0OnB3");
  const auto s = d::resolve_rest_settings("http://ann:pass@h:1/x", {}, with({}));
  EXPECT_EQ(s.url, "http://h:1/x");
}

TEST(rest_settings, name_what_is_wrong) {
  const auto refuse = [](std::string_view uri, std::map<std::string, std::string> env) {
    std::string text;
    EXPECT_EQ(code_of([&] { d::resolve_rest_settings(uri, {}, with(env)); }, &text),
              errc::invalid_argument);
    return text;
  };
  EXPECT_THAT(refuse("http://", {}), StartsWith("tracking uri"));
  EXPECT_THAT(refuse("http://h?x=1", {}), StartsWith("tracking uri"));
  EXPECT_THAT(refuse("ftp://h", {}), StartsWith("tracking uri"));
  EXPECT_THAT(refuse("http://h", {{"MLFLOW_HTTP_REQUEST_TIMEOUT", "soon"}}),
              StartsWith("MLFLOW_HTTP_REQUEST_TIMEOUT"));
  EXPECT_THAT(refuse("http://h", {{"MLFLOW_HTTP_REQUEST_MAX_RETRIES", "99"}}),
              StartsWith("MLFLOW_HTTP_REQUEST_MAX_RETRIES"));
  EXPECT_THAT(refuse("http://h", {{"MLFLOW_TRACKING_INSECURE_TLS", "maybe"}}),
              StartsWith("MLFLOW_TRACKING_INSECURE_TLS"));
  EXPECT_THAT(refuse("http://h", {{"MLFLOW_TRACKING_INSECURE_TLS", "1"},
                                  {"MLFLOW_TRACKING_SERVER_CERT_PATH", "/ca.pem"}}),
              StartsWith("MLFLOW_TRACKING_SERVER_CERT_PATH"));
  EXPECT_THAT(refuse("http://h", {{"MLFLOW_TRACKING_TOKEN", "a\r\nb"}}),
              StartsWith("MLFLOW_TRACKING_TOKEN"));
}

// --- repeating -----------------------------------------------------------------------------------

TEST(rest_retry, waits_as_mlflow_does) {
  using std::chrono::milliseconds;
  d::rest_retry again({.max_retries = 9, .backoff_factor = 2, .backoff_jitter = 0}, true, 1);
  std::vector<std::int64_t> waits;
  while (const auto wait = again.after_status(500, {})) waits.push_back(wait->count());
  EXPECT_THAT(waits, ElementsAre(0, 4000, 8000, 16'000, 32'000, 64'000, 120'000, 120'000, 120'000));
  d::rest_retry jittered({.backoff_factor = 2, .backoff_jitter = 1}, true, 7);
  const auto first = jittered.after_status(503, {});
  ASSERT_TRUE(first);
  EXPECT_LT(*first, milliseconds(1001));
  EXPECT_EQ(jittered.after_status(429, std::chrono::seconds(9)), milliseconds(9000));
  EXPECT_EQ(jittered.after_status(429, std::chrono::seconds(1000)), std::nullopt);
}

TEST(rest_retry, repeats_what_was_not_carried_out) {
  const auto fresh = [](bool repeatable) { return d::rest_retry({}, repeatable, 1); };
  for (const int status : {408, 429, 500, 502, 503, 504}) {
    EXPECT_TRUE(fresh(true).after_status(status, {})) << status;
    EXPECT_EQ(fresh(false).after_status(status, {}).has_value(), status == 429) << status;
  }
  EXPECT_TRUE(fresh(false).after_status(503, std::chrono::seconds(1)));
  EXPECT_FALSE(fresh(true).after_status(400, {}));
  EXPECT_FALSE(fresh(true).after_status(404, std::chrono::seconds(1)));
  EXPECT_TRUE(fresh(true).after_failure(true));
  EXPECT_TRUE(fresh(false).after_failure(false));
  EXPECT_FALSE(fresh(false).after_failure(true));
}

// --- a server that fails -------------------------------------------------------------------------

client client_of(const scripted_server& server, server_options options = {}) {
  if (!options.backoff_factor) options.backoff_factor = 0;
  if (!options.backoff_jitter) options.backoff_jitter = 0;
  if (!options.timeout) options.timeout = std::chrono::seconds(60);
  options.proxy = "";
  return client({.uri = server.url(), .user = "tester", .server = options});
}

const std::string experiment_answer = http_answer(
    200, R"({"experiment": {"experiment_id": "3", "name": "n", "creation_time": "17"}})");
const std::string run_answer =
    http_answer(200, R"({"run": {"info": {"run_id": "abc", "status": "RUNNING"}}})");

TEST(rest_faults, calls_are_repeated_until_the_server_is_back) {
  const scripted_server server({http_answer(500, "oops", {}, "text/plain"), "",
                                http_answer(503, "", "Retry-After: 0\r\n"), http_answer(429, "{}"),
                                experiment_answer});
  EXPECT_EQ(client_of(server).get_experiment("3").creation_time, 17);
  EXPECT_THAT(server.requests(), SizeIs(5));
}

TEST(rest_faults, retries_end) {
  const scripted_server server({http_answer(502, "<html>Bad Gateway</html>", {}, "text/html")});
  std::string text;
  EXPECT_EQ(code_of([&] { client_of(server, {.max_retries = 2}).get_experiment("3"); }, &text),
            errc::unavailable);
  EXPECT_THAT(server.requests(), SizeIs(3));
  EXPECT_THAT(text, HasSubstr("GET " + server.url() + "/api/2.0/mlflow/experiments/get: "));
  EXPECT_THAT(text, HasSubstr("<html>Bad Gateway</html>"));
}

TEST(rest_faults, nothing_is_created_twice) {
  for (const std::string& fault : {http_answer(500, "{}"), std::string()}) {
    const scripted_server server({fault, run_answer});
    const auto backend = detail::open_backend(
        {.uri = server.url(), .server = {.proxy = "", .backoff_factor = 0, .backoff_jitter = 0}});
    code_of([&] { backend->start_run("3", {}); });
    EXPECT_THAT(server.requests(), SizeIs(1));
  }
  const scripted_server server({http_answer(429, "{}"), run_answer});
  const auto backend = detail::open_backend(
      {.uri = server.url(), .server = {.proxy = "", .backoff_factor = 0, .backoff_jitter = 0}});
  EXPECT_EQ(backend->start_run("3", {}).id, "abc");
}

TEST(rest_faults, mlflows_errors_are_kept_whole) {
  const scripted_server server({http_answer(
      404, R"({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No run", "extra": 1})")});
  try {
    client_of(server).get_run("abc");
    FAIL();
  } catch (const mlflow_error& e) {
    EXPECT_EQ(e.code(), errc::not_found);
    EXPECT_EQ(e.error_code(), "RESOURCE_DOES_NOT_EXIST");
    EXPECT_EQ(e.http_status(), 404);
    EXPECT_EQ(e.details()["extra"], 1);
    EXPECT_THAT(e.what(), HasSubstr("No run"));
  }
}

TEST(rest_faults, answers_that_are_not_mlflows_name_the_request) {
  const auto message = [](const std::string& answer, errc expected) {
    const scripted_server server({answer});
    std::string text;
    EXPECT_EQ(code_of([&] { client_of(server, {.max_retries = 0}).get_experiment("3"); }, &text),
              expected);
    EXPECT_THAT(text, HasSubstr(server.url() + "/api/2.0/mlflow/experiments/get"));
    return text;
  };
  EXPECT_THAT(
      message(http_answer(200, "<!doctype html><p>log in</p>", {}, "text/html"), errc::data_loss),
      HasSubstr("is this an MLflow server?"));
  message(http_answer(200, "[1]"), errc::data_loss);
  message(http_answer(200, R"({"experiment": {"experiment_id": "3", )"), errc::data_loss);
  message("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"experiment\"", errc::unavailable);
  EXPECT_THAT(message(http_answer(401, "You are not authenticated."), errc::unauthenticated),
              HasSubstr("MLFLOW_TRACKING_USERNAME"));
  EXPECT_THAT(message(http_answer(302, "", "Location: https://sso/\r\n"), errc::unknown),
              HasSubstr("https://sso/"));
  message("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", errc::resource_exhausted);
}

TEST(rest_faults, a_silent_server_is_given_up) {
  const scripted_server server({std::string(scripted_server::silence)});
  EXPECT_EQ(code_of([&] {
              client_of(server, {.timeout = std::chrono::seconds(1), .max_retries = 0})
                  .get_experiment("3");
            }),
            errc::deadline_exceeded);
}

TEST(rest_faults, interrupt_ends_calls_that_wait) {
  const scripted_server server({http_answer(503, "", "Retry-After: 100\r\n")});
  const auto backend = detail::open_backend({.uri = server.url(), .server = {.proxy = ""}});
  auto call = std::async(std::launch::async,
                         [&] { return code_of([&] { backend->get_experiment("3"); }); });
  while (server.requests().empty()) std::this_thread::yield();
  backend->interrupt();
  EXPECT_EQ(call.get(), errc::cancelled);
  EXPECT_EQ(code_of([&] { backend->get_experiment("3"); }), errc::cancelled);
}

TEST(rest_faults, a_caller_is_shown_and_never_printed) {
  const scripted_server server({http_answer(500, "no", {}, "text/plain")});
  std::string uri = server.url();
  uri.insert(7, "ann:s3cret@");
  const client c({.uri = uri, .server = {.workspace = "w", .proxy = "", .max_retries = 0}});
  std::string text;
  code_of([&] { c.get_experiment("3"); }, &text);
  EXPECT_THAT(text, Not(HasSubstr("s3cret")));
  EXPECT_EQ(c.uri(), server.url());
  ASSERT_THAT(server.requests(), SizeIs(1));
  EXPECT_THAT(server.requests()[0], HasSubstr("Authorization: Basic YW5uOnMzY3JldA=="));
  EXPECT_THAT(server.requests()[0], HasSubstr("X-MLFLOW-WORKSPACE: w"));
}

// --- artifacts -----------------------------------------------------------------------------------

std::shared_ptr<d::rest_connection> connect(const scripted_server& server, int max_retries = 7) {
  return std::make_shared<d::rest_connection>(
      d::rest_settings{
          .url = server.url(),
          .authorization = "Bearer t",
          .patience = {.max_retries = max_retries, .backoff_factor = 0, .backoff_jitter = 0}},
      logger{});
}

TEST(rest_artifacts, large_files_go_in_parts) {
  temporary_folder folder;
  write_file(folder.file("big.bin"), "0123456789");
  scripted_server server({"never"});
  const std::string part = server.url() + "/signed/";
  server.answer(
      {http_answer(
           200,
           json{{"upload_id", "u1"},
                {"credentials",
                 {{{"url", part + "1?sig=a"}, {"part_number", 1}},
                  {{"url", part + "2?sig=b"}, {"part_number", 2}, {"headers", {{"x-extra", "y"}}}},
                  {{"url", part + "3?sig=c"}, {"part_number", 3}}}}}
               .dump()),
       http_answer(200, "", "ETag: \"e1\"\r\n"), http_answer(503, ""),
       http_answer(200, "", "ETag: \"e2\"\r\n"), http_answer(200, "", "ETag: \"e3\"\r\n"),
       http_answer(200, "{}")});
  d::proxy_repository(connect(server), "mlflow-artifacts:/7/run/artifacts",
                      {.least = 1, .part = 4, .enabled = true})
      ->put_file(folder.file("big.bin"), "a b/big.bin");
  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(6));
  EXPECT_THAT(requests[0],
              StartsWith("POST /api/2.0/mlflow-artifacts/mpu/create/7/run/artifacts/a%20b HTTP"));
  EXPECT_THAT(requests[0], HasSubstr(R"({"num_parts":3,"path":"big.bin"})"));
  EXPECT_THAT(requests[1], StartsWith("PUT /signed/1?sig=a"));
  EXPECT_THAT(requests[1], testing::EndsWith("\r\n\r\n0123"));
  EXPECT_THAT(requests[1], Not(HasSubstr("Bearer")));
  EXPECT_THAT(requests[3], HasSubstr("x-extra: y"));
  EXPECT_THAT(requests[3], testing::EndsWith("\r\n\r\n4567"));
  EXPECT_THAT(requests[4], testing::EndsWith("\r\n\r\n89"));
  EXPECT_THAT(requests[5], StartsWith("POST /api/2.0/mlflow-artifacts/mpu/complete/7/run"));
  EXPECT_THAT(requests[5], HasSubstr(R"("etag":"\"e2\"","part_number":2)"));
  EXPECT_THAT(requests[5], HasSubstr("Bearer t"));
}

TEST(rest_artifacts, an_upload_in_parts_that_fails_is_aborted) {
  temporary_folder folder;
  write_file(folder.file("big.bin"), "0123456789");
  scripted_server server({"never"});
  server.answer(
      {http_answer(200, json{{"upload_id", "u1"},
                             {"credentials", json::array({{{"url", server.url() + "/signed"},
                                                           {"part_number", 1}}})}}
                            .dump()),
       http_answer(403, "<Error/>", {}, "application/xml"), http_answer(200, "{}")});
  const auto repository = d::proxy_repository(connect(server), "mlflow-artifacts:/7",
                                              {.least = 1, .part = 100, .enabled = true});
  std::string text;
  EXPECT_EQ(code_of([&] { repository->put_file(folder.file("big.bin"), "big.bin"); }, &text),
            errc::permission_denied);
  EXPECT_THAT(text, HasSubstr("/signed: "));
  ASSERT_THAT(server.requests(), SizeIs(3));
  EXPECT_THAT(server.requests()[2], StartsWith("POST /api/2.0/mlflow-artifacts/mpu/abort/7 HTTP"));
}

TEST(rest_artifacts, a_download_that_is_cut_begins_anew_and_appears_whole) {
  temporary_folder folder;
  const scripted_server server({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123",
                                http_answer(200, "0123456789", {}, "application/octet-stream")});
  const d::multipart_settings through_the_server{.downloads_enabled = false};
  const auto repository =
      d::proxy_repository(connect(server), "mlflow-artifacts:/7", through_the_server);
  repository->fetch_file("x.bin", folder.file("deep/x.bin"));
  EXPECT_EQ(read_file(folder.file("deep/x.bin")), "0123456789");
  const scripted_server gone({http_answer(404, R"({"error_code": "NOT_FOUND"})")});
  EXPECT_EQ(code_of([&] {
              d::proxy_repository(connect(gone), "mlflow-artifacts:/7", through_the_server)
                  ->fetch_file("x.bin", folder.file("y.bin"));
            }),
            errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(folder.file("y.bin")));
}

TEST(rest_artifacts, a_download_comes_from_the_urls_that_the_server_signs) {
  temporary_folder folder;
  scripted_server server({"never"});
  const auto signed_as = [&](const std::string& name) {
    return http_answer(200, json{{"url", server.url() + "/signed/" + name + "?sig=a"},
                                 {"headers", {{"x-extra", name}}},
                                 {"file_size", 10}}
                                .dump());
  };
  server.answer({http_answer(200, R"({"multipart_downloads_enabled": true})"), signed_as("1"),
                 "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 10\r\n\r\n0123", signed_as("2"),
                 http_answer(206, "456789", "ETag: \"e\"\r\nContent-Range: bytes 4-9/10\r\n"),
                 signed_as("3"), http_answer(200, "small"),
                 http_answer(501, R"({"error_code": "NOT_IMPLEMENTED"})"),
                 http_answer(200, "proxied")});
  const auto repository = d::proxy_repository(connect(server), "mlflow-artifacts:/7", {});
  repository->fetch_file("a b/x.bin", folder.file("x.bin"));
  EXPECT_EQ(read_file(folder.file("x.bin")), "0123456789");
  EXPECT_EQ(repository->read("y.bin", 5), "small");
  EXPECT_EQ(repository->read("z.bin", 100), "proxied");
  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(9));
  EXPECT_THAT(requests[0], StartsWith("GET /api/3.0/mlflow/server-info HTTP"));
  EXPECT_THAT(requests[1],
              StartsWith("GET /api/2.0/mlflow-artifacts/presigned/7/a%20b/x.bin HTTP"));
  EXPECT_THAT(requests[1], HasSubstr("Bearer t"));
  EXPECT_THAT(requests[2], StartsWith("GET /signed/1?sig=a HTTP"));
  EXPECT_THAT(requests[2], Not(HasSubstr("Bearer")));
  EXPECT_THAT(requests[4], StartsWith("GET /signed/2?sig=a HTTP"));
  EXPECT_THAT(requests[4], HasSubstr("Range: bytes=4-\r\n"));
  EXPECT_THAT(requests[4], HasSubstr("x-extra: 2\r\n"));
  EXPECT_THAT(requests[8], StartsWith("GET /api/2.0/mlflow-artifacts/artifacts/7/z.bin HTTP"));
}

TEST(rest_artifacts, what_cannot_be_written_names_the_file) {
  temporary_folder folder;
  write_file(folder.file("in-the-way"), "");
  const scripted_server server({http_answer(200, "x")});
  const auto repository =
      d::proxy_repository(connect(server), "mlflow-artifacts:/7", {.downloads_enabled = false});
  std::string text;
  EXPECT_EQ(code_of([&] { repository->fetch_file("x", folder.file("in-the-way/x")); }, &text),
            errc::failed_precondition);
  EXPECT_THAT(text, HasSubstr("in-the-way/x"));
  EXPECT_EQ(code_of([&] { repository->read("x", 0); }, &text), errc::resource_exhausted);
  EXPECT_THAT(text, HasSubstr("artifact 'x'"));
}

TEST(rest_artifacts, listings_cannot_lead_out_of_the_folder) {
  temporary_folder folder;
  for (const char* name : {"../evil", "/etc/passwd", "..", "a/../../b"}) {
    const scripted_server server(
        {http_answer(200,
                     json{{"files", json::array({{{"path", name}, {"is_dir", false}}})}}.dump()),
         http_answer(200, "x")});
    const auto repository = d::proxy_repository(connect(server), "mlflow-artifacts:/7", {});
    EXPECT_EQ(code_of([&] { d::fetch_tree(*repository, "", folder.path() / "in"); }),
              errc::data_loss)
        << name;
  }
  // Folders in folders for ever.
  const scripted_server endless(
      {http_answer(200, R"({"files": [{"path": "a", "is_dir": true}]})")});
  const auto repository = d::proxy_repository(connect(endless), "mlflow-artifacts:/7", {});
  EXPECT_EQ(code_of([&] { d::fetch_tree(*repository, "", folder.path() / "in"); }),
            errc::data_loss);
}

TEST(rest_artifacts, a_foreign_host_gets_no_credentials) {
  const scripted_server own({http_answer(200, "{}")});
  const scripted_server other({http_answer(200, R"({"files": []})")});
  d::proxy_repository(connect(own), "mlflow-artifacts://" + other.url().substr(7) + "/7", {})
      ->list("");
  ASSERT_THAT(other.requests(), SizeIs(1));
  EXPECT_THAT(other.requests()[0], Not(HasSubstr("Bearer")));
  EXPECT_THAT(other.requests()[0], HasSubstr("artifacts?path=7 "));
}

TEST(rest_faults, bad_input_is_not_sent) {
  const scripted_server server({http_answer(200, "{}")});
  client c = client_of(server);
  EXPECT_EQ(code_of([&] { c.get_run(""); }), errc::invalid_argument);
  EXPECT_EQ(code_of([&] { c.get_run("a\xff"); }), errc::invalid_argument);
  EXPECT_EQ(code_of([&] { c.create_experiment(""); }), errc::invalid_argument);
  EXPECT_EQ(code_of([&] { c.set_registered_model_tag("m", "", "v"); }), errc::invalid_argument);
  EXPECT_EQ(code_of([&] { c.lineage().all(); }), errc::unimplemented);
  EXPECT_THAT(server.requests(), SizeIs(0));
}

}  // namespace
}  // namespace mizzen::tracking
