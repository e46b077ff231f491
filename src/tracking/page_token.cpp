#include "tracking/page_token.hpp"

#include "core/base64.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>

namespace mizzen::tracking::detail {

std::string make_page_token(std::int64_t offset) {
  return mizzen::detail::base64_encode("{\"offset\": " + std::to_string(offset) + "}");
}

std::int64_t read_page_token(std::string_view token) {
  if (token.empty()) return 0;
  if (token.size() < 1000) {
    if (const auto text = mizzen::detail::base64_decode(token)) {
      const json value = json::parse(*text, nullptr, false);
      if (value.is_object() && value.contains("offset") && value["offset"].is_number_unsigned()) {
        const auto offset = value["offset"].get<std::uint64_t>();
        if (offset > 0 && offset <= 1'000'000'000'000U) return static_cast<std::int64_t>(offset);
      }
    }
  }
  throw error(errc::invalid_argument, "page_token",
              "it is none that a search gave; take page::next_page_token as it is, or leave it "
              "empty for the first page");
}

}  // namespace mizzen::tracking::detail
