#include "core/base64.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace mizzen::detail {
namespace {

// In the URL's alphabet, without padding.
std::string as_url(std::string text) {
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

TEST(Base64, GoesThereAndBack) {
  for (std::size_t size = 0; size < 20; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + size);
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
    EXPECT_EQ(base64url_decode(as_url(base64_encode(bytes))), bytes);
  }
}

// RFC 4648, section 10.
TEST(Base64, TheExamplesOfTheRfc) {
  std::string text;
  for (const char* expected : {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"}) {
    EXPECT_EQ(base64_encode(text), expected);
    EXPECT_EQ(base64_decode(expected), text);
    text += "foobar"[text.size() % 6];
  }
  EXPECT_EQ(base64_encode("\xfb\xff\xbf"), "+/+/");
  EXPECT_EQ(base64url_decode("-_-_"), "\xfb\xff\xbf");
}

TEST(Base64, RefusesWhatIsNone) {
  EXPECT_EQ(base64_decode("YW\r\nI=\n"), "ab") << "lines may be broken";
  for (const char* wrong :
       {"Y", "YQ", "YQ=", "YQ===", "Y=Q=", "YWJ!", "YQ==YQ==", "====", "Y Q=", "-_-_"}) {
    EXPECT_FALSE(base64_decode(wrong)) << wrong;
  }
  for (const char* wrong : {"Y", "YWJ!", "+/+/", "Y\nQ"}) {
    EXPECT_FALSE(base64url_decode(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace mizzen::detail
