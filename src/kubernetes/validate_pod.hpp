// Checks that the kinds with a pod template share.
#pragma once

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::detail {

// A field's path as errors name it; cheap to extend, made into text only when it is needed.
class field_path {
 public:
  field_path(std::string_view name) : name_(name) {}  // NOLINT: "spec" is a path
  field_path(const char* name) : name_(name) {}       // NOLINT: "spec" is a path
  field_path(const field_path& parent, std::string_view name) : parent_(&parent), name_(name) {}
  field_path(const field_path& parent, std::size_t index)
      : parent_(&parent), index_(static_cast<long long>(index)) {}

  std::string text() const;

 private:
  const field_path* parent_ = nullptr;
  std::string_view name_;
  long long index_ = -1;
};

[[noreturn]] void refuse(const field_path& field, const std::string& message);

void check_dns_label(const field_path& field, std::string_view text);
void check_dns_subdomain(const field_path& field, std::string_view text);
void check_labels(const field_path& field, const string_map<std::string>& labels);
void check_selector(const field_path& field, const meta_v1::label_selector& selector);
void check_one_of(const field_path& field, std::string_view text,
                  std::initializer_list<std::string_view> allowed);
void check_port(const field_path& field, std::int64_t number);
void check_port(const field_path& field, const int_or_string& value);
void check_not_negative(const field_path& field, std::int64_t value);
// Name (label: a DNS label, else a subdomain), namespace, labels and annotations.
void check_metadata(const meta_v1::object_meta& metadata, bool label = false);

// What the pod's volumes are called besides those in its spec: the claim templates of a
// StatefulSet.
void check_pod_spec(const field_path& field, const core_v1::pod_spec& spec,
                    const std::vector<std::string>& further_volumes = {});
void check_template(const field_path& field, const core_v1::pod_template_spec& value,
                    const std::vector<std::string>& further_volumes = {});

}  // namespace mizzen::kubernetes::detail
