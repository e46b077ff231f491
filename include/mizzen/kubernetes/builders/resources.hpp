// What workloads stand on: Services, configuration, claims, budgets and quotas.
#pragma once

#include <mizzen/kubernetes/builders/object.hpp>
#include <mizzen/kubernetes/int_or_string.hpp>
#include <mizzen/kubernetes/quantity.hpp>
#include <mizzen/kubernetes/types/autoscaling_v2.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/types/policy_v1.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes {

// `service{"web"}.selects({{"app.kubernetes.io/name", "web"}}).port(80, 8080)`.
class service : public object_builder<service, core_v1::service> {
 public:
  explicit service(std::string name) : object_builder(std::move(name)) {}

  service& selects(string_map<std::string> labels) {
    object_.spec.selector = std::move(labels);
    return *this;
  }
  // target: the pods' port, number or name; the same number if it is not given. Several ports must
  // have names.
  service& port(std::int32_t number, std::optional<int_or_string> target = {},
                std::string name = {}, std::string protocol = {}) {
    auto& entry = object_.spec.ports.emplace_back();
    entry.port = number;
    entry.target_port = std::move(target);
    entry.name = std::move(name);
    entry.protocol = std::move(protocol);
    return *this;
  }
  // No address of its own: its name resolves to the pods, which then also have names.
  service& headless() {
    object_.spec.cluster_ip = "None";
    return *this;
  }
  // "ClusterIP", "NodePort", "LoadBalancer", "ExternalName".
  service& type(std::string value) {
    object_.spec.type = std::move(value);
    return *this;
  }
};

// `config_map{"settings"}.set("rate", "0.1")`.
class config_map : public object_builder<config_map, core_v1::config_map> {
 public:
  explicit config_map(std::string name) : object_builder(std::move(name)) {}

  config_map& set(std::string_view key, std::string text) {
    object_.data.insert_or_assign(key, std::move(text));
    return *this;
  }
  // Any bytes.
  config_map& set_binary(std::string_view key, std::string bytes) {
    object_.binary_data.insert_or_assign(key, std::move(bytes));
    return *this;
  }
  config_map& immutable(bool value = true) {
    object_.immutable = value;
    return *this;
  }
};

// `secret{"hub"}.set("token", token)`. Values are any bytes, as they are (base64 is made of them on
// the way to the server).
class secret : public object_builder<secret, core_v1::secret> {
 public:
  explicit secret(std::string name) : object_builder(std::move(name)) {}

  secret& set(std::string_view key, std::string bytes) {
    object_.data.insert_or_assign(key, std::move(bytes));
    return *this;
  }
  // "Opaque" if not set.
  secret& type(std::string value) {
    object_.type = std::move(value);
    return *this;
  }
  // For image_pull_secret().
  secret& registry(std::string_view server, std::string_view user, std::string_view password);
  // PEM.
  secret& tls(std::string certificate, std::string key);
  secret& immutable(bool value = true) {
    object_.immutable = value;
    return *this;
  }
};

// `persistent_volume_claim{"data", "100Gi"}.storage_class("ssd")`. ReadWriteOnce unless access()
// says otherwise.
class persistent_volume_claim
    : public object_builder<persistent_volume_claim, core_v1::persistent_volume_claim> {
 public:
  persistent_volume_claim(std::string name, quantity size) : object_builder(std::move(name)) {
    object_.spec.resources.requests.insert_or_assign("storage", std::move(size));
    object_.spec.access_modes = {"ReadWriteOnce"};
  }

  // "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod".
  persistent_volume_claim& access(std::string mode) {
    object_.spec.access_modes = {std::move(mode)};
    return *this;
  }
  // Empty: volumes that have no class. Not called: the cluster's default.
  persistent_volume_claim& storage_class(std::string value) {
    object_.spec.storage_class_name = std::move(value);
    return *this;
  }
  // A volume that is there already.
  persistent_volume_claim& volume(std::string name) {
    object_.spec.volume_name = std::move(name);
    return *this;
  }
};

// `horizontal_pod_autoscaler{"web"}.scales("Deployment", "web").between(2, 10).cpu(70)`.
class horizontal_pod_autoscaler
    : public object_builder<horizontal_pod_autoscaler, autoscaling_v2::horizontal_pod_autoscaler> {
 public:
  explicit horizontal_pod_autoscaler(std::string name) : object_builder(std::move(name)) {}

  horizontal_pod_autoscaler& scales(std::string kind, std::string name,
                                    std::string api_version = "apps/v1") {
    object_.spec.scale_target_ref = {
        .kind = std::move(kind), .name = std::move(name), .api_version = std::move(api_version)};
    return *this;
  }
  horizontal_pod_autoscaler& between(std::int32_t least, std::int32_t most) {
    object_.spec.min_replicas = least;
    object_.spec.max_replicas = most;
    return *this;
  }
  // Average use that is aimed at, in percent of what pods request.
  horizontal_pod_autoscaler& cpu(std::int32_t percent) { return utilization("cpu", percent); }
  horizontal_pod_autoscaler& memory(std::int32_t percent) { return utilization("memory", percent); }
  horizontal_pod_autoscaler& utilization(std::string resource, std::int32_t percent);
  // A metric of the pods themselves, on average.
  horizontal_pod_autoscaler& pods_metric(std::string name, quantity average);
};

// `pod_disruption_budget{"web"}.selects({{"app", "web"}}).min_available(1)`.
class pod_disruption_budget
    : public object_builder<pod_disruption_budget, policy_v1::pod_disruption_budget> {
 public:
  explicit pod_disruption_budget(std::string name) : object_builder(std::move(name)) {}

  pod_disruption_budget& selects(string_map<std::string> labels) {
    object_.spec.selector.or_emplace().match_labels = std::move(labels);
    return *this;
  }
  // A number or a percentage: "50%". One of the two.
  pod_disruption_budget& min_available(int_or_string value) {
    object_.spec.min_available = std::move(value);
    return *this;
  }
  pod_disruption_budget& max_unavailable(int_or_string value) {
    object_.spec.max_unavailable = std::move(value);
    return *this;
  }
};

// `resource_quota{"team"}.hard("requests.nvidia.com/gpu", 8).hard("pods", 100)`.
class resource_quota : public object_builder<resource_quota, core_v1::resource_quota> {
 public:
  explicit resource_quota(std::string name) : object_builder(std::move(name)) {}

  resource_quota& hard(std::string_view resource, quantity most) {
    object_.spec.hard.insert_or_assign(resource, std::move(most));
    return *this;
  }
  resource_quota& hard(std::string_view resource, std::int64_t most) {
    return hard(resource, quantity::of(most));
  }
  resource_quota& gpus(std::int64_t most, std::string_view resource = "nvidia.com/gpu") {
    return hard("requests." + std::string(resource), most);
  }
  // "BestEffort", "NotTerminating" …: counts only pods of this scope.
  resource_quota& scope(std::string value) {
    object_.spec.scopes.push_back(std::move(value));
    return *this;
  }
};

}  // namespace mizzen::kubernetes
