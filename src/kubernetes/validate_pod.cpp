#include "kubernetes/validate_pod.hpp"

#include <mizzen/kubernetes/validate.hpp>

#include <algorithm>
#include <set>

namespace mizzen::kubernetes {

namespace {

constexpr std::size_t longest_label = 63;
constexpr std::size_t longest_subdomain = 253;
constexpr std::size_t most_annotations = std::size_t{256} << 10;

bool is_lower_alphanumeric(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_alphanumeric(char c) noexcept { return is_lower_alphanumeric(c) || (c >= 'A' && c <= 'Z'); }

// Letters and digits at both ends, between them also what `inner` allows.
template <class End, class Inner>
bool is_word(std::string_view text, End end, Inner inner) noexcept {
  return !text.empty() && text.size() <= longest_label && end(text.front()) && end(text.back()) &&
         std::all_of(text.begin(), text.end(), inner);
}

}  // namespace

bool is_dns_label(std::string_view text) noexcept {
  return is_word(text, is_lower_alphanumeric,
                 [](char c) { return is_lower_alphanumeric(c) || c == '-'; });
}

bool is_dns_subdomain(std::string_view text) noexcept {
  if (text.empty() || text.size() > longest_subdomain) return false;
  // Labels of a subdomain may be longer than 63 characters, as the server has it.
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('.', begin), text.size());
    const auto label = text.substr(begin, end - begin);
    const bool sound = !label.empty() && is_lower_alphanumeric(label.front()) &&
                       is_lower_alphanumeric(label.back()) &&
                       std::all_of(label.begin(), label.end(),
                                   [](char c) { return is_lower_alphanumeric(c) || c == '-'; });
    if (!sound) return false;
    begin = end + 1;
  }
  return true;
}

bool is_label_value(std::string_view text) noexcept {
  return text.empty() || is_word(text, is_alphanumeric, [](char c) {
           return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_label_key(std::string_view text) noexcept {
  if (const auto slash = text.find('/'); slash != text.npos) {
    if (!is_dns_subdomain(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return !text.empty() && is_label_value(text);
}

namespace detail {

std::string field_path::text() const {
  auto text = parent_ != nullptr ? parent_->text() : std::string();
  if (index_ >= 0) return text + '[' + std::to_string(index_) + ']';
  if (!text.empty()) text += '.';
  return text + std::string(name_);
}

void refuse(const field_path& field, const std::string& message) {
  throw error(errc::invalid_argument, field.text(), message);
}

void check_dns_label(const field_path& field, std::string_view text) {
  if (is_dns_label(text)) return;
  refuse(field, "'" + std::string(text) +
                    "' must be 1 to 63 lower-case letters, digits and '-', beginning and ending "
                    "with a letter or digit");
}

void check_dns_subdomain(const field_path& field, std::string_view text) {
  if (is_dns_subdomain(text)) return;
  refuse(field, "'" + std::string(text) +
                    "' must be 1 to 253 lower-case letters, digits, '-' and '.', each part "
                    "beginning and ending with a letter or digit");
}

void check_labels(const field_path& field, const string_map<std::string>& labels) {
  for (const auto& [key, value] : labels) {
    if (!is_label_key(key)) {
      refuse(field, "'" + key +
                        "' is no label name: [domain/]name, at most 63 letters, digits, "
                        "'-', '_' and '.' in the name");
    }
    if (!is_label_value(value)) {
      refuse({field, key}, "'" + value +
                               "' is no label value: at most 63 letters, digits, '-', '_' "
                               "and '.', beginning and ending with a letter or digit");
    }
  }
}

void check_selector(const field_path& field, const meta_v1::label_selector& selector) {
  check_labels({field, "matchLabels"}, selector.match_labels);
  const field_path expressions{field, "matchExpressions"};
  for (std::size_t i = 0; i < selector.match_expressions.size(); ++i) {
    const auto& expression = selector.match_expressions[i];
    const field_path at{expressions, i};
    check_one_of({at, "operator"}, expression.operator_, {"In", "NotIn", "Exists", "DoesNotExist"});
    const bool takes_values = expression.operator_ == "In" || expression.operator_ == "NotIn";
    if (takes_values == expression.values.empty()) {
      refuse({at, "values"}, takes_values ? "In and NotIn need at least one value"
                                          : "Exists and DoesNotExist take no values");
    }
  }
}

void check_one_of(const field_path& field, std::string_view text,
                  std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), text) != allowed.end()) return;
  std::string list;
  for (const auto one : allowed) {
    if (one.empty()) continue;
    if (!list.empty()) list += ", ";
    list += one;
  }
  refuse(field, "'" + std::string(text) + "' is none of " + list);
}

void check_port(const field_path& field, std::int64_t number) {
  if (number < 1 || number > 65535) {
    refuse(field, std::to_string(number) + " is no port: 1 to 65535");
  }
}

void check_port(const field_path& field, const int_or_string& value) {
  if (!value.is_string()) return check_port(field, value.number());
  const auto& name = value.text();
  if (name.size() > 15 || !is_dns_label(name)) {
    refuse(field, "'" + name + "' is no port name: at most 15 lower-case letters, digits and '-'");
  }
}

void check_not_negative(const field_path& field, std::int64_t value) {
  if (value < 0) refuse(field, std::to_string(value) + " must not be negative");
}

void check_metadata(const meta_v1::object_meta& metadata, bool label) {
  if (metadata.name.empty()) {
    if (metadata.generate_name.empty()) refuse("metadata.name", "the object needs a name");
  } else if (label) {
    check_dns_label("metadata.name", metadata.name);
  } else {
    check_dns_subdomain("metadata.name", metadata.name);
  }
  if (!metadata.namespace_.empty()) check_dns_label("metadata.namespace", metadata.namespace_);
  check_labels("metadata.labels", metadata.labels);
  std::size_t size = 0;
  for (const auto& [key, value] : metadata.annotations) {
    if (!is_label_key(key)) {
      refuse("metadata.annotations", "'" + key + "' is no annotation name: [domain/]name");
    }
    size += key.size() + value.size();
  }
  if (size > most_annotations) {
    refuse("metadata.annotations",
           "they have " + std::to_string(size) + " bytes, of 262144 allowed");
  }
}

namespace {

void check_resources(const field_path& field, const core_v1::resource_requirements& resources) {
  for (const auto& [name, amount] : resources.requests) {
    const field_path at{field, "requests"};
    if (amount.sign() < 0) refuse({at, name}, amount.to_string() + " must not be negative");
    const auto limit = resources.limits.find(name);
    if (limit != resources.limits.end() && amount > limit->second) {
      refuse({at, name},
             amount.to_string() + " is more than the limit, " + limit->second.to_string());
    }
  }
  const field_path at{field, "limits"};
  for (const auto& [name, amount] : resources.limits) {
    if (amount.sign() < 0) refuse({at, name}, amount.to_string() + " must not be negative");
    // Resources of devices come whole, and cannot be overcommitted.
    if (name.find('/') == name.npos) continue;
    if (quantity::of(amount.value()) != amount) {
      refuse({at, name}, amount.to_string() + " must be a whole number");
    }
    const auto request = resources.requests.find(name);
    if (request != resources.requests.end() && request->second != amount) {
      refuse({at, name}, "must equal the request, " + request->second.to_string());
    }
  }
  for (const auto& [name, amount] : resources.requests) {
    if (name.find('/') != name.npos && !resources.limits.contains(name)) {
      refuse({{field, "requests"}, name},
             "a device that is requested needs a limit of the same amount");
    }
  }
}

void check_env(const field_path& field, const core_v1::container& container) {
  const field_path list{field, "env"};
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < container.env.size(); ++i) {
    const auto& variable = container.env[i];
    const field_path at{list, i};
    const auto sound = [](char c) { return c >= ' ' && c <= '~' && c != '='; };
    if (variable.name.empty() || !std::all_of(variable.name.begin(), variable.name.end(), sound)) {
      refuse({at, "name"}, "'" + variable.name + "' must be printable ASCII without '='");
    }
    if (!names.insert(variable.name).second) {
      refuse({at, "name"}, "'" + variable.name + "' is set twice");
    }
    if (!variable.value_from) continue;
    const field_path from{at, "valueFrom"};
    const auto& source = *variable.value_from;
    if (!variable.value.empty())
      refuse(from, "a variable has a value or a source of one, not both");
    const int sources = source.field_ref.has_value() + source.resource_field_ref.has_value() +
                        source.config_map_key_ref.has_value() + source.secret_key_ref.has_value() +
                        source.file_key_ref.has_value();
    if (sources != 1) refuse(from, "needs exactly one source");
    if (source.secret_key_ref && source.secret_key_ref->key.empty()) {
      refuse(from, "secretKeyRef needs a key");
    }
    if (source.config_map_key_ref && source.config_map_key_ref->key.empty()) {
      refuse(from, "configMapKeyRef needs a key");
    }
  }
}

void check_mounts(const field_path& field, const core_v1::container& container,
                  const std::set<std::string_view>& volumes) {
  const field_path list{field, "volumeMounts"};
  std::set<std::string_view> paths;
  for (std::size_t i = 0; i < container.volume_mounts.size(); ++i) {
    const auto& mount = container.volume_mounts[i];
    const field_path at{list, i};
    if (!volumes.contains(mount.name)) {
      refuse({at, "name"}, "the pod has no volume '" + mount.name + "'");
    }
    if (!mount.mount_path.starts_with('/')) {
      refuse({at, "mountPath"}, "'" + mount.mount_path + "' must be an absolute path");
    }
    if (!paths.insert(mount.mount_path).second) {
      refuse({at, "mountPath"}, "'" + mount.mount_path + "' is mounted twice");
    }
    const std::string slashed = '/' + mount.sub_path + '/';
    if (mount.sub_path.starts_with('/') || slashed.find("/../") != slashed.npos) {
      refuse({at, "subPath"}, "'" + mount.sub_path + "' must be relative and without '..'");
    }
  }
}

void check_container(const field_path& field, const core_v1::container& container,
                     const std::set<std::string_view>& volumes) {
  check_dns_label({field, "name"}, container.name);
  if (container.image.empty()) refuse({field, "image"}, "the container needs an image");
  if (container.image.find_first_of(" \t\r\n") != container.image.npos) {
    refuse({field, "image"}, "'" + container.image + "' has white space in it");
  }
  check_one_of({field, "imagePullPolicy"}, container.image_pull_policy,
               {"", "Always", "IfNotPresent", "Never"});
  check_resources({field, "resources"}, container.resources);
  check_env(field, container);
  check_mounts(field, container, volumes);
  const field_path ports{field, "ports"};
  std::set<std::string_view> port_names;
  for (std::size_t i = 0; i < container.ports.size(); ++i) {
    const auto& port = container.ports[i];
    const field_path at{ports, i};
    check_port({at, "containerPort"}, port.container_port);
    if (port.host_port != 0) check_port({at, "hostPort"}, port.host_port);
    check_one_of({at, "protocol"}, port.protocol, {"", "TCP", "UDP", "SCTP"});
    if (port.name.empty()) continue;
    check_port({at, "name"}, int_or_string(port.name));
    if (!port_names.insert(port.name).second)
      refuse({at, "name"}, "'" + port.name + "' comes twice");
  }
}

std::set<std::string_view> check_volumes(const field_path& field, const core_v1::pod_spec& spec) {
  std::set<std::string_view> names;
  const field_path list{field, "volumes"};
  for (std::size_t i = 0; i < spec.volumes.size(); ++i) {
    const auto& volume = spec.volumes[i];
    const field_path at{list, i};
    check_dns_label({at, "name"}, volume.name);
    if (!names.insert(volume.name).second) {
      refuse({at, "name"}, "'" + volume.name + "' comes twice");
    }
    if (volume.persistent_volume_claim) {
      check_dns_subdomain({at, "persistentVolumeClaim.claimName"},
                          volume.persistent_volume_claim->claim_name);
    }
    if (volume.config_map) check_dns_subdomain({at, "configMap.name"}, volume.config_map->name);
    if (volume.secret) check_dns_subdomain({at, "secret.secretName"}, volume.secret->secret_name);
    if (volume.host_path && volume.host_path->path.empty()) {
      refuse({at, "hostPath.path"}, "needs a path of the node");
    }
    if (volume.empty_dir && volume.empty_dir->size_limit &&
        volume.empty_dir->size_limit->sign() < 0) {
      refuse({at, "emptyDir.sizeLimit"}, "must not be negative");
    }
  }
  return names;
}

void check_tolerations(const field_path& field, const core_v1::pod_spec& spec) {
  const field_path list{field, "tolerations"};
  for (std::size_t i = 0; i < spec.tolerations.size(); ++i) {
    const auto& toleration = spec.tolerations[i];
    const field_path at{list, i};
    check_one_of({at, "effect"}, toleration.effect,
                 {"", "NoSchedule", "PreferNoSchedule", "NoExecute"});
    if (!toleration.key.empty() && !is_label_key(toleration.key)) {
      refuse({at, "key"}, "'" + toleration.key + "' is no taint's key");
    }
    if (toleration.operator_ == "Exists" && !toleration.value.empty()) {
      refuse({at, "value"}, "must be empty where the operator is Exists");
    }
  }
}

}  // namespace

void check_pod_spec(const field_path& field, const core_v1::pod_spec& spec,
                    const std::vector<std::string>& further_volumes) {
  const field_path containers{field, "containers"};
  if (spec.containers.empty()) refuse(containers, "the pod needs a container: set its image");
  auto volumes = check_volumes(field, spec);
  volumes.insert(further_volumes.begin(), further_volumes.end());

  std::set<std::string_view> names;
  const auto check_list = [&](const field_path& list, const auto& entries) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const field_path at{list, i};
      check_container(at, entries[i], volumes);
      if (!names.insert(entries[i].name).second) {
        refuse({at, "name"}, "two containers are called '" + entries[i].name + "'");
      }
    }
  };
  check_list(containers, spec.containers);
  check_list({field, "initContainers"}, spec.init_containers);

  check_one_of({field, "restartPolicy"}, spec.restart_policy, {"", "Always", "OnFailure", "Never"});
  check_labels({field, "nodeSelector"}, spec.node_selector);
  check_tolerations(field, spec);
  if (!spec.service_account_name.empty()) {
    check_dns_subdomain({field, "serviceAccountName"}, spec.service_account_name);
  }
  if (!spec.priority_class_name.empty()) {
    check_dns_subdomain({field, "priorityClassName"}, spec.priority_class_name);
  }
  if (spec.termination_grace_period_seconds) {
    check_not_negative({field, "terminationGracePeriodSeconds"},
                       *spec.termination_grace_period_seconds);
  }
  const field_path spread{field, "topologySpreadConstraints"};
  for (std::size_t i = 0; i < spec.topology_spread_constraints.size(); ++i) {
    const auto& constraint = spec.topology_spread_constraints[i];
    const field_path at{spread, i};
    if (constraint.max_skew < 1) refuse({at, "maxSkew"}, "must be at least 1");
    if (!is_label_key(constraint.topology_key)) {
      refuse({at, "topologyKey"}, "'" + constraint.topology_key + "' is no label of nodes");
    }
  }
}

void check_template(const field_path& field, const core_v1::pod_template_spec& value,
                    const std::vector<std::string>& further_volumes) {
  check_labels({field, "metadata.labels"}, value.metadata.labels);
  check_pod_spec({field, "spec"}, value.spec, further_volumes);
}

}  // namespace detail

}  // namespace mizzen::kubernetes
