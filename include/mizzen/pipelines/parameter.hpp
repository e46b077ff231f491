// Which C++ types travel as parameters, and how they are written as JSON.
#pragma once

#include <mizzen/core/checked.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/pipelines/artifact.hpp>

#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mizzen::pipelines {

// The kinds of parameters (api/v2alpha1/pipeline_spec.proto, ParameterType.ParameterTypeEnum).
enum class parameter_kind { string, integer, number, boolean, list, structure };

// "STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT", as KFP writes them.
std::string_view to_string(parameter_kind kind) noexcept;

namespace detail {

// A struct made known with BOOST_DESCRIBE_STRUCT.
template <class T>
concept described = std::is_class_v<T> && boost::describe::has_describe_members<T>::value;

template <class T>
using members_of = boost::describe::describe_members<T, boost::describe::mod_public |
                                                            boost::describe::mod_inherited>;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <class T>
inline constexpr bool is_map = false;
template <class T>
inline constexpr bool is_map<std::map<std::string, T>> = true;

template <class T>
concept json_convertible =
    requires(json& j, const json& c, const T& from, T& to) { to_json(j, from), from_json(c, to); };

template <class T>
struct is_parameter
    : std::bool_constant<std::is_arithmetic_v<T> || std::same_as<T, std::string> ||
                         std::same_as<T, json> || described<T> || json_convertible<T>> {};
template <class T>
struct is_parameter<std::optional<T>> : is_parameter<T> {};
template <class T>
struct is_parameter<std::vector<T>> : is_parameter<T> {};
template <class T>
struct is_parameter<std::map<std::string, T>> : is_parameter<T> {};

[[noreturn]] void wrong_parameter_type(std::string_view subject, std::string_view expected,
                                       const json& found);
[[noreturn]] void not_finite(std::string_view subject);
[[noreturn]] void unknown_member(std::string_view subject, std::string_view member);

}  // namespace detail

// A type that travels as a parameter: bool, integers, floating point, std::string, mizzen::json,
// structs known to Boost.Describe, types with to_json/from_json found by ADL, and std::vector,
// std::optional and std::map<std::string, …> of those.
template <class T>
concept parameter_type = !artifact_type<T> && std::is_object_v<T> && !std::is_const_v<T> &&
                         std::default_initializable<T> && detail::is_parameter<T>::value;

template <parameter_type T>
constexpr parameter_kind kind_of() noexcept {
  if constexpr (std::same_as<T, bool>) {
    return parameter_kind::boolean;
  } else if constexpr (std::integral<T>) {
    return parameter_kind::integer;
  } else if constexpr (std::floating_point<T>) {
    return parameter_kind::number;
  } else if constexpr (std::same_as<T, std::string>) {
    return parameter_kind::string;
  } else if constexpr (detail::is_optional<T>) {
    return kind_of<typename T::value_type>();
  } else if constexpr (detail::is_vector<T>) {
    return parameter_kind::list;
  } else {
    return parameter_kind::structure;
  }
}

// The value as JSON. subject names the field in errors. Throws error(out_of_range) for a number
// that is not finite, which neither JSON nor google.protobuf.Value can hold.
template <parameter_type T>
json to_value(const T& value, std::string_view subject) {
  if constexpr (std::floating_point<T>) {
    if (!std::isfinite(value)) detail::not_finite(subject);
    return json(static_cast<double>(value));
  } else if constexpr (detail::is_optional<T>) {
    return value ? to_value(*value, subject) : json();
  } else if constexpr (detail::is_vector<T>) {
    json list = json::array();
    for (std::size_t i = 0; i < value.size(); ++i) {
      using element = typename T::value_type;
      const element& item = value[i];  // binds a temporary for vector<bool>
      list.push_back(to_value<element>(item, std::string(subject) + "[" + std::to_string(i) + "]"));
    }
    return list;
  } else if constexpr (detail::is_map<T>) {
    json object = json::object();
    for (const auto& [key, item] : value) {
      object[key] = to_value(item, std::string(subject) + "." + key);
    }
    return object;
  } else if constexpr (detail::described<T>) {
    json object = json::object();
    boost::mp11::mp_for_each<detail::members_of<T>>([&](auto member) {
      object[member.name] =
          to_value(value.*member.pointer, std::string(subject) + "." + member.name);
    });
    return object;
  } else {
    return json(value);
  }
}

// The JSON value as T; the inverse of to_value. Strict: throws error(invalid_argument) naming the
// field for a value of another type or a struct member that does not exist, error(out_of_range) for
// a number that T cannot hold. A missing member of a struct keeps its default.
template <parameter_type T>
T from_value(const json& value, std::string_view subject) {
  if constexpr (std::same_as<T, json>) {
    return value;
  } else if constexpr (std::same_as<T, bool>) {
    if (!value.is_boolean()) detail::wrong_parameter_type(subject, "a boolean", value);
    return value.get<bool>();
  } else if constexpr (std::integral<T>) {
    if (value.is_number_unsigned()) return narrow<T>(value.get<std::uint64_t>(), subject);
    if (value.is_number_integer()) return narrow<T>(value.get<std::int64_t>(), subject);
    detail::wrong_parameter_type(subject, "an integer", value);
  } else if constexpr (std::floating_point<T>) {
    if (!value.is_number()) detail::wrong_parameter_type(subject, "a number", value);
    const auto wide = value.get<double>();
    if (!std::isfinite(wide)) detail::not_finite(subject);
    if (std::abs(wide) > static_cast<double>(std::numeric_limits<T>::max())) {
      throw error(errc::out_of_range, subject, "the number does not fit its floating-point type");
    }
    return static_cast<T>(wide);
  } else if constexpr (std::same_as<T, std::string>) {
    if (!value.is_string()) detail::wrong_parameter_type(subject, "a string", value);
    return value.get<std::string>();
  } else if constexpr (detail::is_optional<T>) {
    if (value.is_null()) return std::nullopt;
    return from_value<typename T::value_type>(value, subject);
  } else if constexpr (detail::is_vector<T>) {
    if (!value.is_array()) detail::wrong_parameter_type(subject, "a list", value);
    T list;
    list.reserve(value.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
      list.push_back(from_value<typename T::value_type>(
          value[i], std::string(subject) + "[" + std::to_string(i) + "]"));
    }
    return list;
  } else if constexpr (detail::is_map<T>) {
    if (!value.is_object()) detail::wrong_parameter_type(subject, "an object", value);
    T map;
    for (const auto& [key, item] : value.items()) {
      map.emplace(key, from_value<typename T::mapped_type>(item, std::string(subject) + "." + key));
    }
    return map;
  } else if constexpr (detail::described<T>) {
    if (!value.is_object()) detail::wrong_parameter_type(subject, "an object", value);
    T object{};
    std::size_t known = 0;
    boost::mp11::mp_for_each<detail::members_of<T>>([&](auto member) {
      const auto found = value.find(member.name);
      if (found == value.end()) return;
      ++known;
      using type = std::remove_cvref_t<decltype(object.*member.pointer)>;
      object.*member.pointer = from_value<type>(*found, std::string(subject) + "." + member.name);
    });
    if (known == value.size()) return object;
    for (const auto& [key, item] : value.items()) {
      bool found = false;
      boost::mp11::mp_for_each<detail::members_of<T>>(
          [&](auto member) { found = found || key == member.name; });
      if (!found) detail::unknown_member(subject, key);
    }
    return object;
  } else {
    try {
      return value.get<T>();
    } catch (const json::exception&) {
      throw error(errc::invalid_argument, subject, "the JSON value does not fit its type",
                  std::current_exception());
    }
  }
}

}  // namespace mizzen::pipelines
