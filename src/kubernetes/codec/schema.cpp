#include <kubernetes/codec/schema.hpp>

#include <algorithm>
#include <optional>

namespace mizzen::kubernetes::detail {

std::string place::to_string() const {
  std::vector<const place*> path;
  for (const place* each = this; each != nullptr; each = each->parent) path.push_back(each);
  std::reverse(path.begin(), path.end());
  std::string text;
  for (const place* each : path) {
    if (each->index >= 0) {
      text += '[' + std::to_string(each->index) + ']';
    } else if (!each->name.empty()) {
      // Keys of maps hold dots and slashes: metadata.labels[app.kubernetes.io/name].
      const bool plain = each->name.find_first_of("./[]") == std::string_view::npos;
      if (plain && !text.empty()) text += '.';
      text += plain ? std::string(each->name) : '[' + std::string(each->name) + ']';
    }
  }
  return text;
}

bool is_zero(const field& each, const void* at) {
  const bool object = each.scalar == scalar::object;
  switch (each.form) {
    case form::plain:
      if (object) return is_zero(*each.type, at);
      return with_type(each.scalar,
                       [at]<typename T>() { return *static_cast<const T*>(at) == T{}; });
    case form::optional:
      return with_type(each.scalar, [at]<typename T>() {
        return !static_cast<const std::optional<T>*>(at)->has_value();
      });
    case form::box:
      return each.type->box.get(at) == nullptr;
    case form::vector:
      if (object) return each.type->vector.view(at).second == 0;
      return with_type(each.scalar, [at]<typename T>() {
        return static_cast<const std::vector<T>*>(at)->empty();
      });
    case form::map:
      if (object) return each.type->map.size(at) == 0;
      return with_type(each.scalar, [at]<typename T>() {
        return static_cast<const string_map<T>*>(at)->empty();
      });
    case form::map_of_lists:
      return static_cast<const string_map<std::vector<std::string>>*>(at)->empty();
  }
  return false;
}

bool is_zero(const struct_type& type, const void* object) {
  if (!member<unknown>(object, type.unknown_offset).empty()) return false;
  return std::all_of(type.fields, type.fields + type.field_count, [object](const field& each) {
    return is_zero(each, static_cast<const char*>(object) + each.offset);
  });
}

}  // namespace mizzen::kubernetes::detail
