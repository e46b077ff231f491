// Tables of named columns, as run::log_table keeps them.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::tracking {

// One cell: nothing, a truth value, a whole number, a number (NaN and infinities are kept as
// nothing, as pandas does) or UTF-8 text.
class table_cell {
 public:
  table_cell() noexcept = default;
  table_cell(std::nullptr_t) noexcept {}
  table_cell(std::string text) : value_(std::move(text)) {}
  table_cell(std::string_view text) : value_(std::string(text)) {}
  table_cell(const char* text) : value_(std::string(text)) {}
  template <typename T>
    requires std::is_arithmetic_v<T>
  table_cell(T value) noexcept {
    if constexpr (std::same_as<T, bool>) {
      value_ = value;
    } else if constexpr (std::floating_point<T>) {
      value_ = static_cast<double>(value);
    } else if constexpr (std::signed_integral<T>) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<std::uint64_t>(value);
    }
  }

  using value_type =
      std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string>;
  const value_type& value() const noexcept { return value_; }

 private:
  value_type value_;
};

struct table_column {
  std::string name = {};
  std::vector<table_cell> values = {};
};

// Columns of one length, names unique.
using table = std::vector<table_column>;

}  // namespace mizzen::tracking
