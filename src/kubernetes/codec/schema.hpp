// The tables that describe the generated structs. One engine for each encoding runs on them, so
// that a struct costs a few hundred bytes of constants rather than kilobytes of code.
#pragma once

#include <mizzen/kubernetes/box.hpp>
#include <mizzen/kubernetes/int_or_string.hpp>
#include <mizzen/kubernetes/quantity.hpp>
#include <mizzen/kubernetes/raw_json.hpp>
#include <mizzen/kubernetes/string_map.hpp>
#include <mizzen/kubernetes/time.hpp>
#include <mizzen/kubernetes/unknown.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes::detail {

// What stands around the values of a field.
enum class form : std::uint8_t { plain, optional, box, vector, map, map_of_lists };

// What the values are.
enum class scalar : std::uint8_t {
  string,
  boolean,
  int32,
  int64,
  number,
  bytes,  // base64 in JSON
  time,
  micro_time,
  quantity,
  int_or_string,
  raw_json,
  object,
};

struct struct_type;

struct field {
  const char* name;  // in JSON
  std::uint8_t name_size;
  detail::form form;
  detail::scalar scalar;
  bool always;          // written when zero, too
  std::uint8_t scope;   // the protobuf message that holds it
  std::uint8_t number;  // in that message; 0 if it has none
  std::uint16_t offset;
  const struct_type* type;  // of objects

  std::string_view key() const noexcept { return {name, name_size}; }
};

// A protobuf message. Scope 0 is the struct's own; where Go embeds a struct, JSON has its fields in
// the outer object and protobuf has them in a message of their own: a further scope.
struct scope {
  // From a field number to the index of the field, 192 + the index of an embedded scope, or 255.
  const std::uint8_t* numbers;
  std::uint8_t top;     // the greatest number in there
  std::uint8_t parent;  // the scope that it is embedded in
  std::uint8_t number;  // its field number there
};

inline constexpr std::uint8_t first_embedded = 192;
inline constexpr std::uint8_t no_field = 255;

// What the engines do to a box<T>, a vector<T> or a string_map<T> of which they only know the
// table.
struct box_calls {
  void* (*fill)(void* box) = nullptr;  // what it holds, made if need be
  const void* (*get)(const void* box) = nullptr;
};
struct vector_calls {
  void* (*append)(void* vector) = nullptr;
  void (*reserve)(void* vector, std::size_t count) = nullptr;
  std::pair<const void*, std::size_t> (*view)(const void* vector) = nullptr;  // first, count
};
struct map_calls {
  void* (*append)(void* map, std::string_view key) = nullptr;  // a new value, in no order yet
  bool (*finish)(void* map) = nullptr;  // puts them in order; false if a key is there twice
  std::size_t (*size)(const void* map) = nullptr;
  std::pair<const std::string*, const void*> (*entry)(const void* map, std::size_t at) = nullptr;
};

template <typename T>
constexpr box_calls box_operations() {
  return {[](void* at) -> void* { return &static_cast<box<T>*>(at)->or_emplace(); },
          [](const void* at) -> const void* { return static_cast<const box<T>*>(at)->get(); }};
}
template <typename T>
constexpr vector_calls vector_operations() {
  return {[](void* at) -> void* { return &static_cast<std::vector<T>*>(at)->emplace_back(); },
          [](void* at, std::size_t count) { static_cast<std::vector<T>*>(at)->reserve(count); },
          [](const void* at) -> std::pair<const void*, std::size_t> {
            const auto& vector = *static_cast<const std::vector<T>*>(at);
            return {vector.data(), vector.size()};
          }};
}
template <typename T>
constexpr map_calls map_operations() {
  return {[](void* at, std::string_view key) -> void* {
            return &string_map_access::append(*static_cast<string_map<T>*>(at), key);
          },
          [](void* at) { return string_map_access::finish(*static_cast<string_map<T>*>(at)); },
          [](const void* at) { return static_cast<const string_map<T>*>(at)->size(); },
          [](const void* at, std::size_t index) -> std::pair<const std::string*, const void*> {
            const auto& entry = *(static_cast<const string_map<T>*>(at)->begin() +
                                  static_cast<std::ptrdiff_t>(index));
            return {&entry.first, &entry.second};
          }};
}

struct struct_type {
  const char* name;         // as in Go: "PodSpec"
  const char* api_version;  // of a kind; empty for a part of one
  const char* kind;
  const field* fields;  // in the order in which the server writes them
  std::size_t field_count;
  const scope* scopes;
  std::size_t scope_count;
  bool protobuf;  // false: JSON only
  std::size_t size;
  std::size_t unknown_offset;
  box_calls box;        // where some struct holds it in a box, …
  vector_calls vector;  // … in a vector, …
  map_calls map;        // … in a map

  bool is_kind() const noexcept { return *kind != '\0'; }
};

template <typename T>
T& member(void* object, std::size_t offset) noexcept {
  return *static_cast<T*>(static_cast<void*>(static_cast<char*>(object) + offset));
}
template <typename T>
const T& member(const void* object, std::size_t offset) noexcept {
  return *static_cast<const T*>(
      static_cast<const void*>(static_cast<const char*>(object) + offset));
}

// Calls call.operator()<T>() for the C++ type of a scalar that is no object.
template <typename Call>
decltype(auto) with_type(scalar kind, Call&& call) {
  switch (kind) {
    case scalar::boolean:
      return call.template operator()<bool>();
    case scalar::int32:
      return call.template operator()<std::int32_t>();
    case scalar::int64:
      return call.template operator()<std::int64_t>();
    case scalar::number:
      return call.template operator()<double>();
    case scalar::time:
      return call.template operator()<kubernetes::time>();
    case scalar::micro_time:
      return call.template operator()<kubernetes::micro_time>();
    case scalar::quantity:
      return call.template operator()<kubernetes::quantity>();
    case scalar::int_or_string:
      return call.template operator()<kubernetes::int_or_string>();
    case scalar::raw_json:
      return call.template operator()<kubernetes::raw_json>();
    case scalar::string:
    case scalar::bytes:
    case scalar::object:
      break;
  }
  return call.template operator()<std::string>();
}

// Nesting of objects and arrays that is read and written.
inline constexpr int max_depth = 256;

// Where an engine is, to name it in an error: made on the stack, turned into text only then.
struct place {
  const place* parent = nullptr;
  std::string_view name = {};  // of a member, or the key of a map
  std::ptrdiff_t index = -1;   // of an element; name is then empty

  std::string to_string() const;
};

// True if every field is absent or zero: then a plain struct that may be left out is left out.
bool is_zero(const struct_type& type, const void* object);
bool is_zero(const field& each, const void* at);

}  // namespace mizzen::kubernetes::detail
