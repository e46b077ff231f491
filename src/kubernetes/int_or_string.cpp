#include <mizzen/kubernetes/int_or_string.hpp>

#include <charconv>

namespace mizzen::kubernetes {

std::int64_t int_or_string::scaled(std::int64_t total, bool round_up) const {
  if (!is_string()) return number();
  const std::string& written = text();
  std::int32_t percent = 0;
  const char* const end = written.data() + written.size();
  const auto [stop, problem] = std::from_chars(written.data(), end, percent);
  if (problem != std::errc{} || stop + 1 != end || *stop != '%') {
    throw error(errc::invalid_argument, written,
                "expected a number or a percentage such as \"25%\"");
  }
  std::int64_t product = 0;
  if (__builtin_mul_overflow(total, std::int64_t{percent}, &product)) {
    throw error(errc::out_of_range, written,
                "the percentage of " + std::to_string(total) + " overflows");
  }
  const std::int64_t whole = product / 100;
  const std::int64_t rest = product % 100;
  if (round_up) return whole + (rest > 0 ? 1 : 0);
  return whole - (rest < 0 ? 1 : 0);
}

}  // namespace mizzen::kubernetes
