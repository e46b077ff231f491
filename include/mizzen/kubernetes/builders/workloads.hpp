// Deployments and StatefulSets.
#pragma once

#include <mizzen/kubernetes/builders/object.hpp>
#include <mizzen/kubernetes/builders/pod.hpp>
#include <mizzen/kubernetes/int_or_string.hpp>
#include <mizzen/kubernetes/types/apps_v1.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace mizzen::kubernetes {

// What Deployments and StatefulSets share. The pods are those with the label
// app.kubernetes.io/name=<name>, unless selects() says otherwise. Self brings workload_spec().
template <class Self>
class workload_setters : public pod_setters<Self> {
 public:
  Self& replicas(std::int32_t value) {
    self().workload_spec().replicas = value;
    return self();
  }
  // How its pods are told from others, instead of by name; also becomes their labels.
  Self& selects(const string_map<std::string>& labels) {
    auto& spec = self().workload_spec();
    auto& selector = spec.selector.or_emplace().match_labels;
    for (const auto& [key, value] : selector) spec.template_.metadata.labels.erase(key);
    selector = labels;
    for (const auto& [key, value] : labels) this->pod_label(key, value);
    return self();
  }
  // Seconds that a pod must have been ready before it counts.
  Self& min_ready_seconds(std::int32_t value) {
    self().workload_spec().min_ready_seconds = value;
    return self();
  }
  // Old revisions that are kept for a rollback (10 if not set).
  Self& revision_history(std::int32_t value) {
    self().workload_spec().revision_history_limit = value;
    return self();
  }

  // For pod_setters.
  core_v1::pod_spec& pod_spec() { return self().workload_spec().template_.spec; }
  meta_v1::object_meta& pod_metadata() { return self().workload_spec().template_.metadata; }

 protected:
  workload_setters() = default;
  ~workload_setters() = default;

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }
};

// `deployment{"web"}.image("nginx:1.27").port(80).replicas(3)`.
class deployment : public object_builder<deployment, apps_v1::deployment>,
                   public workload_setters<deployment> {
 public:
  explicit deployment(std::string name) : object_builder(name) {
    selects({{"app.kubernetes.io/name", std::move(name)}});
  }

  apps_v1::deployment_spec& workload_spec() noexcept { return object_.spec; }

  // Pods beyond, and fewer than, the replicas while it rolls: a number or "25%".
  deployment& rolling(int_or_string max_surge, int_or_string max_unavailable) {
    auto& strategy = object_.spec.strategy;
    strategy.type = "RollingUpdate";
    auto& rolling = strategy.rolling_update.or_emplace();
    rolling.max_surge = std::move(max_surge);
    rolling.max_unavailable = std::move(max_unavailable);
    return *this;
  }
  // All old pods end before the first new one starts.
  deployment& recreate() {
    object_.spec.strategy = {.type = "Recreate"};
    return *this;
  }
  // Seconds without progress after which the rollout is said to have failed (600 if not set).
  deployment& progress_deadline(std::int32_t seconds) {
    object_.spec.progress_deadline_seconds = seconds;
    return *this;
  }

 private:
  using object_builder<deployment, apps_v1::deployment>::self;
};

// `stateful_set{"db"}.image(img).claim("data", "10Gi").mount("/var/lib/db", "data")`.
class stateful_set : public object_builder<stateful_set, apps_v1::stateful_set>,
                     public workload_setters<stateful_set> {
 public:
  explicit stateful_set(std::string name) : object_builder(name) {
    object_.spec.service_name = name;
    selects({{"app.kubernetes.io/name", std::move(name)}});
  }

  apps_v1::stateful_set_spec& workload_spec() noexcept { return object_.spec; }

  // The headless Service that gives its pods names; the name of the StatefulSet if not set.
  stateful_set& service_name(std::string value) {
    object_.spec.service_name = std::move(value);
    return *this;
  }
  // A volume of its own for each pod, kept when the pod goes. Mount it by name.
  stateful_set& claim(std::string name, quantity size, std::string storage_class = {},
                      std::string access_mode = "ReadWriteOnce");
  // Pods start and end all at once rather than in order.
  stateful_set& parallel() {
    object_.spec.pod_management_policy = "Parallel";
    return *this;
  }
  // Only pods from this ordinal on are updated.
  stateful_set& partition(std::int32_t from) {
    auto& strategy = object_.spec.update_strategy;
    strategy.type = "RollingUpdate";
    strategy.rolling_update.or_emplace().partition = from;
    return *this;
  }
  // Pods are updated as they are deleted, by hand.
  stateful_set& update_on_delete() {
    object_.spec.update_strategy = {.type = "OnDelete"};
    return *this;
  }

 private:
  using object_builder<stateful_set, apps_v1::stateful_set>::self;
};

}  // namespace mizzen::kubernetes
