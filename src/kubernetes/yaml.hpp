// YAML as Kubernetes reads it: into JSON, with bounds.
#pragma once

#include <mizzen/core/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::detail {

struct yaml_limits {
  std::size_t max_bytes;
  std::size_t max_depth;
  // Values, after aliases are written out; the text in these is bounded by max_bytes.
  std::size_t max_values;
};

// The first document of the text as JSON. Plain scalars get the types of YAML 1.1 as Go's readers
// do it (`yes` is true, 0x10 is 16, a date is text); keys are text; `<<` merges; of a key that is
// there twice the last value stays and a warning is left. Nothing at all is null. Throws
// error(invalid_argument) with line and column in the subject, and resource_exhausted for what is
// beyond the limits.
json yaml_to_json(std::string_view text, std::string_view origin, const yaml_limits& limits,
                  std::vector<std::string>& warnings);

// All documents of the text, which share the limits.
std::vector<json> yaml_documents(std::string_view text, std::string_view origin,
                                 const yaml_limits& limits, std::vector<std::string>& warnings);

}  // namespace mizzen::kubernetes::detail
