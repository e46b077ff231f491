#include "kubernetes/validate_pod.hpp"

#include <mizzen/kubernetes/validate.hpp>

#include <algorithm>
#include <set>

namespace mizzen::kubernetes {

using namespace detail;  // the checks that all kinds share

namespace {

constexpr std::size_t longest_cron_job_name = 52;  // its Jobs get 11 characters more
constexpr std::size_t largest_config = std::size_t{1} << 20;
constexpr std::int32_t most_indexes_with_limit = 100'000;

void check_failure_policy(const field_path& field, const batch_v1::job_spec& spec) {
  const field_path policy{field, "podFailurePolicy"};
  if (spec.template_.spec.restart_policy != "Never") {
    refuse(policy, "needs restartPolicy Never: else failed containers are restarted in place");
  }
  const field_path rules{policy, "rules"};
  for (std::size_t i = 0; i < spec.pod_failure_policy->rules.size(); ++i) {
    const auto& rule = spec.pod_failure_policy->rules[i];
    const field_path at{rules, i};
    check_one_of({at, "action"}, rule.action, {"FailJob", "FailIndex", "Ignore", "Count"});
    if (rule.action == "FailIndex" && !spec.backoff_limit_per_index) {
      refuse({at, "action"}, "FailIndex needs backoffLimitPerIndex");
    }
    if (rule.on_exit_codes.has_value() == !rule.on_pod_conditions.empty()) {
      refuse(at, "needs either exit codes or pod conditions");
    }
    if (!rule.on_exit_codes) continue;
    const field_path codes{at, "onExitCodes.values"};
    const auto& values = rule.on_exit_codes->values;
    if (values.empty()) refuse(codes, "needs at least one exit code");
    if (rule.on_exit_codes->operator_ == "In" &&
        std::find(values.begin(), values.end(), 0) != values.end()) {
      refuse(codes, "0 is no failure");
    }
    if (std::adjacent_find(values.begin(), values.end(), std::greater_equal<>()) != values.end()) {
      refuse(codes, "must be in ascending order, none twice");
    }
  }
}

void check_job_spec(const field_path& field, const batch_v1::job_spec& spec) {
  const auto not_negative = [&](std::string_view name, const auto& value) {
    if (value) check_not_negative({field, name}, *value);
  };
  not_negative("completions", spec.completions);
  not_negative("parallelism", spec.parallelism);
  not_negative("backoffLimit", spec.backoff_limit);
  not_negative("backoffLimitPerIndex", spec.backoff_limit_per_index);
  not_negative("maxFailedIndexes", spec.max_failed_indexes);
  not_negative("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished);
  if (spec.active_deadline_seconds && *spec.active_deadline_seconds < 1) {
    refuse({field, "activeDeadlineSeconds"}, "must be positive");
  }
  const auto mode = spec.completion_mode.value_or("");
  check_one_of({field, "completionMode"}, mode, {"", "NonIndexed", "Indexed"});
  const bool indexed = mode == "Indexed";
  if (indexed && !spec.completions) {
    refuse({field, "completions"}, "an indexed Job needs the number of its indexes");
  }
  if (!indexed && spec.backoff_limit_per_index) {
    refuse({field, "backoffLimitPerIndex"}, "needs an indexed Job");
  }
  if (spec.max_failed_indexes && !spec.backoff_limit_per_index) {
    refuse({field, "maxFailedIndexes"}, "needs backoffLimitPerIndex");
  }
  if (spec.backoff_limit_per_index && spec.completions.value_or(0) > most_indexes_with_limit) {
    refuse({field, "completions"}, "at most 100000 with backoffLimitPerIndex");
  }
  if (!indexed && spec.success_policy) refuse({field, "successPolicy"}, "needs an indexed Job");
  const field_path pod{field, "template"};
  check_template(pod, spec.template_);
  check_one_of({pod, "spec.restartPolicy"}, spec.template_.spec.restart_policy,
               {"OnFailure", "Never"});
  if (spec.pod_failure_policy) check_failure_policy(field, spec);
}

// What Deployments, StatefulSets and DaemonSets share.
void check_workload(const auto& spec, const std::vector<std::string>& further_volumes = {}) {
  if (!spec.selector ||
      (spec.selector->match_labels.empty() && spec.selector->match_expressions.empty())) {
    refuse("spec.selector", "needs labels that tell its pods from others");
  }
  check_selector("spec.selector", *spec.selector);
  for (const auto& [key, value] : spec.selector->match_labels) {
    const auto label = spec.template_.metadata.labels.find(key);
    if (label == spec.template_.metadata.labels.end() || label->second != value) {
      refuse("spec.template.metadata.labels", "must have the selector's " + key + "=" + value);
    }
  }
  check_template("spec.template", spec.template_, further_volumes);
  check_one_of("spec.template.spec.restartPolicy", spec.template_.spec.restart_policy,
               {"", "Always"});
}

void check_data(const auto& data, std::size_t& size) {
  for (const auto& [key, value] : data) {
    const auto sound = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-' || c == '_' || c == '.';
    };
    if (key.empty() || key.size() > 253 || key == "." || key.starts_with("..") ||
        !std::all_of(key.begin(), key.end(), sound)) {
      refuse("data", "'" + key + "' is no key: letters, digits, '-', '_' and '.', at most 253");
    }
    size += value.size();
  }
}

void check_size(std::size_t size) {
  if (size > largest_config) {
    refuse("data", "has " + std::to_string(size) + " bytes, of 1048576 allowed");
  }
}

void check_claim(const field_path& field, const core_v1::persistent_volume_claim_spec& spec) {
  if (spec.access_modes.empty()) refuse({field, "accessModes"}, "needs one: ReadWriteOnce …");
  for (const auto& mode : spec.access_modes) {
    check_one_of({field, "accessModes"}, mode,
                 {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"});
  }
  const auto size = spec.resources.requests.find("storage");
  if (size == spec.resources.requests.end() || size->second.sign() <= 0) {
    refuse({field, "resources.requests.storage"}, "needs a size");
  }
}

void check_rules(const std::vector<rbac_v1::policy_rule>& rules) {
  const field_path list{"rules"};
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const field_path at{list, i};
    if (rules[i].verbs.empty()) refuse({at, "verbs"}, "needs a verb: get, list, watch, create …");
    if (rules[i].non_resource_urls.empty() && rules[i].resources.empty()) {
      refuse({at, "resources"}, "needs a resource: pods, jobs …");
    }
  }
}

void check_binding(const auto& object) {
  if (object.metadata.name.empty()) refuse("metadata.name", "the object needs a name");
  if (object.role_ref.name.empty()) refuse("roleRef.name", "needs the name of a role");
  const field_path list{"subjects"};
  for (std::size_t i = 0; i < object.subjects.size(); ++i) {
    const auto& subject = object.subjects[i];
    const field_path at{list, i};
    check_one_of({at, "kind"}, subject.kind, {"User", "Group", "ServiceAccount"});
    if (subject.name.empty()) refuse({at, "name"}, "needs a name");
    if (subject.kind == "ServiceAccount" && subject.namespace_.empty()) {
      refuse({at, "namespace"}, "a service account is one of a namespace");
    }
  }
}

// Five fields of digits, names and * , - /, or one of cron's words; what the fields mean is left to
// the server.
bool is_schedule(std::string_view text) {
  if (text.starts_with('@')) return text.size() > 1 && text.find(' ') == text.npos;
  int fields = 0;
  bool in_field = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t';
    if (!space && !in_field) ++fields;
    in_field = !space;
    const bool sound = space || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                       (c >= 'a' && c <= 'z') ||
                       std::string_view("*,-/?").find(c) != std::string_view::npos;
    if (!sound) return false;
  }
  return fields == 5;
}

}  // namespace

void validate(const core_v1::pod& object) {
  check_metadata(object.metadata);
  check_pod_spec("spec", object.spec);
}

void validate(const batch_v1::job& object) {
  // Names of its pods and their hostnames are made of it.
  check_metadata(object.metadata, object.spec.completion_mode.value_or("") == "Indexed");
  if (object.metadata.name.size() > 63) {
    refuse("metadata.name", "a Job's name is also a label: at most 63 characters");
  }
  check_job_spec("spec", object.spec);
}

void validate(const batch_v1::cron_job& object) {
  check_metadata(object.metadata);
  if (object.metadata.name.size() > longest_cron_job_name) {
    refuse("metadata.name", "a CronJob's name has at most 52 characters");
  }
  if (!is_schedule(object.spec.schedule)) {
    refuse("spec.schedule", "'" + object.spec.schedule +
                                "' needs five fields (minute hour day month weekday), or @daily …");
  }
  check_one_of("spec.concurrencyPolicy", object.spec.concurrency_policy,
               {"", "Allow", "Forbid", "Replace"});
  if (object.spec.starting_deadline_seconds) {
    check_not_negative("spec.startingDeadlineSeconds", *object.spec.starting_deadline_seconds);
  }
  check_job_spec("spec.jobTemplate.spec", object.spec.job_template.spec);
}

void validate(const apps_v1::deployment& object) {
  check_metadata(object.metadata);
  if (object.spec.replicas) check_not_negative("spec.replicas", *object.spec.replicas);
  check_workload(object.spec);
  if (object.spec.progress_deadline_seconds &&
      *object.spec.progress_deadline_seconds <= object.spec.min_ready_seconds) {
    refuse("spec.progressDeadlineSeconds", "must be more than minReadySeconds");
  }
}

void validate(const apps_v1::stateful_set& object) {
  check_metadata(object.metadata);
  if (object.spec.replicas) check_not_negative("spec.replicas", *object.spec.replicas);
  std::vector<std::string> claims;
  const field_path list{"spec.volumeClaimTemplates"};
  for (std::size_t i = 0; i < object.spec.volume_claim_templates.size(); ++i) {
    const auto& claim = object.spec.volume_claim_templates[i];
    const field_path at{list, i};
    check_dns_label({at, "metadata.name"}, claim.metadata.name);
    check_claim({at, "spec"}, claim.spec);
    claims.push_back(claim.metadata.name);
  }
  check_workload(object.spec, claims);
}

void validate(const apps_v1::daemon_set& object) {
  check_metadata(object.metadata);
  check_workload(object.spec);
}

void validate(const core_v1::service& object) {
  check_metadata(object.metadata, true);
  const auto& spec = object.spec;
  check_one_of("spec.type", spec.type,
               {"", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"});
  check_labels("spec.selector", spec.selector);
  if (spec.ports.empty() && spec.type != "ExternalName" && spec.cluster_ip != "None") {
    refuse("spec.ports", "the Service needs a port");
  }
  const field_path list{"spec.ports"};
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < spec.ports.size(); ++i) {
    const auto& port = spec.ports[i];
    const field_path at{list, i};
    check_port({at, "port"}, port.port);
    if (port.target_port) check_port({at, "targetPort"}, *port.target_port);
    check_one_of({at, "protocol"}, port.protocol, {"", "TCP", "UDP", "SCTP"});
    if (spec.ports.size() > 1 && port.name.empty()) {
      refuse({at, "name"}, "each of several ports needs a name");
    }
    if (!port.name.empty()) check_dns_label({at, "name"}, port.name);
    if (!names.insert(port.name).second) refuse({at, "name"}, "'" + port.name + "' comes twice");
  }
}

void validate(const core_v1::config_map& object) {
  check_metadata(object.metadata);
  std::size_t size = 0;
  check_data(object.data, size);
  check_data(object.binary_data, size);
  check_size(size);
  for (const auto& [key, value] : object.data) {
    if (object.binary_data.contains(key)) refuse("binaryData", "'" + key + "' is in data too");
  }
}

void validate(const core_v1::secret& object) {
  check_metadata(object.metadata);
  std::size_t size = 0;
  check_data(object.data, size);
  check_data(object.string_data, size);
  check_size(size);
}

void validate(const core_v1::persistent_volume_claim& object) {
  check_metadata(object.metadata);
  check_claim("spec", object.spec);
}

void validate(const core_v1::resource_quota& object) {
  check_metadata(object.metadata);
  if (object.spec.hard.empty()) refuse("spec.hard", "needs a resource and how much of it");
  for (const auto& [name, most] : object.spec.hard) {
    const field_path hard{"spec.hard"};
    if (most.sign() < 0) refuse({hard, name}, most.to_string() + " must not be negative");
  }
}

void validate(const core_v1::service_account& object) { check_metadata(object.metadata); }

void validate(const autoscaling_v2::horizontal_pod_autoscaler& object) {
  check_metadata(object.metadata);
  const auto& spec = object.spec;
  if (spec.scale_target_ref.kind.empty() || spec.scale_target_ref.name.empty()) {
    refuse("spec.scaleTargetRef", "needs kind and name of what it scales");
  }
  if (spec.max_replicas < 1) refuse("spec.maxReplicas", "must be at least 1");
  if (spec.min_replicas) {
    check_not_negative("spec.minReplicas", *spec.min_replicas);
    if (*spec.min_replicas > spec.max_replicas)
      refuse("spec.minReplicas", "is more than maxReplicas");
  }
}

void validate(const policy_v1::pod_disruption_budget& object) {
  check_metadata(object.metadata);
  if (object.spec.min_available.has_value() == object.spec.max_unavailable.has_value()) {
    refuse("spec", "needs one of minAvailable and maxUnavailable");
  }
  if (object.spec.selector) check_selector("spec.selector", *object.spec.selector);
}

// Names of roles may have characters that others may not ("system:node").
void validate(const rbac_v1::role& object) {
  if (object.metadata.name.empty()) refuse("metadata.name", "the object needs a name");
  check_rules(object.rules);
}

void validate(const rbac_v1::cluster_role& object) {
  if (object.metadata.name.empty()) refuse("metadata.name", "the object needs a name");
  check_rules(object.rules);
}

void validate(const rbac_v1::role_binding& object) {
  check_binding(object);
  check_one_of("roleRef.kind", object.role_ref.kind, {"Role", "ClusterRole"});
}

void validate(const rbac_v1::cluster_role_binding& object) {
  check_binding(object);
  check_one_of("roleRef.kind", object.role_ref.kind, {"ClusterRole"});
}

}  // namespace mizzen::kubernetes
