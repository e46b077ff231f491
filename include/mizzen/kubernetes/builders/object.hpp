// What all builders have in common: a name, metadata, the typed object behind them.
#pragma once

#include <mizzen/kubernetes/string_map.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>
#include <mizzen/kubernetes/validate.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes {

// Base of every builder (Self) of a kind (Object). A builder is a value: setters change it and
// return it, so that a whole object is one expression. What a builder has no setter for is reached
// through object(), the generated struct itself. Not thread safe.
template <class Self, class Object>
class object_builder {
 public:
  using object_type = Object;

  // Empty: the namespace of the client's context.
  Self& in_namespace(std::string value) {
    object_.metadata.namespace_ = std::move(value);
    return self();
  }
  Self& label(std::string_view key, std::string value) {
    object_.metadata.labels.insert_or_assign(key, std::move(value));
    return self();
  }
  Self& labels(const string_map<std::string>& values) {
    for (const auto& [key, value] : values) label(key, value);
    return self();
  }
  Self& annotation(std::string_view key, std::string value) {
    object_.metadata.annotations.insert_or_assign(key, std::move(value));
    return self();
  }

  // The object as it is now, unchecked.
  Object& object() noexcept { return object_; }
  const Object& object() const noexcept { return object_; }

  // The object, checked: throws error(invalid_argument) whose subject is the field, as validate().
  Object build() const {
    validate(object_);
    return object_;
  }

 protected:
  explicit object_builder(std::string name) { object_.metadata.name = std::move(name); }
  Self& self() noexcept { return static_cast<Self&>(*this); }

  Object object_ = {};
};

}  // namespace mizzen::kubernetes
