// The page tokens of MLflow: base64 of {"offset": N} (SearchUtils.create_page_token).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

std::string make_page_token(std::int64_t offset);

// Where the page starts: 0 for an empty token. Throws error(invalid_argument), "page_token".
std::int64_t read_page_token(std::string_view token);

}  // namespace mizzen::tracking::detail
