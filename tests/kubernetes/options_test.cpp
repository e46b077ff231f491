#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/options.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::kubernetes {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

TEST(SelectorTest, TermsAreJoined) {
  EXPECT_EQ(selector{}
                .equals("app", "web")
                .not_equals("example.com/tier", "a_b.c")
                .in("x", {"a", "b"})
                .not_in("y", {""})
                .exists("gpu")
                .not_exists("old")
                .text(),
            "app=web,example.com/tier!=a_b.c,x in (a,b),y notin (),gpu,!old");
  EXPECT_EQ(selector{}.text(), "");
}

TEST(SelectorTest, WhatWouldChangeTheMeaningIsRefused) {
  for (const char* key : {"", "a b", "a,b", "a=b", "-a", "a/b/c", "UPPER.example/a", "/a", "a/"}) {
    EXPECT_THROW(selector{}.exists(key), error) << key;
  }
  EXPECT_THROW(selector{}.exists(std::string(64, 'a')), error);
  for (const char* value : {"a b", "a,b", "a=b", "(a)", "-a", "a-", "ä"}) {
    EXPECT_THROW(selector{}.equals("k", value), error) << value;
  }
  EXPECT_THROW(selector{}.in("k", {}), error);
  EXPECT_THROW(selector{}.equals("k", std::string(64, 'a')), error);
}

TEST(FieldSelectorTest, ValuesAreEscaped) {
  EXPECT_EQ(field_selector{}.equals("metadata.name", "a,b=c\\d").not_equals("x", "").text(),
            "metadata.name=a\\,b\\=c\\\\d,x!=");
  EXPECT_THROW(field_selector{}.equals("", "a"), error);
  EXPECT_THROW(field_selector{}.equals("a=b", "a"), error);
}

TEST(PatchTest, TypesHaveTheirContentType) {
  EXPECT_EQ(patch::json(json::array()).content_type(), "application/json-patch+json");
  EXPECT_EQ(patch::merge({{"a", 1}}).content_type(), "application/merge-patch+json");
  EXPECT_EQ(patch::strategic({}).content_type(), "application/strategic-merge-patch+json");
  EXPECT_EQ(patch::merge({{"a", 1}}).text(), R"({"a":1})");
}

std::vector<warning> warnings_of(std::initializer_list<std::string> values) {
  http::headers headers;
  for (const std::string& each : values) headers.add("Warning", each);
  return parse_warnings(headers);
}

TEST(WarningTest, TextsOf299AreRead) {
  const auto found =
      warnings_of({R"(299 - "a \"b\" \\ c" "Wed, 21 Oct 2015 07:28:00 GMT", 299 host:80 "d, e")",
                   R"(299 - "f")"});
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].text, R"(a "b" \ c)");
  EXPECT_EQ(found[0].agent, "-");
  EXPECT_EQ(found[1].text, "d, e");
  EXPECT_EQ(found[1].agent, "host:80");
  EXPECT_EQ(found[2].text, "f");
}

TEST(WarningTest, OthersAndDamagedOnesAreSkipped) {
  EXPECT_THAT(warnings_of({R"(110 - "stale")", R"(299 - "")", "299", "299 -", R"(299 - ")",
                           R"(299 - "a\)", R"(299 "x")", ""}),
              SizeIs(0));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += R"(299 - "x",)";
  EXPECT_THAT(warnings_of({many}), SizeIs(100));
}

}  // namespace
}  // namespace mizzen::kubernetes
