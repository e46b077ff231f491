#include "serving/json_reader.hpp"

#include <mizzen/core/json.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::serving::detail {
namespace {

bool accepts(std::string_view text, std::size_t depth = 64) {
  try {
    json_reader reader(text, depth);
    reader.skip("field");
    reader.end();
    return true;
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::invalid_argument);
    EXPECT_THAT(e.message(), testing::HasSubstr("of the JSON text")) << text;
    return false;
  }
}

TEST(JsonReader, AcceptsWhatTheReferenceParserDoes) {
  const std::vector<std::string> texts = {"0",
                                          "-0",
                                          "1",
                                          "-1",
                                          "10.5",
                                          "1e5",
                                          "1E+5",
                                          "1e-5",
                                          "01",
                                          "-",
                                          "1.",
                                          ".5",
                                          "1e",
                                          "1e+",
                                          "+1",
                                          "0x1",
                                          "NaN",
                                          "Infinity",
                                          "true",
                                          "false",
                                          "null",
                                          "True",
                                          "nul",
                                          "\"\"",
                                          "\"a\"",
                                          "\"a",
                                          "\"\\n\\\"\\u00e4\\/\"",
                                          "\"\\x\"",
                                          "\"\\u12\"",
                                          "\"\\ud83d\\ude00\"",
                                          "\"\\ud83d\"",
                                          "\"\\ude00\"",
                                          "\"\\ud83dx\"",
                                          "\"\n\"",
                                          "\"\xc3\xa4\"",
                                          "\"\xc3\"",
                                          "\"\xc0\x80\"",
                                          "\"\xed\xa0\x80\"",
                                          "\"\xf4\x90\x80\x80\"",
                                          "\"\xf0\x9f\x98\x80\"",
                                          "[]",
                                          "[1]",
                                          "[1,2]",
                                          "[1,]",
                                          "[,1]",
                                          "[1 2]",
                                          "[",
                                          "]",
                                          "{}",
                                          "{\"a\":1}",
                                          "{\"a\":1,}",
                                          "{\"a\"}",
                                          "{a:1}",
                                          "{\"a\":[{\"b\":null}]}",
                                          "",
                                          " ",
                                          " 1 ",
                                          "1 2",
                                          "[1]]",
                                          "{\"a\":1}x",
                                          "\t\r\n[ 1 , 2 ]\n",
                                          "-01",
                                          "1.5.5",
                                          "--1",
                                          "1-1"};
  for (const std::string& text : texts) {
    EXPECT_EQ(accepts(text), json::accept(text)) << text;
  }
}

TEST(JsonReader, StringsAreUnescaped) {
  json_reader reader(R"("a\n\t\"\\\/\u00e4\ud83d\ude00é")", 4);
  EXPECT_EQ(reader.string("s", 100), "a\n\t\"\\/ä😀é");
  json_reader nul(R"("a\u0000b")", 4);
  EXPECT_EQ(nul.string("s", 100), std::string("a\0b", 3));
}

TEST(JsonReader, LimitsOfDepthAndLength) {
  EXPECT_TRUE(accepts("[[[[]]]]", 4));
  EXPECT_FALSE(accepts("[[[[[]]]]]", 4));
  EXPECT_FALSE(accepts(std::string(1'000'000, '['), 64));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_FALSE(accepts(deep, 64));
  json_reader exact("\"12345\"", 4);
  EXPECT_EQ(exact.string("s", 5), "12345");
  json_reader longer("\"123456\"", 4);
  EXPECT_THROW(longer.string("s", 5), error);
}

TEST(JsonReader, WrittenStringsReadBack) {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "ä😀";
  std::string text;
  append_json_string(text, all);
  EXPECT_EQ(json::parse(text).get<std::string>(), all);
}

}  // namespace
}  // namespace mizzen::serving::detail
