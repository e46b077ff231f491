// A list of objects, as the server answers it.
#pragma once

#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>
#include <mizzen/kubernetes/unknown.hpp>

#include <string>
#include <string_view>
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

}  // namespace mizzen::kubernetes
