// Internal: what the type-erased cores of watches and informers know of a kind of object.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {
struct resource_info;
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

enum class wire_event_type { added, modified, deleted, bookmark, error };

// One event of a watch as the server sent it.
struct wire_event {
  wire_event_type type = wire_event_type::error;
  mutable_object_ptr object = {};     // added, modified, deleted
  std::string resource_version = {};  // of the object, or of the bookmark
  bool initial_events_end = false;    // of a bookmark: the list of a streamed watch is complete
  std::exception_ptr failure = {};    // of an error: the status_error
};

// Cuts the body of a watch into events. Malformed input throws mizzen::error.
class event_decoder {
 public:
  event_decoder() = default;
  event_decoder(const event_decoder&) = delete;
  event_decoder& operator=(const event_decoder&) = delete;
  virtual ~event_decoder() = default;
  virtual void feed(std::string_view bytes) = 0;
  // False: more bytes are needed first.
  virtual bool next(wire_event& out) = 0;
};

// One page of a list.
struct wire_page {
  std::vector<mutable_object_ptr> objects = {};
  std::string resource_version = {};
  std::string continue_token = {};
};

// A kind: where it is on the server, and how it is read. Defined in kind_of.hpp, which knows the
// codecs.
struct kind_access;

// What watches and informers need of K; made once per use.
template <class K>
std::shared_ptr<const kind_access> kind_access_of();
template <class K>
std::shared_ptr<const kind_access> kind_access_of(const resource_info& resource);

}  // namespace mizzen::kubernetes::detail
