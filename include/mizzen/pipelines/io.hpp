// The members of a step's struct: in<T> and out<T>. While a pipeline is built they carry where a
// value comes from; while a step runs they carry the value.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/pipelines/graph.hpp>
#include <mizzen/pipelines/parameter.hpp>

#include <concepts>
#include <initializer_list>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::pipelines {

namespace detail {

template <class T>
inline constexpr bool is_artifact_list = false;
template <class T>
inline constexpr bool is_artifact_list<std::vector<T>> = artifact_type<T>;

// What in<T> may hold, and what out<T> may hold.
template <class T>
concept input_type = parameter_type<T> || artifact_type<T> || is_artifact_list<T>;
template <class T>
concept output_type = parameter_type<T> || artifact_type<T>;

}  // namespace detail

template <detail::input_type T>
class reference;
template <detail::output_type T>
class out;

namespace detail {

// May an output of type From feed an input of type To? Parameters: the same type. Artifacts: the
// same type, or a base of it, so that in<artifact> takes anything.
template <class From, class To>
inline constexpr bool feeds = std::same_as<From, To> || (artifact_type<From> && artifact_type<To> &&
                                                         std::derived_from<From, To>);
template <class From, class To>
inline constexpr bool feeds<std::vector<From>, std::vector<To>> =
    std::same_as<From, To> ||
    (artifact_type<From> && artifact_type<To> && std::derived_from<From, To>);

template <class T>
struct element {
  struct type {};
};
template <class T>
struct element<std::vector<T>> : std::type_identity<T> {};
template <class T>
using element_of = typename element<T>::type;

// Converts to anything: counts the members of a struct (see component.hpp).
struct any_member {
  template <class T>
  operator T() const;
};

template <class T>
inline constexpr bool is_wired = false;
template <class T>
inline constexpr bool is_wired<reference<T>> = true;
template <class T>
inline constexpr bool is_wired<out<T>> = true;

template <class T, class U>
concept constant_for =
    parameter_type<T> && !is_wired<std::remove_cvref_t<U>> &&
    !std::same_as<std::remove_cvref_t<U>, any_member> && std::convertible_to<U, T> &&
    !(std::integral<T> && std::floating_point<std::remove_cvref_t<U>>) &&
    (!std::same_as<T, bool> || std::same_as<std::remove_cvref_t<U>, bool>);

[[noreturn]] void unbound_input();

struct access;

}  // namespace detail

// A value that is known only when the pipeline runs: a pipeline parameter, a loop item, collected
// outputs. Feeds an in<T>, and may be compared in a condition. A value.
template <detail::input_type T>
class reference {
 public:
  explicit reference(source from) : from_(std::move(from)) {}

  const source& from() const noexcept { return from_; }

  // A member of a loop item: for_each over a list of structs, item[&grid_point::rate].
  template <class M, class S>
    requires detail::described<T> && std::derived_from<T, S>
  reference<M> operator[](M S::* member) const;

  // Only here to explain: a plain member cannot wait for a value.
  template <class U>
    requires(std::same_as<U, T> && parameter_type<U>)
  operator U() const {
    static_assert(!std::same_as<U, T>,
                  "this value is known only when the pipeline runs: declare the member as "
                  "mizzen::in<T> instead of T to wire it");
    return U{};
  }

 private:
  source from_;
};

// An input of a step: an artifact (in<dataset>), a list of artifacts (in<std::vector<model>>) or a
// parameter (in<double> rate = 0.1). Takes a constant, an output of another task of the same type,
// or a reference; a plain member (double rate = 0.1) takes constants only.
//
// In a step: *x, x-> and the conversion to const T& read the value.
template <detail::input_type T>
class in {
 public:
  in() = default;

  // A constant. Throws error(out_of_range) for an integer that T cannot hold.
  template <class U>
    requires detail::constant_for<T, U>
  in(U&& value)  // NOLINT(bugprone-forwarding-reference-overload): constrained
      : held_(convert(std::forward<U>(value))) {}

  // A constant list: .rates = {0.1, 0.01}.
  in(std::initializer_list<detail::element_of<T>> list)
    requires(detail::is_vector<T> && parameter_type<T>)
      : held_(T(list.begin(), list.end())) {}

  template <class U>
    requires detail::feeds<U, T>
  in(const reference<U>& from) : held_(from.from()) {}

  template <class U>
    requires detail::feeds<U, T>
  in(const out<U>& from) : held_(from.from()) {}

  // Only here to explain.
  template <class U>
    requires(!detail::feeds<U, T>)
  in(const reference<U>&) {
    static_assert(detail::feeds<U, T>, "a value of another type is wired to this input");
  }
  template <class U>
    requires(!detail::feeds<U, T>)
  in(const out<U>&) {
    static_assert(detail::feeds<U, T>, "an output of another type is wired to this input");
  }

  // Throws error(failed_precondition) while the pipeline is built and the value is not known yet.
  const T& operator*() const {
    const T* value = std::get_if<T>(&held_);
    if (!value) detail::unbound_input();
    return *value;
  }
  const T* operator->() const { return &**this; }
  operator const T&() const { return **this; }

 private:
  friend detail::access;

  template <class U>
  static T convert(U&& value) {
    using from = std::remove_cvref_t<U>;
    if constexpr (std::integral<T> && std::integral<from> && !std::same_as<T, bool>) {
      return narrow<T>(value, "the constant of an in<>");
    } else if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<T>(value);
    } else {
      return std::forward<U>(value);
    }
  }

  std::variant<std::monostate, T, source> held_;
};

// An output of a step: an artifact (out<model>) that the step writes at its path, or a parameter
// (out<double>) that it assigns. Every output must be given, else the task fails naming it.
//
// On a task handle it names the output: it feeds inputs and is compared in conditions.
template <detail::output_type T>
class out {
 public:
  out() = default;

  // In a step: gives the parameter.
  out& operator=(T value)
    requires parameter_type<T>
  {
    held_ = std::move(value);
    return *this;
  }

  // In a step: the artifact to fill, or the parameter as assigned. Throws
  // error(failed_precondition) if there is none yet.
  T& operator*() {
    T* value = std::get_if<T>(&held_);
    if (!value) detail::unbound_input();
    return *value;
  }
  T* operator->() { return &**this; }

  // While building: where the value will come from. Throws error(failed_precondition) on an out<>
  // that belongs to no task.
  const source& from() const {
    const source* from = std::get_if<source>(&held_);
    if (!from) detail::unbound_input();
    return *from;
  }

  operator reference<T>() const { return reference<T>(from()); }

 private:
  friend detail::access;
  std::variant<std::monostate, T, source> held_;
};

namespace detail {

template <class T>
struct wired_value;
template <class T>
struct wired_value<reference<T>> : std::type_identity<T> {};
template <class T>
struct wired_value<out<T>> : std::type_identity<T> {};

// For the library alone: reads and sets what in<T> and out<T> hold.
struct access {
  template <class T>
  static const source* from(const in<T>& x) {
    return std::get_if<source>(&x.held_);
  }
  template <class T>
  static const T* value(const in<T>& x) {
    return std::get_if<T>(&x.held_);
  }
  template <class T>
  static void set(in<T>& x, T value) {
    x.held_.template emplace<T>(std::move(value));
  }
  template <class T>
  static const T* value(const out<T>& x) {
    return std::get_if<T>(&x.held_);
  }
  template <class T>
  static void set(out<T>& x, T value) {
    x.held_.template emplace<T>(std::move(value));
  }
  template <class T>
  static void wire(out<T>& x, source from) {
    x.held_.template emplace<source>(std::move(from));
  }
};

// Values that conditions compare: scalars.
template <class T>
concept comparable = std::is_arithmetic_v<T> || std::same_as<T, std::string>;

template <class W>
concept wired_scalar = is_wired<W> && comparable<typename wired_value<W>::type>;

template <class W, class U>
concept comparable_constant =
    !is_wired<U> &&
    ((std::is_arithmetic_v<typename wired_value<W>::type> && std::is_arithmetic_v<U> &&
      std::same_as<typename wired_value<W>::type, bool> == std::same_as<U, bool>) ||
     (std::same_as<typename wired_value<W>::type, std::string> &&
      std::convertible_to<U, std::string>));

template <class U>
source constant(const U& value) {
  if constexpr (std::is_arithmetic_v<U>) {
    return constant_source{to_value(value, "the constant of a condition")};
  } else {
    return constant_source{json(std::string(value))};
  }
}

template <class A>
source operand(const A& a) {
  return a.from();
}

condition compare(source left, comparison op, source right);

}  // namespace detail

// Comparisons make conditions: fit->accuracy > 0.95, p.parameter<std::string>("size") == "large".
#define MIZZEN_PIPELINES_COMPARISON(OP, NAME, MIRRORED)                                           \
  template <detail::wired_scalar W, class U>                                                      \
    requires detail::comparable_constant<W, U>                                                    \
  condition operator OP(const W& left, const U& right) {                                          \
    return detail::compare(detail::operand(left), comparison::NAME, detail::constant(right));     \
  }                                                                                               \
  template <detail::wired_scalar W, class U>                                                      \
    requires detail::comparable_constant<W, U>                                                    \
  condition operator OP(const U& left, const W& right) {                                          \
    return detail::compare(detail::operand(right), comparison::MIRRORED, detail::constant(left)); \
  }                                                                                               \
  template <detail::wired_scalar V, detail::wired_scalar W>                                       \
    requires std::same_as<typename detail::wired_value<V>::type,                                  \
                          typename detail::wired_value<W>::type>                                  \
  condition operator OP(const V& left, const W& right) {                                          \
    return detail::compare(detail::operand(left), comparison::NAME, detail::operand(right));      \
  }

MIZZEN_PIPELINES_COMPARISON(==, equal, equal)
MIZZEN_PIPELINES_COMPARISON(!=, not_equal, not_equal)
MIZZEN_PIPELINES_COMPARISON(<, less, greater)
MIZZEN_PIPELINES_COMPARISON(<=, less_equal, greater_equal)
MIZZEN_PIPELINES_COMPARISON(>, greater, less)
MIZZEN_PIPELINES_COMPARISON(>=, greater_equal, less_equal)
#undef MIZZEN_PIPELINES_COMPARISON

condition operator&&(condition left, condition right);
condition operator||(condition left, condition right);
condition operator!(condition operand);

template <detail::input_type T>
template <class M, class S>
  requires detail::described<T> && std::derived_from<T, S>
reference<M> reference<T>::operator[](M S::* member) const {
  const auto* item = std::get_if<item_source>(&from_);
  if (!item || !item->member.empty()) {
    throw error(errc::invalid_argument, "item[…]", "only the item of a loop has members to wire");
  }
  std::string name;
  boost::mp11::mp_for_each<detail::members_of<T>>([&](auto described) {
    if constexpr (std::same_as<decltype(described.pointer), M S::* const> ||
                  std::same_as<std::remove_cv_t<decltype(described.pointer)>, M S::*>) {
      if (described.pointer == member) name = described.name;
    }
  });
  if (name.empty()) {
    throw error(errc::invalid_argument, "item[…]",
                "the member is not listed in BOOST_DESCRIBE_STRUCT");
  }
  return reference<M>(item_source{item->loop, std::move(name)});
}

}  // namespace mizzen::pipelines
