// An object of any kind, as JSON.
#pragma once

#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/resource.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes {

// Any object: a custom resource, or a kind that is known at run time only. A JSON object with
// accessors for what every kind has; usable wherever a generated kind is, given a resource_info.
//
//   dynamic_object cron(info, "nightly", "default");
//   cron["spec"]["schedule"] = "0 3 * * *";
//
// Reads of what is absent, or of another type than a string, give the empty string. Nothing of what
// a server sends is lost. A value; not thread safe.
class dynamic_object {
 public:
  dynamic_object() : value_(json::object()) {}
  // Throws error(invalid_argument) if it is no JSON object.
  explicit dynamic_object(json value);
  // With apiVersion, kind, metadata.name and, unless empty, metadata.namespace.
  dynamic_object(const resource_info& resource, std::string name, std::string namespace_ = {});

  const json& value() const& noexcept { return value_; }
  json value() && noexcept { return std::move(value_); }

  // A member at the top: object["spec"]["replicas"] = 3. The const one gives null for what is
  // absent.
  json& operator[](const char* member) { return value_[member]; }
  const json& operator[](const char* member) const noexcept;

  // What a JSON pointer names ("/spec/template/spec/containers/0/image"), or null.
  const json& at(std::string_view pointer) const;

  const std::string& api_version() const noexcept { return text("apiVersion"); }
  const std::string& kind() const noexcept { return text("kind"); }
  const std::string& name() const noexcept { return metadata_text("name"); }
  const std::string& generate_name() const noexcept { return metadata_text("generateName"); }
  const std::string& namespace_() const noexcept { return metadata_text("namespace"); }
  const std::string& uid() const noexcept { return metadata_text("uid"); }
  const std::string& resource_version() const noexcept { return metadata_text("resourceVersion"); }
  std::int64_t generation() const noexcept;
  bool being_deleted() const noexcept { return !metadata_text("deletionTimestamp").empty(); }

  std::map<std::string, std::string> labels() const { return strings("labels"); }
  std::map<std::string, std::string> annotations() const { return strings("annotations"); }
  const std::string& label(const char* key) const noexcept;
  const std::string& annotation(const char* key) const noexcept;

  // metadata, made if it is not there.
  json& metadata();
  const json& metadata() const noexcept { return (*this)["metadata"]; }
  void set_label(const std::string& key, std::string value);
  void set_annotation(const std::string& key, std::string value);

  friend bool operator==(const dynamic_object&, const dynamic_object&) = default;

 private:
  const std::string& text(const char* member) const noexcept;
  const std::string& metadata_text(const char* member) const noexcept;
  std::map<std::string, std::string> strings(const char* member) const;

  json value_;
};

// Always JSON: no schema, no protobuf.
template <>
struct codec<dynamic_object> {
  static constexpr bool protobuf = false;
  static void from_json(std::string_view text, dynamic_object& object);
  static void from_protobuf(std::string_view bytes, dynamic_object& object);
  static void to_json(const dynamic_object& object, std::string& out);
  static void to_protobuf(const dynamic_object& object, std::string& out);
};

}  // namespace mizzen::kubernetes
