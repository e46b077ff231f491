// Objects as JSON and as protobuf: the two encodings that the server speaks.
//
// Every function here works on each generated struct (a pod, a pod_spec, …) and on list<K>. Members
// that the type does not know are kept in its `unknown` and written back. JSON null is an absent
// value; a known member given twice is refused. Nesting is limited to 256 levels.
//
// Errors: text that is not JSON, or of the wrong type for its field, is error(invalid_argument);
// damaged protobuf is error(data_loss). The subject of both is the field:
// "spec.containers[0].image".
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/core/json_fwd.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

namespace mizzen::kubernetes {

namespace detail {

struct struct_type;  // the table of a struct: src/kubernetes/codec/schema.hpp

void decode_json(const struct_type& type, void* object, std::string_view text);
void decode_protobuf(const struct_type& type, void* object, std::string_view message);
void encode_json(const struct_type& type, const void* object, std::string& out);
void encode_protobuf(const struct_type& type, const void* object, std::string& out);
void encode_envelope(const struct_type& type, const void* object, std::string& out);
std::string_view open_envelope(const struct_type& type, std::string_view message);
json parse_json(std::string_view text);
std::string dump_json(const json& value);

}  // namespace detail

// A generated struct, or anything else that has its table: found by argument-dependent lookup.
template <typename T>
concept described = requires(const T* object) {
  { type_of(object) } -> std::same_as<const detail::struct_type&>;
};

// How a kind is read and written; specialised for dynamic objects, which are JSON only.
template <typename T>
struct codec {
  static constexpr bool protobuf = true;
  static void from_json(std::string_view text, T& object) {
    detail::decode_json(type_of(&object), &object, text);
  }
  static void from_protobuf(std::string_view message, T& object) {
    detail::decode_protobuf(type_of(&object), &object, message);
  }
  static void to_json(const T& object, std::string& out) {
    detail::encode_json(type_of(&object), &object, out);
  }
  static void to_protobuf(const T& object, std::string& out) {
    detail::encode_protobuf(type_of(&object), &object, out);
  }
};

// Reads one JSON text. A top-level kind may carry apiVersion and kind; if it does they must be its
// own.
template <typename T>
T from_json(std::string_view text) {
  T object{};
  codec<T>::from_json(text, object);
  return object;
}

// One JSON text without white space. Top-level kinds begin with their kind and apiVersion.
// Throws error(failed_precondition) for unknown protobuf fields, error(data_loss) for a string that
// is not UTF-8.
template <typename T>
std::string to_json(const T& object) {
  std::string out;
  codec<T>::to_json(object, out);
  return out;
}

// The same from and to a JSON document (slower: through the text).
template <typename T>
T from_json_value(const json& value) {
  return from_json<T>(detail::dump_json(value));
}
template <typename T, typename Json = json>
Json to_json_value(const T& object) {
  return detail::parse_json(to_json(object));
}

// Reads the bare message of a struct. Strings are taken as they are.
template <typename T>
T from_protobuf(std::string_view message) {
  T object{};
  codec<T>::from_protobuf(message, object);
  return object;
}

// The bare message. Throws error(failed_precondition) for unknown JSON members.
template <typename T>
std::string to_protobuf(const T& object) {
  std::string out;
  codec<T>::to_protobuf(object, out);
  return out;
}

// What bodies of type application/vnd.kubernetes.protobuf hold: "k8s\0" and a runtime.Unknown
// message that names the kind and holds the object's own message in `raw`.
struct protobuf_envelope {
  std::string_view api_version = {};
  std::string_view kind = {};
  std::string_view raw = {};
  std::string_view content_encoding = {};
  std::string_view content_type = {};
};

// Views into the bytes. Throws error(data_loss) for what is not an envelope.
protobuf_envelope read_protobuf_envelope(std::string_view message);
// An envelope around a message.
std::string write_protobuf_envelope(std::string_view api_version, std::string_view kind,
                                    std::string_view raw);

// Reads an enveloped object; another kind than T is error(invalid_argument).
template <described T>
T from_protobuf_envelope(std::string_view message) {
  return from_protobuf<T>(detail::open_envelope(type_of(static_cast<const T*>(nullptr)), message));
}
// An enveloped object, the body of a request.
template <described T>
std::string to_protobuf_envelope(const T& object) {
  std::string out;
  detail::encode_envelope(type_of(&object), &object, out);
  return out;
}

}  // namespace mizzen::kubernetes
