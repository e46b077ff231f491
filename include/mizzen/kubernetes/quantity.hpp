// Amounts of a resource: "500m", "2Gi", "1e3".
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace mizzen::kubernetes {

namespace detail {
struct quantity_access;
}

// resource.Quantity: an exact decimal number with a suffix of powers of ten (n u m k M G T P E, or
// an exponent) or of 1024 (Ki Mi Gi Ti Pi Ei).
//
// Keeps the text it was made from, so that an object goes back to the server as it came. Values are
// exact to 1e-9, finer ones round up (away from zero), and beyond ±(2^63 - 1) they stop there, both
// as the server does. Comparison is by value: "1Gi" == "1024Mi".
class quantity {
 public:
  // Zero.
  quantity() noexcept = default;
  // Reads a quantity. Throws error(invalid_argument) that quotes the text.
  quantity(std::string text);  // NOLINT: `.limits = {{"cpu", "500m"}}`
  quantity(const char* text);  // NOLINT: `.limits = {{"cpu", "500m"}}`
  explicit quantity(std::string_view text);

  // A whole number in decimal notation; of() 1500 milli is "1500m", canonical "1500m" ("1.5").
  static quantity of(std::int64_t value);
  static quantity of_milli(std::int64_t thousandths);
  // A number of bytes in binary notation: 1073741824 is "1Gi".
  static quantity of_bytes(std::int64_t value);

  // The text it was made from; of a result of arithmetic, the canonical one.
  const std::string& to_string() const noexcept { return text_; }
  // The server's canonical form: no fraction, the greatest suffix that allows that, the notation
  // of the text it was made from. "1500m" for "1.5", "1Gi" for "1024Mi".
  std::string canonical() const;

  // The value rounded up (away from zero) to a whole number; it stops at the bounds of the type.
  std::int64_t value() const;
  // The value in thousandths, rounded up; it stops at the bounds of the type.
  std::int64_t milli_value() const;
  // The nearest double.
  double as_double() const;
  bool is_zero() const;
  // -1, 0 or 1.
  int sign() const;

  quantity& operator+=(const quantity& other);
  quantity& operator-=(const quantity& other);
  friend quantity operator+(quantity a, const quantity& b) { return a += b; }
  friend quantity operator-(quantity a, const quantity& b) { return a -= b; }

  // By value. Never throws: quantities beyond 1.7e29, the end of what is calculated with here, are
  // equal if their texts are.
  friend bool operator==(const quantity& a, const quantity& b) noexcept;
  // By value. Throws error(out_of_range) beyond 1.7e29, as do the arithmetic and value().
  friend std::strong_ordering operator<=>(const quantity& a, const quantity& b);

 private:
  friend struct detail::quantity_access;

  std::string text_ = "0";
};

}  // namespace mizzen::kubernetes
