// The lists of MLflow's filters, which it reads as Python's own notation: ('a', "b", 'it\'s').
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// The texts of a tuple of texts, or of one text in parentheses. Nothing where Python would refuse
// it, where it holds something else, or more than `most`. Escapes by name (\N{…}), text in triple
// quotes and comments are refused too.
std::optional<std::vector<std::string>> read_python_list(std::string_view text, std::size_t most);

}  // namespace mizzen::tracking::detail
