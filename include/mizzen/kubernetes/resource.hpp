// How a kind of object is named, and where the server keeps it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// One resource of the API: its group, version and kind, and what its URLs are made of.
struct resource_info {
  std::string group = {};  // "apps"; empty for the core group
  std::string version = {};
  std::string kind = {};    // "Deployment"
  std::string plural = {};  // "deployments"
  bool namespaced = true;
  std::vector<std::string> verbs = {};         // "get", "list", …; empty when not known
  std::vector<std::string> subresources = {};  // "status", "scale", …
  bool protobuf = false;  // both the server and this library speak protobuf for it

  // "apps/v1", or "v1" in the core group: what an object says in apiVersion.
  std::string api_version() const { return group.empty() ? version : group + '/' + version; }

  bool has_subresource(std::string_view name) const noexcept {
    for (const auto& each : subresources) {
      if (each == name) return true;
    }
    return false;
  }

  // The path of the collection, or of an object (name) or of a subresource of it, from the root of
  // the server: "/apis/apps/v1/namespaces/default/deployments/web/scale". An empty namespace is all
  // namespaces. Percent-encodes its parts. Throws error(invalid_argument) for a namespace on a
  // resource that is not namespaced, a name or subresource that holds '/', is "." or "..", or a
  // subresource without a name.
  std::string path(std::string_view namespace_ = {}, std::string_view name = {},
                   std::string_view subresource = {}) const;

  friend bool operator==(const resource_info&, const resource_info&) = default;
};

// The resource of a generated kind: resource_of<core_v1::pod>(). Declared with each kind; the
// reference is valid for the life of the program.
template <typename Kind>
const resource_info& resource_of();

}  // namespace mizzen::kubernetes
