// Reads the YAML that MLflow's file stores are made of.
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// A mapping in block style as PyYAML's safe_dump writes it: scalars in plain, single-quoted and
// double-quoted style over any number of lines, mappings in mappings, lists of scalars, {} and [].
// Every scalar is text as it stands there, but for null, ~ and nothing, which are null. At most 16
// levels. Anything else (anchors, tags, flow style, block scalars, a key twice) is error(data_loss)
// naming the line.
json read_yaml(std::string_view text);

// Fields of what it returns. null and absent: "" or nothing; other kinds throw error(data_loss).
std::string yaml_text(const json& map, const char* key);
std::optional<std::int64_t> yaml_integer(const json& map, const char* key);
string_map yaml_map(const json& map, const char* key);

}  // namespace mizzen::tracking::detail
