#include "inference/dynamic/regex.hpp"

#include "caught.hpp"

#include <gtest/gtest.h>

#include <string>

namespace mizzen::inference::detail {
namespace {

using mizzen::test::caught;

bool matches(std::string_view pattern, std::string_view text) {
  return regex(pattern).matches(text);
}

TEST(regex, matches_the_whole_text) {
  EXPECT_TRUE(matches("", ""));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_TRUE(matches("abc", "abc"));
  EXPECT_FALSE(matches("abc", "abcd"));
  EXPECT_FALSE(matches("abc", "ab"));
  EXPECT_TRUE(matches("a|bc|", "bc"));
  EXPECT_TRUE(matches("a|bc|", ""));
  EXPECT_FALSE(matches("a|bc|", "ac"));
  EXPECT_TRUE(matches("^abc$", "abc"));
  EXPECT_FALSE(matches("a^b", "ab"));
}

TEST(regex, repeats) {
  EXPECT_TRUE(matches("a*", ""));
  EXPECT_TRUE(matches("a*?b+", "aabb"));
  EXPECT_FALSE(matches("a+", ""));
  EXPECT_TRUE(matches("(ab)?c", "c"));
  EXPECT_TRUE(matches("(ab){2,3}", "ababab"));
  EXPECT_FALSE(matches("(ab){2,3}", "ab"));
  EXPECT_FALSE(matches("(ab){2,3}", "abababab"));
  EXPECT_TRUE(matches("a{2,}", "aaaa"));
  EXPECT_FALSE(matches("a{2,}", "a"));
  EXPECT_TRUE(matches("a{3}", "aaa"));
  EXPECT_TRUE(matches("a{,3}", "a{,3}"));
  EXPECT_TRUE(matches("(a*)*", "aaa"));
  EXPECT_TRUE(matches("(|a)+b", "aab"));
}

TEST(regex, knows_classes_and_escapes) {
  EXPECT_TRUE(matches("[a-c][^a-c]", "bd"));
  EXPECT_FALSE(matches("[a-c][^a-c]", "bb"));
  EXPECT_TRUE(matches("[]a-]+", "]-a"));
  EXPECT_TRUE(matches(R"(\d+\.\d\s\w\W)", "12.3 _%"));
  EXPECT_TRUE(matches(R"([\w.-]+)", "a.b-c"));
  EXPECT_TRUE(matches(R"([\D]+)", "abc"));
  EXPECT_FALSE(matches(R"([\D]+)", "ab1"));
  EXPECT_TRUE(matches("[[:alpha:][:digit:]]+", "a1"));
  EXPECT_TRUE(matches(R"(\x41\x{42}\t)", "AB\t"));
  EXPECT_FALSE(matches(".", "\n"));
  EXPECT_TRUE(matches("(?s).", "\n"));
  EXPECT_TRUE(matches("(?i)hello[a-z]", "HeLLOx"));
  EXPECT_TRUE(matches(R"(www\.[\w.-]+\.\bcom\b)", "www.google.com"));
  EXPECT_FALSE(matches(R"(www\.[\w.-]+\.\bcom\b)", "www.bbc.co.uk"));
  EXPECT_FALSE(matches(R"(a\Bb\b.)", "a b"));
}

TEST(regex, reads_utf_8) {
  EXPECT_TRUE(matches("gr..er", "gr\u00f6\u00dfer"));
  EXPECT_TRUE(matches("[\u00e0-\u00ff]+", "\u00f6\u00e9"));
  EXPECT_TRUE(matches("a.b",
                      "a\xff"
                      "b"));
  EXPECT_FALSE(matches("a..b",
                       "a\u00f6"
                       "b"));
}

TEST(regex, refuses_what_is_wrong_or_too_much) {
  for (const char* wrong :
       {"(", ")", "a)", "[a", "*", "a|*", "[b-a]", "\\", "a{3,2}", "[[:alpha"}) {
    EXPECT_EQ(caught([&] { regex r(wrong); }).code(), errc::invalid_argument) << wrong;
  }
  for (const char* missing : {"(?=a)", R"(\p{Greek})", R"(a\1)", "a{5000}", "[[:other:]]"}) {
    EXPECT_EQ(caught([&] { regex r(missing); }).code(), errc::unimplemented) << missing;
  }
  EXPECT_EQ(caught([] { regex r("((((a{100}){100}){100}){100})"); }).code(),
            errc::resource_exhausted);
  EXPECT_EQ(caught([] { regex r(std::string(100'000, '(')); }).code(), errc::unimplemented);
}

TEST(regex, takes_no_longer_than_the_product_of_its_parts) {
  // Backtracking would take 2^40 steps.
  EXPECT_FALSE(matches("(a*)*(a*)*(a|aa)+b", std::string(2000, 'a')));
}

}  // namespace
}  // namespace mizzen::inference::detail
