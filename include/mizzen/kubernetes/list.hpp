// A list of objects, as the server answers it.
#pragma once

#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/resource.hpp>
#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>
#include <mizzen/kubernetes/unknown.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// PodList is list<core_v1::pod>, and so on.
template <typename Kind>
struct list {
  meta_v1::list_meta metadata = {};
  std::vector<Kind> items = {};
  kubernetes::unknown unknown = {};

  friend bool operator==(const list&, const list&) = default;
};

namespace detail {

std::string list_head(std::string_view api_version, std::string_view kind,
                      const meta_v1::list_meta& metadata, const unknown& unknown);

template <typename Kind>
void read_list(body_encoding encoding, std::string_view body, list<Kind>& out) {
  list_decoder<Kind> decoder(encoding, {.item_bytes = body.size()});
  decoder.feed(body);
  Kind item{};
  while (decoder.next(item)) {
    out.items.push_back(std::move(item));
    item = Kind{};
  }
  decoder.finish();
  out.metadata = decoder.metadata();
  out.unknown = decoder.raw().unknown_members();
}

}  // namespace detail

// Reads a whole list at once, and writes one as JSON. Its protobuf form is that of a body, envelope
// included; the server takes no lists, so there is no writing it.
template <typename Kind>
struct codec<list<Kind>> {
  static constexpr bool protobuf = codec<Kind>::protobuf;
  static void from_json(std::string_view text, list<Kind>& out) {
    detail::read_list(body_encoding::json, text, out);
  }
  static void from_protobuf(std::string_view body, list<Kind>& out) {
    detail::read_list(body_encoding::protobuf, body, out);
  }
  static void to_json(const list<Kind>& value, std::string& out) {
    const resource_info& info = resource_of<Kind>();
    out += detail::list_head(info.api_version(), info.kind, value.metadata, value.unknown);
    const char* separator = "";
    for (const Kind& item : value.items) {
      out += separator;
      separator = ",";
      codec<Kind>::to_json(item, out);
    }
    out += "]}";
  }
};

}  // namespace mizzen::kubernetes
