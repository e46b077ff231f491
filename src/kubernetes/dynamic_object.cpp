#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/dynamic_object.hpp>

namespace mizzen::kubernetes {
namespace {

const json absent;
const std::string empty;

const json& member_of(const json& object, const char* member) noexcept {
  if (!object.is_object()) return absent;
  const auto at = object.find(member);
  return at == object.end() ? absent : *at;
}

const std::string& text_of(const json& value) noexcept {
  const auto* const text = value.get_ptr<const std::string*>();
  return text ? *text : empty;
}

}  // namespace

dynamic_object::dynamic_object(json value) : value_(std::move(value)) {
  if (!value_.is_object()) {
    throw error(errc::invalid_argument, "object",
                std::string("an object is wanted, not a JSON ") + value_.type_name());
  }
}

dynamic_object::dynamic_object(const resource_info& resource, std::string name,
                               std::string namespace_)
    : value_({{"apiVersion", resource.api_version()},
              {"kind", resource.kind},
              {"metadata", {{"name", std::move(name)}}}}) {
  if (!namespace_.empty()) value_["metadata"]["namespace"] = std::move(namespace_);
}

const json& dynamic_object::operator[](const char* member) const noexcept {
  return member_of(value_, member);
}

const json& dynamic_object::at(std::string_view pointer) const {
  try {
    const json::json_pointer path{std::string(pointer)};
    return value_.contains(path) ? value_.at(path) : absent;
  } catch (const json::exception& e) {
    throw error(errc::invalid_argument, pointer, std::string("not a JSON pointer: ") + e.what());
  }
}

std::int64_t dynamic_object::generation() const noexcept {
  const json& value = member_of(metadata(), "generation");
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

const std::string& dynamic_object::label(const char* key) const noexcept {
  return text_of(member_of(member_of(metadata(), "labels"), key));
}

const std::string& dynamic_object::annotation(const char* key) const noexcept {
  return text_of(member_of(member_of(metadata(), "annotations"), key));
}

json& dynamic_object::metadata() {
  json& found = value_["metadata"];
  if (!found.is_object()) found = json::object();
  return found;
}

void dynamic_object::set_label(const std::string& key, std::string value) {
  metadata()["labels"][key] = std::move(value);
}

void dynamic_object::set_annotation(const std::string& key, std::string value) {
  metadata()["annotations"][key] = std::move(value);
}

const std::string& dynamic_object::text(const char* member) const noexcept {
  return text_of(member_of(value_, member));
}

const std::string& dynamic_object::metadata_text(const char* member) const noexcept {
  return text_of(member_of(metadata(), member));
}

std::map<std::string, std::string> dynamic_object::strings(const char* member) const {
  std::map<std::string, std::string> found;
  const json& from = member_of(metadata(), member);
  if (!from.is_object()) return found;
  for (const auto& [key, value] : from.items()) found.emplace(key, text_of(value));
  return found;
}

void codec<dynamic_object>::from_json(std::string_view text, dynamic_object& object) {
  object = dynamic_object(detail::parse_json(text));
}

void codec<dynamic_object>::from_protobuf(std::string_view, dynamic_object&) {
  throw error(errc::unimplemented, "dynamic_object", "is read from JSON only");
}

void codec<dynamic_object>::to_json(const dynamic_object& object, std::string& out) {
  out += detail::dump_json(object.value());
}

void codec<dynamic_object>::to_protobuf(const dynamic_object&, std::string&) {
  throw error(errc::unimplemented, "dynamic_object", "is written as JSON only");
}

}  // namespace mizzen::kubernetes
