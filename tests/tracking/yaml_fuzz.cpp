// Any bytes, as a meta.yaml of MLflow's file store.
#include "tracking/yaml_reader.hpp"

#include <mizzen/core/error.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace t = mizzen::tracking::detail;

namespace {

// Bytes of all keys and scalars in it.
std::size_t weight(const mizzen::json& value, std::size_t depth = 0) {
  if (depth > 20) std::abort();
  if (value.is_string()) return value.get_ref<const std::string&>().size();
  std::size_t sum = 0;
  if (value.is_object()) {
    for (const auto& [key, one] : value.items()) sum += key.size() + weight(one, depth + 1);
  }
  if (value.is_array()) {
    for (const auto& one : value) sum += weight(one, depth + 1);
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const mizzen::json map = t::read_yaml(input);
    // The most that an escape can grow by is from two bytes to three.
    if (!map.is_object() || weight(map) > 2 * size) std::abort();
    for (const auto& [key, value] : map.items()) {
      try {
        t::yaml_text(map, key.c_str());
        t::yaml_integer(map, key.c_str());
        t::yaml_map(map, key.c_str());
      } catch (const mizzen::error& e) {
        if (e.code() != mizzen::errc::data_loss) std::abort();
      }
    }
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::data_loss) std::abort();
  }
  return 0;
}
