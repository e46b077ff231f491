#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/quantity.hpp>

#include <kubernetes/codec/values.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace mizzen::kubernetes {
namespace {

// Values are whole numbers of 1e-9. 128 bits hold ±1.7e29 of the unit, far beyond the 2^63 that the
// server's arithmetic is made for.
__extension__ using wide = __int128;

enum class notation : std::uint8_t { decimal, exponent, binary };

// Text in its parts: the number is digits * 10^-fraction * base^power.
struct parts {
  bool negative = false;
  std::string_view whole;
  std::string_view fraction;
  notation form = notation::decimal;
  int power = 0;  // of 10, or of 2
};

constexpr std::array<std::pair<std::string_view, int>, 9> decimal_suffixes{
    {{"n", -9}, {"u", -6}, {"m", -3}, {"", 0}, {"k", 3}, {"M", 6}, {"G", 9}, {"T", 12}, {"P", 15}}};
constexpr std::array<std::pair<std::string_view, int>, 6> binary_suffixes{
    {{"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}, {"Ei", 60}}};

std::optional<parts> split(std::string_view text) noexcept {
  parts result;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    result.negative = text.front() == '-';
    text.remove_prefix(1);
  }
  const auto digits = [&text] {
    const auto size = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::string_view taken = text.substr(0, size);
    text.remove_prefix(size);
    return taken;
  };
  result.whole = digits();
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    result.fraction = digits();
  }
  if (result.whole.empty() && result.fraction.empty()) return std::nullopt;
  if (text == "E") {
    result.power = 18;
    return result;
  }
  for (const auto& [suffix, power] : decimal_suffixes) {
    if (text != suffix) continue;
    result.power = power;
    return result;
  }
  for (const auto& [suffix, power] : binary_suffixes) {
    if (text != suffix) continue;
    result.form = notation::binary;
    result.power = power;
    return result;
  }
  if (text.front() != 'e' && text.front() != 'E') return std::nullopt;
  text.remove_prefix(1);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  result.form = notation::exponent;
  const auto [stop, problem] =
      std::from_chars(text.data(), text.data() + text.size(), result.power);
  if (problem != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return result;
}

struct amount {
  wide nanos = 0;
  notation form = notation::decimal;
};

[[noreturn]] void too_large(std::string_view text) {
  throw error(errc::out_of_range, text.substr(0, 60), "the quantity is beyond 1.7e29");
}

wide times(wide a, wide b, std::string_view text) {
  wide result = 0;
  if (__builtin_mul_overflow(a, b, &result)) too_large(text);
  return result;
}

constexpr wide per_unit = 1'000'000'000;

// The magnitude of the text in nanos, rounded up.
amount read(std::string_view text) {
  const auto found = split(text);
  if (!found) {
    throw error(errc::invalid_argument, text.substr(0, 60),
                "not a quantity: expected a number with a suffix such as m, k, Gi");
  }
  // Digits of value, and the power of ten of the last one of them.
  std::string digits(found->whole);
  digits += found->fraction;
  int power = -static_cast<int>(std::min<std::size_t>(found->fraction.size(), 1'000'000)) + 9;
  wide factor = 1;
  if (found->form == notation::binary) {
    factor = wide{1} << found->power;
  } else {
    power += std::clamp(found->power, -1'000'000, 1'000'000);
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  amount result{0, found->form};
  if (digits.empty()) return result;
  while (!digits.empty() && digits.back() == '0') {
    digits.pop_back();
    ++power;
  }
  // More digits than the type holds: those far below a nano only matter for the rounding.
  bool inexact = false;
  while (digits.size() > 36 && power < -20) {
    inexact = true;
    digits.pop_back();
    ++power;
  }
  if (digits.size() > 38) too_large(text);
  for (const char c : digits) result.nanos = result.nanos * 10 + (c - '0');
  wide divisor = 1;
  for (; power > 0; --power) result.nanos = times(result.nanos, 10, text);
  for (; power < 0 && divisor < per_unit * per_unit * per_unit * per_unit; ++power) divisor *= 10;
  if (power < 0) {  // nothing is left of it but that it is not zero
    result.nanos = 1;
    inexact = false;
    divisor = 1;
    factor = 1;
  }
  // Multiplied first where that fits, so that 0.5Ki is exact.
  wide scaled = 0;
  if (__builtin_mul_overflow(result.nanos, factor, &scaled)) {
    const wide whole = times(result.nanos / divisor, factor, text);
    const wide rest = result.nanos % divisor;  // < divisor: the product loses only what rounds up
    scaled = 0;
    if (__builtin_mul_overflow(rest, factor, &scaled)) scaled = rest / divisor * factor;
    result.nanos = whole + scaled / divisor + (scaled % divisor != 0 || inexact ? 1 : 0);
  } else {
    result.nanos = scaled / divisor + (scaled % divisor != 0 || inexact ? 1 : 0);
  }
  constexpr wide most = wide{std::numeric_limits<std::int64_t>::max()} * per_unit;
  if (result.form == notation::binary) {
    result.nanos = std::min(result.nanos, most);
    if (result.nanos < per_unit) result.form = notation::decimal;
  }
  if (found->negative) result.nanos = -result.nanos;
  return result;
}

std::string digits_of(wide value) {
  const bool negative = value < 0;
  std::string text;
  do {
    const int digit = static_cast<int>(value % 10);
    text += static_cast<char>('0' + (digit < 0 ? -digit : digit));
    value /= 10;
  } while (value != 0);
  if (negative) text += '-';
  std::reverse(text.begin(), text.end());
  return text;
}

std::string canonical_text(const amount& value) {
  if (value.nanos == 0) return "0";
  const bool whole = value.nanos % per_unit == 0;
  const wide units = value.nanos / per_unit;
  // Below 1024, and where rounding would be needed, the binary notation gives way.
  if (value.form == notation::binary && whole && (units <= -1024 || units >= 1024)) {
    wide mantissa = units;
    std::size_t suffix = 0;
    while (suffix < binary_suffixes.size() && mantissa % 1024 == 0) {
      mantissa /= 1024;
      ++suffix;
    }
    std::string text = digits_of(mantissa);
    if (suffix > 0) text += binary_suffixes[suffix - 1].first;
    return text;
  }
  wide mantissa = value.nanos;
  int power = -9;
  const int most = value.form == notation::exponent ? 27 : 18;
  while (power < most && mantissa % 1000 == 0) {
    mantissa /= 1000;
    power += 3;
  }
  std::string text = digits_of(mantissa);
  if (value.form == notation::exponent) {
    if (power != 0) text += 'e' + std::to_string(power);
  } else if (power == 18) {
    text += 'E';
  } else {
    text += decimal_suffixes[static_cast<std::size_t>((power + 9) / 3)].first;
  }
  return text;
}

// nanos / unit, away from zero, within the bounds of the type.
std::int64_t rounded(wide nanos, wide unit) {
  wide result = nanos / unit;
  if (nanos % unit != 0) result += nanos < 0 ? -1 : 1;
  using limits = std::numeric_limits<std::int64_t>;
  return static_cast<std::int64_t>(std::clamp<wide>(result, limits::min(), limits::max()));
}

}  // namespace

namespace detail {

bool is_quantity(std::string_view text) noexcept { return split(text).has_value(); }

}  // namespace detail

quantity::quantity(std::string text) : text_(std::move(text)) {
  if (!detail::is_quantity(text_)) {
    throw error(errc::invalid_argument, std::string_view(text_).substr(0, 60),
                "not a quantity: expected a number with a suffix such as m, k, Gi");
  }
}
quantity::quantity(const char* text) : quantity(std::string(text)) {}
quantity::quantity(std::string_view text) : quantity(std::string(text)) {}

quantity quantity::of(std::int64_t value) {
  return quantity(canonical_text({wide{value} * per_unit, notation::decimal}));
}
quantity quantity::of_milli(std::int64_t thousandths) {
  return quantity(canonical_text({wide{thousandths} * (per_unit / 1000), notation::decimal}));
}
quantity quantity::of_bytes(std::int64_t value) {
  return quantity(canonical_text({wide{value} * per_unit, notation::binary}));
}

std::string quantity::canonical() const { return canonical_text(read(text_)); }
std::int64_t quantity::value() const { return rounded(read(text_).nanos, per_unit); }
std::int64_t quantity::milli_value() const { return rounded(read(text_).nanos, per_unit / 1000); }
double quantity::as_double() const { return static_cast<double>(read(text_).nanos) / 1e9; }
bool quantity::is_zero() const { return sign() == 0; }
int quantity::sign() const {
  const wide nanos = read(text_).nanos;
  return nanos < 0 ? -1 : nanos > 0 ? 1 : 0;
}

quantity& quantity::operator+=(const quantity& other) {
  amount sum = read(text_);
  const amount added = read(other.text_);
  // As the server does: a zero takes over the notation of what is added to it.
  if (sum.nanos == 0) sum.form = added.form;
  if (__builtin_add_overflow(sum.nanos, added.nanos, &sum.nanos)) too_large(text_);
  text_ = canonical_text(sum);
  return *this;
}

quantity& quantity::operator-=(const quantity& other) {
  amount difference = read(text_);
  const amount taken = read(other.text_);
  if (difference.nanos == 0) difference.form = taken.form;
  if (__builtin_sub_overflow(difference.nanos, taken.nanos, &difference.nanos)) too_large(text_);
  text_ = canonical_text(difference);
  return *this;
}

bool operator==(const quantity& a, const quantity& b) noexcept {
  if (a.text_ == b.text_) return true;
  try {
    return read(a.text_).nanos == read(b.text_).nanos;
  } catch (const error&) {
    return false;
  }
}

std::strong_ordering operator<=>(const quantity& a, const quantity& b) {
  const wide left = read(a.text_).nanos;
  const wide right = read(b.text_).nanos;
  return left < right   ? std::strong_ordering::less
         : left > right ? std::strong_ordering::greater
                        : std::strong_ordering::equal;
}

}  // namespace mizzen::kubernetes
