#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::kubernetes {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

// As kube-apiserver 1.36 sends it.
constexpr std::string_view not_found =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"web\" not found",)"
    R"("reason":"NotFound","details":{"name":"web","kind":"pods"},"code":404})";

TEST(StatusTest, IsReadWhole) {
  const auto status = parse_status(std::string_view(
      R"({"kind":"Status","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"abc"},)"
      R"("status":"Failure","message":"m","reason":"Invalid","code":422,"details":{"name":"n",)"
      R"("group":"g","kind":"k","uid":"u","retryAfterSeconds":5,"causes":[{"reason":"FieldValueInvalid",)"
      R"("message":"bad","field":"spec.x"},{"message":"worse"}]}})"));
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->success());
  EXPECT_EQ(status->resource_version, "7");
  EXPECT_EQ(status->continue_token, "abc");
  EXPECT_EQ(status->reason, "Invalid");
  EXPECT_EQ(status->code, 422);
  EXPECT_EQ(status->details.group, "g");
  EXPECT_EQ(status->details.uid, "u");
  EXPECT_EQ(status->details.retry_after_seconds, 5);
  ASSERT_THAT(status->details.causes, SizeIs(2));
  EXPECT_EQ(status->details.causes[0].field, "spec.x");
  EXPECT_EQ(status->details.causes[1].message, "worse");
  // And back.
  const auto again = status_from_json(to_json_value(*status));
  ASSERT_TRUE(again);
  EXPECT_EQ(to_json_value(*again), to_json_value(*status));
}

TEST(StatusTest, NullsAreAbsent) {
  const auto status = parse_status(std::string_view(
      R"({"kind":"Status","details":null,"metadata":null,"message":null,"code":null,"status":"Success"})"));
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->success());
}

TEST(StatusTest, WhatIsNoStatusIsNotTakenForOne) {
  for (const std::string_view text :
       {std::string_view(""), std::string_view("null"), std::string_view("[]"),
        std::string_view("<html>"), std::string_view(R"({"kind":"Pod"})"),
        std::string_view(R"({"kind":"Status","apiVersion":"v2"})"),
        std::string_view(R"({"kind":"Status","code":"404"})"),
        std::string_view(R"({"kind":"Status","message":5})"),
        std::string_view(R"({"kind":"Status","details":[]})"),
        std::string_view(R"({"kind":"Status","details":{"causes":{}}})"),
        std::string_view(R"({"kind":"Status","details":{"causes":[1]}})"),
        std::string_view(R"({"kind":"Status")")}) {
    EXPECT_FALSE(parse_status(text)) << text;
  }
  const std::string deep(100'000, '[');
  EXPECT_FALSE(parse_status(deep));
  const std::string nested =
      R"({"kind":"Status","x":)" + std::string(1000, '[') + std::string(1000, ']') + "}";
  EXPECT_FALSE(parse_status(nested));
  const std::string huge =
      R"({"kind":"Status","message":")" + std::string(max_status_size, 'a') + R"("})";
  EXPECT_FALSE(parse_status(huge));
}

TEST(StatusTest, CodesBeyondTheirTypeAreClamped) {
  const auto status = parse_status(std::string_view(
      R"({"kind":"Status","code":18446744073709551615,"details":{"retryAfterSeconds":-9223372036854775808}})"));
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, INT32_MAX);
  EXPECT_EQ(status_error("s", 429, *status).retry_after().count(), 0);
}

std::string bytes_field(int number, std::string_view value) {
  return std::string(1, static_cast<char>(number << 3 | 2)) +
         std::string(1, static_cast<char>(value.size())) + std::string(value);
}

TEST(StatusTest, ProtobufIsReadToo) {
  const std::string cause = bytes_field(1, "R") + bytes_field(2, "M") + bytes_field(3, "F");
  const std::string details = bytes_field(1, "web") + bytes_field(3, "pods") +
                              bytes_field(4, cause) + std::string("\x28\x07", 2);
  const std::string raw = bytes_field(1, "") + bytes_field(2, "Failure") + bytes_field(3, "gone") +
                          bytes_field(4, "NotFound") + bytes_field(5, details) +
                          std::string("\x30\x94\x03", 3);
  const std::string type = bytes_field(1, "v1") + bytes_field(2, "Status");
  const std::string text =
      std::string("k8s\0", 4) + bytes_field(1, type) + bytes_field(2, raw) + bytes_field(3, "");
  const auto status = parse_status(text);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 404);
  EXPECT_EQ(status->details.name, "web");
  EXPECT_EQ(status->details.retry_after_seconds, 7);
  ASSERT_THAT(status->details.causes, SizeIs(1));
  EXPECT_EQ(status->details.causes[0].field, "F");
  // Cut anywhere inside the message, it is none.
  const std::size_t message_end = text.size() - 2;
  for (std::size_t size = 0; size < message_end; ++size) {
    EXPECT_FALSE(parse_status(std::string_view(text).substr(0, size))) << size;
  }
}

TEST(StatusErrorTest, CarriesReasonCodeAndWhole) {
  const auto e = status_error::from_answer("GET /x", 404, not_found);
  EXPECT_EQ(e.code(), errc::not_found);
  EXPECT_TRUE(e.from_server());
  EXPECT_EQ(e.http_status(), 404);
  EXPECT_EQ(e.status().details.name, "web");
  EXPECT_EQ(e.details(), json::parse(not_found));
  EXPECT_STREQ(e.what(), "GET /x: pods \"web\" not found");
  EXPECT_TRUE(is_not_found(e));
  EXPECT_FALSE(is_conflict(e));
  EXPECT_FALSE(is_not_found(error(errc::not_found, "s", "m")));
}

TEST(StatusErrorTest, BodiesThatAreNoStatusAreQuoted) {
  const auto page = status_error::from_answer("GET /x", 502, "<html>\r\n  <h1>Bad\tGateway</h1>");
  EXPECT_FALSE(page.from_server());
  EXPECT_EQ(page.code(), errc::unavailable);
  EXPECT_THAT(page.what(), HasSubstr("<html> <h1>Bad Gateway</h1>"));

  const auto plain = status_error::from_answer("GET /x", 404, "404 page not found\n");
  EXPECT_TRUE(is_not_found(plain));
  EXPECT_EQ(plain.reason(), "NotFound");

  const auto empty = status_error::from_answer("GET /x", 403, "");
  EXPECT_TRUE(is_forbidden(empty));
  EXPECT_THAT(empty.what(), HasSubstr("403 Forbidden with no body"));

  const auto huge = status_error::from_answer("GET /x", 500, std::string(10 << 20, '\xff'));
  EXPECT_LT(std::string_view(huge.what()).size(), 500U);

  const auto of_json = status_error::from_json("watch", 0, json{{"kind", "Pod"}});
  EXPECT_FALSE(of_json.from_server());
  EXPECT_THAT(of_json.what(), HasSubstr("Pod"));
}

TEST(StatusErrorTest, ReasonDecidesBeforeTheStatus) {
  const auto conflict = [](std::string reason) {
    api_status status;
    status.reason = std::move(reason);
    status.code = 409;
    return status_error("s", 409, status);
  };
  EXPECT_TRUE(is_conflict(conflict("Conflict")));
  EXPECT_TRUE(is_already_exists(conflict("AlreadyExists")));
  EXPECT_FALSE(is_conflict(conflict("AlreadyExists")));
  EXPECT_FALSE(is_already_exists(conflict("Conflict")));
  EXPECT_TRUE(is_conflict(conflict("SomethingNew")));
  EXPECT_EQ(conflict("AlreadyExists").code(), errc::already_exists);
  EXPECT_EQ(conflict("SomethingNew").code(), errc::aborted);
  EXPECT_EQ(errc_of("", 418), errc::invalid_argument);
  EXPECT_EQ(errc_of("", 0), errc::unknown);
}

TEST(StatusErrorTest, RetryAfterIsTheLongerAdvice) {
  using namespace std::chrono_literals;
  api_status status;
  status.reason = "TooManyRequests";
  status.details.retry_after_seconds = 3;
  EXPECT_EQ(status_error("s", 429, status).retry_after(), 3s);
  EXPECT_EQ(status_error("s", 429, status, 9s).retry_after(), 9s);
  EXPECT_EQ(status_error("s", 429, {}).retry_after(), 0s);
}

TEST(StatusErrorTest, ApplyConflictsNameManagerAndField) {
  api_status status;
  status.reason = "Conflict";
  status.details.causes = {{"FieldManagerConflict", "conflict with \"a\"", ".spec.replicas"},
                           {"Other", "", ""}};
  const status_error e("s", 409, status);
  ASSERT_THAT(e.conflicts(), SizeIs(1));
  EXPECT_EQ(e.conflicts()[0].field, ".spec.replicas");
  EXPECT_TRUE(has_cause(e, "Other"));
  EXPECT_FALSE(has_cause(e, "Another"));
}

}  // namespace
}  // namespace mizzen::kubernetes
