// A JSON value that the schema leaves open, and bytes.
#pragma once

#include <mizzen/core/json_fwd.hpp>

#include <string>
#include <utility>

namespace mizzen::kubernetes {

// Bytes as they are; base64 only in JSON text. What Go writes as []byte: the data of a Secret.
using byte_string = std::string;

// JSON of any form, kept as its text: metav1.FieldsV1, runtime.RawExtension and the like. Empty
// text is an absent value.
struct raw_json {
  std::string text = {};

  bool empty() const noexcept { return text.empty(); }

  // The value of the text, null when it is empty. Throws error(invalid_argument) if it is not JSON.
  json value() const;
  // The text of a value.
  static raw_json of(const json& value);

  friend bool operator==(const raw_json&, const raw_json&) = default;
};

}  // namespace mizzen::kubernetes
