// OpenTelemetry metrics: messages, settings, and receivers that fail. That a real receiver takes
// them is shown by otlp_test.py.
#include "scripted_server.hpp"
#include "temporary_folder.hpp"
#include "tracking/otlp_message.hpp"
#include "tracking/otlp_settings.hpp"
#include "tracking/protobuf.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <bit>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace mizzen::tracking {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
namespace d = detail;

deadline soon() { return deadline::after(60s); }

// --- messages ------------------------------------------------------------------------------------

// The values of a field of a message.
std::vector<d::message_reader::field> fields(std::string_view message, unsigned number) {
  std::vector<d::message_reader::field> found;
  d::message_reader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == number) found.push_back(*field);
  }
  EXPECT_FALSE(reader.is_damaged());
  return found;
}

struct point {
  std::string name = {};
  std::uint64_t time = 0;
  double value = 0;
  std::string run = {};
  std::int64_t step = 0;
};

// Every point of a request, whoever sends it; fields are of opentelemetry-proto.
std::vector<point> points_of(std::string_view request) {
  std::vector<point> found;
  const auto attribute = [](std::string_view key_value) {
    const auto any = fields(key_value, 2).at(0).bytes;
    return std::pair(std::string(fields(key_value, 1).at(0).bytes), std::string(any));
  };
  for (const auto& resource_metrics : fields(request, 1)) {
    for (const auto& scope_metrics : fields(resource_metrics.bytes, 2)) {
      for (const auto& metric : fields(scope_metrics.bytes, 2)) {
        const auto gauge = fields(metric.bytes, 5).at(0).bytes;
        for (const auto& each : fields(gauge, 1)) {
          point one{.name = std::string(fields(metric.bytes, 1).at(0).bytes),
                    .time = fields(each.bytes, 3).at(0).number_value,
                    .value = std::bit_cast<double>(fields(each.bytes, 4).at(0).number_value)};
          for (const auto& pair : fields(each.bytes, 7)) {
            const auto [key, any] = attribute(pair.bytes);
            if (key == "mlflow.run_id") one.run = fields(any, 1).at(0).bytes;
          }
          const auto exemplar = fields(each.bytes, 5).at(0).bytes;
          const auto [key, any] = attribute(fields(exemplar, 7).at(0).bytes);
          EXPECT_EQ(key, "mlflow.step");
          one.step = static_cast<std::int64_t>(fields(any, 3).at(0).number_value);
          found.push_back(one);
        }
      }
    }
  }
  return found;
}

TEST(otlp_message, points_of_a_part_are_the_same_whenever_they_are_sent) {
  const std::vector<d::log_entry> entries = {
      {.run = "a", .key = "loss", .value = 0.5, .step = 3, .timestamp = 1000, .at = 17},
      {.kind = d::wal_kind::tag, .run = "a", .key = "t", .text = "x", .at = 18},
      {.run = "b", .key = "acc", .value = 1, .step = -4, .timestamp = 1000, .at = 2'000'019},
      {.run = "a", .key = "loss", .value = 0.25, .step = 4, .timestamp = 1000, .at = 20}};
  const d::otlp_shape shape{.resource = {{"service.name", "s"}}};
  const std::string request = d::encode_otlp("log", entries, shape);
  EXPECT_EQ(request, d::encode_otlp("log", entries, shape));
  EXPECT_NE(request, d::encode_otlp("another", entries, shape));
  const auto points = points_of(request);
  ASSERT_THAT(points, SizeIs(3));
  EXPECT_EQ(points[0].name, "acc");
  const std::uint64_t first = points[1].time - 17;
  EXPECT_EQ(points[1].time / 1'000'000, 1'000U);
  EXPECT_EQ(points[0].time, first + 19);
  EXPECT_EQ(points[0].run, "b");
  EXPECT_EQ(points[0].step, -4);
  EXPECT_EQ(points[1].value, 0.5);
  EXPECT_EQ(points[2].time, first + 20);  // of the same millisecond, and another one
  EXPECT_EQ(points[2].run, "a");
  EXPECT_THAT(request, HasSubstr("service.name"));
  EXPECT_THAT(d::encode_otlp("log", std::span(entries).subspan(1, 1), shape), IsEmpty());
  EXPECT_GT(d::encode_otlp("log", entries, {.step_attribute = true}).size(),
            d::encode_otlp("log", entries, {}).size());
}

TEST(otlp_message, answers_are_read_and_what_is_none_is_told_apart) {
  EXPECT_EQ(d::decode_otlp_response("")->rejected, 0);
  const auto partial = d::decode_otlp_response("\x0a\x0b\x08\x02\x12\x07too old");
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->rejected, 2);
  EXPECT_EQ(partial->message, "too old");
  EXPECT_FALSE(d::decode_otlp_response("<html>"));
  EXPECT_FALSE(d::decode_otlp_response("\x0a\x7f"));
  EXPECT_FALSE(d::decode_otlp_response("\x0a\x01\x08"));
  EXPECT_EQ(d::decode_otlp_error("\x08\x03\x12\x03"
                                 "bad"),
            "bad");
  EXPECT_EQ(d::decode_otlp_error("404 page not found"), "");
}

// --- settings ------------------------------------------------------------------------------------

std::optional<d::otlp_settings> resolve(std::map<std::string, std::string, std::less<>> variables,
                                        const otlp_options& options = {}) {
  return d::resolve_otlp_settings(
      options,
      [&](std::string_view name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
      },
      "program");
}

TEST(otlp_settings, are_asked_for) {
  EXPECT_FALSE(resolve({}));
  // Meant for the traces of a program, as a rule.
  EXPECT_FALSE(resolve({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1"}}));
  EXPECT_EQ(
      resolve({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1/"}, {"OTEL_METRICS_EXPORTER", "otlp"}})
          ->url,
      "http://h:1/v1/metrics");
  EXPECT_EQ(resolve({{"OTEL_METRICS_EXPORTER", "otlp"}})->url, "http://localhost:4318/v1/metrics");
  EXPECT_EQ(resolve({{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h:1/x"}})->url,
            "http://h:1/x");
  EXPECT_FALSE(resolve(
      {{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h:1/x"}, {"OTEL_SDK_DISABLED", "True"}}));
  EXPECT_FALSE(
      resolve({{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h:1/x"}}, {.enabled = false}));
  EXPECT_EQ(resolve({{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h:1/x"}},
                    {.endpoint = "https://g/y"})
                ->url,
            "https://g/y");
}

TEST(otlp_settings, take_the_environment_by_opentelemetrys_names) {
  const auto found = resolve({{"OTEL_EXPORTER_OTLP_HEADERS", "a=b"},
                              {"OTEL_EXPORTER_OTLP_METRICS_HEADERS", " api-key = x%20y , z=1"},
                              {"OTEL_EXPORTER_OTLP_TIMEOUT", "1500"},
                              {"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"},
                              {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"},
                              {"OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/key.pem"},
                              {"OTEL_RESOURCE_ATTRIBUTES", "team=vision,service.name=old"},
                              {"OTEL_SERVICE_NAME", "trainer"}},
                             {.enabled = true, .headers = {{"z", "2"}}, .resource = {{"k", "v"}}});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->headers, (string_map{{"api-key", "x y"}, {"z", "2"}}));
  EXPECT_EQ(found->timeout, 1500ms);
  EXPECT_TRUE(found->gzip);
  EXPECT_EQ(found->certificate_file, "/ca.pem");
  EXPECT_EQ(found->client_key_file, "/key.pem");
  EXPECT_EQ(found->shape.resource.at("team"), "vision");
  EXPECT_EQ(found->shape.resource.at("service.name"), "trainer");
  EXPECT_EQ(found->shape.resource.at("k"), "v");
  EXPECT_EQ(resolve({}, {.enabled = true})->shape.resource.at("service.name"),
            "unknown_service:program");

  const json about = {{"otlp", d::otlp_about(*found)}};
  EXPECT_THAT(about.dump(), Not(HasSubstr("x y")));
  const auto target = d::otlp_target_of(about.dump());
  ASSERT_TRUE(target);
  EXPECT_EQ(target->url, found->url);
  EXPECT_EQ(target->shape.resource, found->shape.resource);
  EXPECT_FALSE(d::otlp_target_of("{}"));
  EXPECT_FALSE(d::otlp_target_of(R"({"otlp": {"url": 3}})"));
  EXPECT_FALSE(d::otlp_target_of("broken"));
}

TEST(otlp_settings, name_what_is_wrong) {
  const otlp_options on{.enabled = true};
  EXPECT_ERROR(errc::unimplemented, "OTEL_EXPORTER_OTLP_PROTOCOL",
               resolve({{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}}, on));
  EXPECT_ERROR(errc::invalid_argument, "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
               resolve({{"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"}}, on));
  EXPECT_ERROR(errc::invalid_argument, "OTEL_EXPORTER_OTLP_COMPRESSION",
               resolve({{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"}}, on));
  EXPECT_ERROR(errc::invalid_argument, "OTEL_EXPORTER_OTLP_HEADERS",
               resolve({{"OTEL_EXPORTER_OTLP_HEADERS", "secret"}}, on));
  EXPECT_ERROR(errc::invalid_argument, "OTEL_EXPORTER_OTLP_HEADERS",
               resolve({{"OTEL_EXPORTER_OTLP_HEADERS", "a=b%0D%0Ac"}}, on));
  EXPECT_ERROR(errc::invalid_argument, "otlp_options.endpoint", resolve({}, {.endpoint = "h:1"}));
  EXPECT_ERROR(errc::invalid_argument, "otlp_options.endpoint",
               resolve({}, {.endpoint = "http://u:p@h/"}));
  EXPECT_ERROR(errc::invalid_argument, "otlp_options.timeout",
               resolve({}, {.enabled = true, .timeout = 0ms}));
}

// --- receivers that fail -------------------------------------------------------------------------

class otlp_drain : public testing::Test {
 protected:
  client connect(const scripted_server& receiver, otlp_options options = {},
                 std::size_t total_size = std::size_t{8} << 20,
                 std::chrono::milliseconds close_timeout = 60s) {
    options.endpoint = receiver.url() + "/v1/metrics";
    return client({.uri = db_,
                   .writer = {.segment_size = 256 << 10,
                              .total_size = total_size,
                              .close_timeout = close_timeout,
                              .otlp = options},
                   .log = logger([this](const log_record& record) {
                     const std::scoped_lock lock(mutex_);
                     said_.emplace_back(record.message);
                   })});
  }
  static std::vector<point> received(const scripted_server& receiver) {
    std::vector<point> all;
    for (const std::string& request : receiver.requests()) {
      const auto points = points_of(request.substr(request.find("\r\n\r\n") + 4));
      all.insert(all.end(), points.begin(), points.end());
    }
    return all;
  }
  std::vector<std::string> said() {
    const std::scoped_lock lock(mutex_);
    return said_;
  }

  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  std::mutex mutex_;
  std::vector<std::string> said_;
};

TEST_F(otlp_drain, what_passes_is_sent_again_as_it_was) {
  const scripted_server receiver({http_answer(503, "", "Retry-After: 1\r\n"), "",
                                  http_answer(502, "<h1>Bad Gateway</h1>"),
                                  http_answer(200, "<p>log in</p>"), http_answer(200, "")});
  client c = connect(receiver, {.headers = {{"api-key", "secret"}}});
  auto run = c.start_run("digits");
  run.log_metric("loss", 0.5, {.step = 3, .timestamp = 1'700'000'000'000});
  EXPECT_TRUE(run.flush(soon()));
  const auto requests = receiver.requests();
  ASSERT_THAT(requests, SizeIs(5));
  for (const std::string& each : requests) EXPECT_EQ(each, requests[0]);
  EXPECT_THAT(requests[0], HasSubstr("POST /v1/metrics HTTP/1.1"));
  EXPECT_THAT(requests[0], HasSubstr("Content-Type: application/x-protobuf"));
  EXPECT_THAT(requests[0], HasSubstr("api-key: secret"));
  const auto points = received(receiver);
  EXPECT_EQ(points[0].name, "loss");
  EXPECT_EQ(points[0].run, run.id());
  EXPECT_EQ(points[0].step, 3);
  EXPECT_EQ(points[0].time / 1'000'000, 1'700'000'000'000U);
}

TEST_F(otlp_drain, what_must_not_be_sent_again_is_reported) {
  const scripted_server receiver({http_answer(400,
                                              "\x08\x03\x12\x03"
                                              "bad"),
                                  http_answer(200, "\x0a\x0b\x08\x02\x12\x07too old"),
                                  http_answer(200, "")});
  client c = connect(receiver);
  auto run = c.start_run("digits");
  run.log_metric("loss", 0.5);
  EXPECT_TRUE(run.flush(soon()));
  EXPECT_THAT(c.status().last_error, HasSubstr("400"));
  EXPECT_THAT(c.status().last_error, HasSubstr("bad"));
  run.log_metric("loss", 0.25, {.step = 1});
  EXPECT_TRUE(run.flush(soon()));
  EXPECT_THAT(c.status().last_error, HasSubstr("too old"));
  EXPECT_THAT(said(), Contains(HasSubstr("left out of a sink")));
  run.log_metric("loss", 0.125, {.step = 2});
  EXPECT_TRUE(run.flush(soon()));
  EXPECT_THAT(receiver.requests(), SizeIs(3));
  EXPECT_EQ(c.status().rejected, 0U);  // the store has them all
  EXPECT_EQ(c.metric_history(run.id(), "loss").size(), 3U);
}

TEST_F(otlp_drain, a_receiver_that_hangs_holds_up_nothing) {
  scripted_server receiver({std::string(scripted_server::silence)});
  std::string id;
  {
    client c = connect(receiver, {.timeout = 3'000'000ms}, 8 << 20, 100ms);
    auto run = c.start_run("digits");
    id = run.id();
    for (int step = 0; step < 100; ++step) run.log_metric("loss", step, {.step = step});
    EXPECT_EQ(c.metric_history(id, "loss").size(), 100U);
    EXPECT_FALSE(run.flush(deadline::after(100ms)));
  }
}

// Nobody listens: the end of a process does not wait for that; the next one sends it.
TEST_F(otlp_drain, what_is_left_is_sent_by_the_next_process) {
  scripted_server receiver({""});
  {
    client c = connect(receiver);
    auto run = c.start_run("digits");
    run.log_metric("loss", 0.5);
    while (receiver.requests().empty()) std::this_thread::sleep_for(1ms);
  }
  receiver.answer({http_answer(200, "")});
  // Without settings of its own, and so without headers: the log says where it goes.
  client next({.uri = db_});
  EXPECT_TRUE(next.flush(soon()));
  EXPECT_THAT(received(receiver), testing::Not(IsEmpty()));
  EXPECT_EQ(received(receiver).back().value, 0.5);
}

TEST_F(otlp_drain, what_waits_for_too_long_is_left_out) {
  const scripted_server receiver({""});
  {
    client c = connect(receiver);
    auto run = c.start_run("digits");
    run.log_metric("loss", 0.5);
    while (receiver.requests().empty()) std::this_thread::sleep_for(1ms);
  }
  for (const auto& each : std::filesystem::recursive_directory_iterator(db_ + ".mizzen-wal")) {
    if (each.path().extension() != ".wal") continue;
    std::filesystem::last_write_time(each.path(),
                                     std::filesystem::file_time_type::clock::now() - 25h);
  }
  client c = connect(receiver);
  EXPECT_TRUE(c.flush(soon()));
  EXPECT_THAT(said(), Contains(HasSubstr("left out of a sink")));
  EXPECT_THAT(std::filesystem::directory_iterator(db_ + ".mizzen-wal"),
              testing::ResultOf([](auto each) { return std::distance(each, {}); }, 0));
}

TEST_F(otlp_drain, a_log_without_room_leaves_points_out_of_it_and_none_out_of_the_store) {
  scripted_server receiver({""});
  client c = connect(receiver, {}, 1 << 20);
  auto run = c.start_run("digits");
  std::uint64_t logged = 0;
  for (int step = 0; step < 200'000; ++step) {
    run.log_metric("loss", step, {.step = step});
    ++logged;
    if (step % 4'000 == 0) {
      EXPECT_EQ(c.metric_history(run.id(), "none").size(), 0U);  // waits for the store
    }
  }
  EXPECT_EQ(c.status().refused, 0U);
  EXPECT_EQ(c.metric_history(run.id(), "loss").size(), logged);
  EXPECT_THAT(said(), Contains(HasSubstr("left out of a sink that failed for too long")));
}

}  // namespace
}  // namespace mizzen::tracking
