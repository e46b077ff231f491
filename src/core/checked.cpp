#include <mizzen/core/checked.hpp>

#include <string>

namespace mizzen {

std::size_t checked_element_count(std::span<const std::int64_t> dimensions,
                                  std::string_view subject) {
  std::size_t count = 1;
  bool empty = false;
  for (const std::int64_t dimension : dimensions) {
    if (dimension < 0) {
      throw error(errc::invalid_argument, subject,
                  "dimension " + std::to_string(dimension) + " is negative");
    }
    if (dimension == 0) {
      empty = true;
      continue;
    }
    count = checked_mul(count, narrow<std::size_t>(dimension, subject), subject);
  }
  return empty ? 0 : count;
}

}  // namespace mizzen
