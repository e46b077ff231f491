// Internal: what the type-erased cores of watches and informers know of a kind of object.
#pragma once

#include <memory>
#include <string_view>

namespace mizzen::kubernetes {
enum class body_encoding : unsigned char;
}

namespace mizzen::kubernetes::detail {

using object_ptr = std::shared_ptr<const void>;
using mutable_object_ptr = std::shared_ptr<void>;

// The names of an object; views into it.
struct object_identity {
  std::string_view namespace_ = {};
  std::string_view name = {};
  std::string_view uid = {};
  std::string_view resource_version = {};
};

// How objects of a kind are read; see kind_of.hpp.
struct kind_access {
  // One object from JSON text or a bare protobuf message.
  mutable_object_ptr (*decode)(body_encoding encoding, std::string_view bytes) = nullptr;
  object_identity (*identify)(const void* object) = nullptr;
  // Whether a bookmark says that a streamed list is complete.
  bool (*ends_initial_events)(const void* bookmark) = nullptr;
  // Only the metadata travels.
  bool metadata_only = false;
};

}  // namespace mizzen::kubernetes::detail
