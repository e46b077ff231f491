// Internal: the kind_access of a type.
#pragma once

#include <mizzen/kubernetes/detail/kind.hpp>
#include <mizzen/kubernetes/dynamic_object.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>

#include <memory>
#include <string_view>
#include <type_traits>

namespace mizzen::kubernetes::detail {

// Source: k8s.io/apimachinery, metav1.InitialEventsAnnotationKey.
inline constexpr const char* initial_events_annotation = "k8s.io/initial-events-end";

template <class K>
struct kind_functions {
  static mutable_object_ptr decode(body_encoding encoding, std::string_view bytes) {
    auto object = std::make_shared<K>();
    if (encoding == body_encoding::json) {
      codec<K>::from_json(bytes, *object);
    } else {
      codec<K>::from_protobuf(bytes, *object);
    }
    return object;
  }

  static object_identity identify(const void* erased) {
    const K& object = *static_cast<const K*>(erased);
    if constexpr (std::is_same_v<K, dynamic_object>) {
      return {object.namespace_(), object.name(), object.uid(), object.resource_version()};
    } else {
      return {object.metadata.namespace_, object.metadata.name, object.metadata.uid,
              object.metadata.resource_version};
    }
  }

  static bool ends_initial_events(const void* erased) {
    const K& object = *static_cast<const K*>(erased);
    if constexpr (std::is_same_v<K, dynamic_object>) {
      return object.annotation(initial_events_annotation) == "true";
    } else {
      const auto found = object.metadata.annotations.find(initial_events_annotation);
      return found != object.metadata.annotations.end() && found->second == "true";
    }
  }
};

template <class K>
constexpr kind_access kind_access_of() {
  return {kind_functions<K>::decode, kind_functions<K>::identify,
          kind_functions<K>::ends_initial_events,
          std::is_same_v<K, meta_v1::partial_object_metadata>};
}

}  // namespace mizzen::kubernetes::detail
