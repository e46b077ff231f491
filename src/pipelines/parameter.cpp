#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/parameter.hpp>

namespace mizzen::pipelines {

std::string_view to_string(parameter_kind kind) noexcept {
  switch (kind) {
    case parameter_kind::string:
      return "STRING";
    case parameter_kind::integer:
      return "NUMBER_INTEGER";
    case parameter_kind::number:
      return "NUMBER_DOUBLE";
    case parameter_kind::boolean:
      return "BOOLEAN";
    case parameter_kind::list:
      return "LIST";
    case parameter_kind::structure:
      return "STRUCT";
  }
  return "STRUCT";
}

namespace detail {

void wrong_parameter_type(std::string_view subject, std::string_view expected, const json& found) {
  constexpr std::size_t shown = 60;
  std::string text = found.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > shown) text = text.substr(0, shown) + "…";
  throw error(errc::invalid_argument, subject,
              "expected " + std::string(expected) + ", got " + text);
}

void not_finite(std::string_view subject) {
  throw error(errc::out_of_range, subject,
              "the number is not finite, and JSON has no NaN and no infinity");
}

void unknown_member(std::string_view subject, std::string_view member) {
  throw error(errc::invalid_argument, std::string(subject) + "." + std::string(member),
              "the struct has no such member");
}

}  // namespace detail
}  // namespace mizzen::pipelines
