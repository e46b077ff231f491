// A component: a C++ function over a described struct, and what the graph needs to know of it.
#pragma once

#include <mizzen/pipelines/context.hpp>
#include <mizzen/pipelines/graph.hpp>
#include <mizzen/pipelines/io.hpp>

#include <boost/mp11/list.hpp>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <typeindex>
#include <typeinfo>
#include <utility>
#include <vector>

// p.add(train, {.data = …}) names the members it sets and leaves the others at their defaults. GCC
// and clang warn about that under -Wextra; from here on they do not.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace mizzen::pipelines {

namespace detail {

// --- From a callable to its struct ---

template <class F>
struct step_signature {};
template <class F>
  requires requires { &F::operator(); }
struct step_signature<F> : step_signature<decltype(&F::operator())> {};
template <class Io>
struct step_signature<void (*)(Io&)> : std::type_identity<Io> {};
template <class Io>
struct step_signature<void (*)(Io&, context&)> : std::type_identity<Io> {};
template <class Io>
struct step_signature<void (*)(Io&) noexcept> : std::type_identity<Io> {};
template <class Io>
struct step_signature<void (*)(Io&, context&) noexcept> : std::type_identity<Io> {};
template <class C, class Io>
struct step_signature<void (C::*)(Io&) const> : std::type_identity<Io> {};
template <class C, class Io>
struct step_signature<void (C::*)(Io&, context&) const> : std::type_identity<Io> {};
template <class C, class Io>
struct step_signature<void (C::*)(Io&) const noexcept> : std::type_identity<Io> {};
template <class C, class Io>
struct step_signature<void (C::*)(Io&, context&) const noexcept> : std::type_identity<Io> {};

template <class F>
using io_of = typename step_signature<std::decay_t<F>>::type;

// A function pointer, or an object with one const operator().
template <class F>
concept step = requires { typename io_of<F>; };

// --- Members of a struct ---

template <class T>
struct member_of : std::type_identity<T> {
  static constexpr bool input = false, output = false;
};
template <class T>
struct member_of<in<T>> : std::type_identity<T> {
  static constexpr bool input = true, output = false;
};
template <class T>
struct member_of<out<T>> : std::type_identity<T> {
  static constexpr bool input = false, output = true;
};

template <class Io, std::size_t... I>
constexpr bool has_members(std::index_sequence<I...>) {
  return requires { Io{(static_cast<void>(I), any_member{})...}; };
}

// True when the struct has a member that its description does not list.
template <class Io>
constexpr bool has_undescribed_member() {
  constexpr std::size_t described_members = boost::mp11::mp_size<members_of<Io>>::value;
  return has_members<Io>(std::make_index_sequence<described_members + 1>());
}

template <class Io>
constexpr void check_io() {
  static_assert(
      std::is_class_v<Io> && described<Io>,
      "a step takes a reference to a struct known to Boost.Describe: "
      "void train(train_io& io); BOOST_DESCRIBE_STRUCT(train_io, (), (data, rate, model))");
  if constexpr (described<Io>) {
    static_assert(std::is_aggregate_v<Io> && std::default_initializable<Io>,
                  "the struct of a step must be an aggregate with default values");
    if constexpr (std::is_aggregate_v<Io>) {
      static_assert(!has_undescribed_member<Io>(),
                    "BOOST_DESCRIBE_STRUCT does not list every member of the step's struct");
    }
    boost::mp11::mp_for_each<members_of<Io>>([](auto member) {
      using type = std::remove_cvref_t<decltype(std::declval<Io&>().*member.pointer)>;
      static_assert(input_type<typename member_of<type>::type>,
                    "a member of the step's struct is neither in<>, out<> nor a parameter: see "
                    "parameter_type for the types that travel");
      static_assert(!artifact_type<type> && !is_artifact_list<type>,
                    "an artifact is declared as in<T> or out<T>, so that its direction is known");
    });
  }
}

// "train" for a struct named acme::train_io: the last part without _io.
std::string component_name(std::string_view function_signature);

template <class Io>
std::string default_component_name() {
  return component_name(__PRETTY_FUNCTION__);
}

template <class Io>
component_spec describe_component(std::string name, std::string version, std::string description) {
  component_spec spec{std::move(name), std::move(version), std::move(description), {}, {}, {}, {}};
  const Io defaults{};
  boost::mp11::mp_for_each<members_of<Io>>([&](auto member) {
    using type = std::remove_cvref_t<decltype(defaults.*member.pointer)>;
    using value = typename member_of<type>::type;
    const std::string subject = spec.name + "." + member.name;
    if constexpr (member_of<type>::output) {
      if constexpr (artifact_type<value>) {
        spec.output_artifacts.push_back(
            {member.name, std::string(value::type_name), value::content_optional});
      } else {
        spec.output_parameters.push_back({member.name, kind_of<value>()});
      }
    } else if constexpr (member_of<type>::input) {
      if constexpr (artifact_type<value>) {
        spec.input_artifacts.push_back({member.name, std::string(value::type_name), false});
      } else if constexpr (is_artifact_list<value>) {
        spec.input_artifacts.push_back(
            {member.name, std::string(value::value_type::type_name), true});
      } else {
        std::optional<json> default_value;
        if (const value* constant = access::value(defaults.*member.pointer)) {
          default_value = to_value(*constant, subject);
        }
        spec.input_parameters.push_back({member.name, kind_of<value>(), std::move(default_value)});
      }
    } else {
      spec.input_parameters.push_back(
          {member.name, kind_of<value>(), to_value(defaults.*member.pointer, subject)});
    }
  });
  return spec;
}

// The inputs that an argument struct binds, by name.
template <class Io>
std::map<std::string, source> bound_inputs(const Io& arguments, const std::string& component) {
  std::map<std::string, source> inputs;
  boost::mp11::mp_for_each<members_of<Io>>([&](auto member) {
    using type = std::remove_cvref_t<decltype(arguments.*member.pointer)>;
    using value = typename member_of<type>::type;
    const std::string subject = component + "." + member.name;
    if constexpr (member_of<type>::input) {
      const auto& input = arguments.*member.pointer;
      if (const source* from = access::from(input)) {
        inputs.emplace(member.name, *from);
      } else if constexpr (parameter_type<value>) {
        if (const value* constant = access::value(input)) {
          inputs.emplace(member.name, constant_source{to_value(*constant, subject)});
        }
      }
    } else if constexpr (!member_of<type>::output) {
      inputs.emplace(member.name, constant_source{to_value(arguments.*member.pointer, subject)});
    }
  });
  return inputs;
}

// --- Calling a step without knowing its types ---

// Values in and out of one attempt, by member name.
struct step_values {
  std::map<std::string, json> parameters;
  std::map<std::string, std::vector<artifact>> artifacts;
  std::map<std::string, artifact> output_artifacts;  // in: where to write; out: with metadata
  std::map<std::string, json> output_parameters;     // out
};

using step_function = std::function<void(step_values&, context&)>;

template <artifact_type T>
T typed_artifact(const artifact& from) {
  T result;
  static_cast<artifact&>(result) = from;
  return result;
}

template <class Io>
Io load_io(const step_values& values, const std::string& task) {
  Io io{};
  boost::mp11::mp_for_each<members_of<Io>>([&](auto member) {
    auto& slot = io.*member.pointer;
    using type = std::remove_cvref_t<decltype(slot)>;
    using value = typename member_of<type>::type;
    if constexpr (member_of<type>::output) {
      if constexpr (artifact_type<value>) {
        access::set(slot, typed_artifact<value>(values.output_artifacts.at(member.name)));
      }
    } else if constexpr (artifact_type<value>) {
      access::set(slot, typed_artifact<value>(values.artifacts.at(member.name).at(0)));
    } else if constexpr (is_artifact_list<value>) {
      value list;
      for (const artifact& item : values.artifacts.at(member.name)) {
        list.push_back(typed_artifact<typename value::value_type>(item));
      }
      access::set(slot, std::move(list));
    } else {
      const auto found = values.parameters.find(member.name);
      if (found == values.parameters.end()) return;  // stays at its default
      auto loaded = from_value<value>(found->second, task + "." + member.name);
      if constexpr (member_of<type>::input) {
        access::set(slot, std::move(loaded));
      } else {
        slot = std::move(loaded);
      }
    }
  });
  return io;
}

template <class Io>
void store_outputs(const Io& io, step_values& values, const std::string& task) {
  boost::mp11::mp_for_each<members_of<Io>>([&](auto member) {
    const auto& slot = io.*member.pointer;
    using type = std::remove_cvref_t<decltype(slot)>;
    using value = typename member_of<type>::type;
    if constexpr (member_of<type>::output) {
      const value* given = access::value(slot);
      if constexpr (artifact_type<value>) {
        values.output_artifacts.at(member.name).metadata = given->metadata;
      } else if (given) {
        values.output_parameters[member.name] = to_value(*given, task + "." + member.name);
      }
    }
  });
}

template <class F>
step_function erase_step(F function) {
  using io_type = io_of<F>;
  return [function = std::move(function)](step_values& values, context& context) {
    io_type io = load_io<io_type>(values, context.task());
    if constexpr (std::invocable<const F&, io_type&, pipelines::context&>) {
      function(io, context);
    } else {
      function(io);
    }
    store_outputs(io, values, context.task());
  };
}

// Tells two functions apart that would have the same component name.
struct step_identity {
  std::type_index type;
  std::uintptr_t pointer = 0;
  bool operator==(const step_identity&) const = default;
};

template <class F>
step_identity identify(const F& function) {
  if constexpr (std::is_pointer_v<F>) {
    return {typeid(F), reinterpret_cast<std::uintptr_t>(function)};
  } else {
    return {typeid(F), 0};
  }
}

}  // namespace detail

struct component_options {
  std::string version;  // change it when the code changes what it gives: part of the cache key
  std::string description;
};

// A step with a name of its own. Without it, a function over train_io is the component "train".
//
//   const mz::component train{"train", train_step, {.version = "2"}};
//   p.add(train, {.data = data->data});
template <detail::step F>
class component {
 public:
  component(std::string name, F step, component_options options = {})
      : name_(std::move(name)), function_(std::move(step)), options_(std::move(options)) {
    detail::check_io<detail::io_of<F>>();
  }

  const std::string& name() const noexcept { return name_; }
  const F& function() const noexcept { return function_; }
  const component_options& options() const noexcept { return options_; }

 private:
  std::string name_;
  F function_;
  component_options options_;
};

template <class F>
component(std::string, F, component_options = {}) -> component<std::decay_t<F>>;

}  // namespace mizzen::pipelines
