// JSON values as YAML text.
#pragma once

#include <mizzen/core/json.hpp>

#include <string>

namespace mizzen::tracking::detail {

// A YAML 1.1 document in block style that readers of YAML 1.1 (PyYAML) and 1.2 take for the same
// value: texts that could be read as something else are quoted. Text that is not UTF-8 throws
// error(invalid_argument).
std::string to_yaml(const json& value);

}  // namespace mizzen::tracking::detail
