// A port number or name, a count or a percentage.
#pragma once

#include <mizzen/core/error.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace mizzen::kubernetes {

// util.intstr.IntOrString: a JSON number or string. Made from either: `.target_port = 8080`,
// `.max_unavailable = "25%"`. Zero by default.
class int_or_string {
 public:
  int_or_string() noexcept = default;
  int_or_string(std::int32_t number) noexcept : value_(number) {}        // NOLINT: is one of both
  int_or_string(std::string text) noexcept : value_(std::move(text)) {}  // NOLINT: is one of both
  int_or_string(const char* text) : value_(std::string(text)) {}         // NOLINT: is one of both

  bool is_string() const noexcept { return value_.index() == 1; }
  // The number; error(failed_precondition) if it is a string.
  std::int32_t number() const {
    if (is_string()) {
      throw error(errc::failed_precondition, std::get<1>(value_), "it is a string, not a number");
    }
    return std::get<0>(value_);
  }
  // The string; error(failed_precondition) if it is a number.
  const std::string& text() const {
    if (!is_string()) {
      throw error(errc::failed_precondition, to_string(), "it is a number, not a string");
    }
    return std::get<1>(value_);
  }
  // Either as text.
  std::string to_string() const {
    return is_string() ? std::get<1>(value_) : std::to_string(std::get<0>(value_));
  }

  // A number as it is, "25%" of the total, rounded up or down. Throws error(invalid_argument) for
  // any other string.
  std::int64_t scaled(std::int64_t total, bool round_up) const;

  friend bool operator==(const int_or_string&, const int_or_string&) = default;

 private:
  std::variant<std::int32_t, std::string> value_;
};

}  // namespace mizzen::kubernetes
