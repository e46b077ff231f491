// Checks an object before it is sent, as far as one can without the server.
#pragma once

#include <mizzen/kubernetes/types/apps_v1.hpp>
#include <mizzen/kubernetes/types/autoscaling_v2.hpp>
#include <mizzen/kubernetes/types/batch_v1.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/types/policy_v1.hpp>
#include <mizzen/kubernetes/types/rbac_v1.hpp>

#include <string_view>

namespace mizzen::kubernetes {

// Each throws error(invalid_argument) for the first thing that the API server, or the kubelet
// later on, would refuse: a name that is no DNS name, no image, requests above limits, a mount
// without its volume, the same path or name twice, a policy that does not fit the restart policy …
// The subject is the field as the API writes it: "spec.template.spec.containers[0].image". The
// server checks more; what passes here may still be refused there. A namespace or name that is left
// to the server (empty namespace, generateName) passes.
void validate(const core_v1::pod& object);
void validate(const core_v1::service& object);
void validate(const core_v1::config_map& object);
void validate(const core_v1::secret& object);
void validate(const core_v1::persistent_volume_claim& object);
void validate(const core_v1::resource_quota& object);
void validate(const core_v1::service_account& object);
void validate(const batch_v1::job& object);
void validate(const batch_v1::cron_job& object);
void validate(const apps_v1::deployment& object);
void validate(const apps_v1::stateful_set& object);
void validate(const apps_v1::daemon_set& object);
void validate(const autoscaling_v2::horizontal_pod_autoscaler& object);
void validate(const policy_v1::pod_disruption_budget& object);
void validate(const rbac_v1::role& object);
void validate(const rbac_v1::cluster_role& object);
void validate(const rbac_v1::role_binding& object);
void validate(const rbac_v1::cluster_role_binding& object);

// The names of RFC 1123: lower-case letters, digits and '-', begun and ended by one of the first
// two; a label has at most 63 characters, a subdomain is labels joined by dots, at most 253.
bool is_dns_label(std::string_view text) noexcept;
bool is_dns_subdomain(std::string_view text) noexcept;
// [prefix/]name of labels and annotations; the value of a label.
bool is_label_key(std::string_view text) noexcept;
bool is_label_value(std::string_view text) noexcept;

}  // namespace mizzen::kubernetes
