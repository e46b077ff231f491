// Pods, and the pod template that every workload has: placement, identity, further containers.
#pragma once

#include <mizzen/kubernetes/builders/container.hpp>
#include <mizzen/kubernetes/builders/object.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

// A TPU slice as GKE names it: "tpu-v5-lite-podslice", "2x4".
struct tpu_slice {
  std::string accelerator = {};
  std::string topology = {};
};

struct spread_options {
  std::int32_t max_skew = 1;
  bool required = true;  // false: prefer it, but schedule anyway
};

namespace detail {

void add_toleration(core_v1::pod_spec& to, std::string key, std::string value, std::string effect);
void require_node(core_v1::pod_spec& to, std::string key, std::string op,
                  std::vector<std::string> values);
void prefer_node(core_v1::pod_spec& to, std::int32_t weight, std::string key, std::string op,
                 std::vector<std::string> values);
void keep_apart(core_v1::pod_spec& to, const string_map<std::string>& labels, std::string topology,
                bool required);
void keep_together(core_v1::pod_spec& to, const string_map<std::string>& labels,
                   std::string topology, bool required);
void spread(core_v1::pod_spec& to, const string_map<std::string>& labels, std::string topology,
            const spread_options& options);
void add_container(core_v1::pod_spec& to, const container& from);
void add_init_container(core_v1::pod_spec& to, const container& from, bool sidecar);
void make_restricted(core_v1::pod_spec& to);

}  // namespace detail

// The setters of a pod template. Those of container_setters set the main container, "main". Self
// brings pod_spec() and pod_metadata().
template <class Self>
class pod_setters : public container_setters<Self> {
 public:
  // Labels and annotations of the pods themselves; those of the workload are object_builder's.
  Self& pod_label(std::string_view key, std::string value) {
    self().pod_metadata().labels.insert_or_assign(key, std::move(value));
    return self();
  }
  Self& pod_annotation(std::string_view key, std::string value) {
    self().pod_metadata().annotations.insert_or_assign(key, std::move(value));
    return self();
  }

  // Where pods may run.
  Self& node_selector(std::string_view key, std::string value) {
    return with([&](auto& p) { p.node_selector.insert_or_assign(key, std::move(value)); });
  }
  // An empty value tolerates any; an empty effect ("NoSchedule" …) any too.
  Self& tolerate(std::string key, std::string value = {}, std::string effect = {}) {
    return with([&](auto& p) {
      detail::add_toleration(p, std::move(key), std::move(value), std::move(effect));
    });
  }
  // Node affinity; op: "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt". All that is required
  // must hold at once.
  Self& require_node(std::string key, std::string op, std::vector<std::string> values = {}) {
    return with([&](auto& p) {
      detail::require_node(p, std::move(key), std::move(op), std::move(values));
    });
  }
  Self& prefer_node(std::int32_t weight, std::string key, std::string op,
                    std::vector<std::string> values = {}) {
    return with([&](auto& p) {
      detail::prefer_node(p, weight, std::move(key), std::move(op), std::move(values));
    });
  }
  // Apart from, or together with, pods that have these labels; topology is the node label whose
  // values are the places: "kubernetes.io/hostname", "topology.kubernetes.io/zone".
  Self& apart_from(const string_map<std::string>& labels,
                   std::string topology = "kubernetes.io/hostname", bool required = true) {
    return with([&](auto& p) { detail::keep_apart(p, labels, std::move(topology), required); });
  }
  Self& together_with(const string_map<std::string>& labels,
                      std::string topology = "kubernetes.io/hostname", bool required = true) {
    return with([&](auto& p) { detail::keep_together(p, labels, std::move(topology), required); });
  }
  // Pods with these labels evenly over the places.
  Self& spread(const string_map<std::string>& labels,
               std::string topology = "topology.kubernetes.io/zone",
               const spread_options& options = {}) {
    return with([&](auto& p) { detail::spread(p, labels, std::move(topology), options); });
  }
  // Google TPU chips of each pod, on nodes of that slice.
  Self& tpus(std::int64_t chips, const tpu_slice& slice = {}) {
    if (!slice.accelerator.empty()) {
      node_selector("cloud.google.com/gke-tpu-accelerator", slice.accelerator);
    }
    if (!slice.topology.empty()) {
      node_selector("cloud.google.com/gke-tpu-topology", slice.topology);
    }
    return this->limit("google.com/tpu", quantity::of(chips));
  }
  Self& priority_class(std::string value) {
    return with([&](auto& p) { p.priority_class_name = std::move(value); });
  }
  Self& runtime_class(std::string value) {
    return with([&](auto& p) { p.runtime_class_name = std::move(value); });
  }
  Self& scheduler(std::string value) {
    return with([&](auto& p) { p.scheduler_name = std::move(value); });
  }
  Self& host_network(bool value = true) {
    return with([&](auto& p) { p.host_network = value; });
  }

  // Who pods are.
  Self& service_account(std::string value) {
    return with([&](auto& p) { p.service_account_name = std::move(value); });
  }
  Self& mount_service_account_token(bool value) {
    return with([&](auto& p) { p.automount_service_account_token = value; });
  }
  Self& image_pull_secret(std::string name) {
    return with([&](auto& p) { p.image_pull_secrets.emplace_back().name = std::move(name); });
  }
  Self& pod_security(core_v1::pod_security_context value) {
    return with([&](auto& p) { p.security_context = std::move(value); });
  }
  // The pod and all containers that it has so far as the Pod Security Standard "restricted" asks.
  Self& restricted() {
    return with([](auto& p) { detail::make_restricted(p); });
  }

  // "Never", "OnFailure" or "Always".
  Self& restart_policy(std::string value) {
    return with([&](auto& p) { p.restart_policy = std::move(value); });
  }
  Self& termination_grace_period(std::int64_t seconds) {
    return with([&](auto& p) { p.termination_grace_period_seconds = seconds; });
  }

  // Further containers, with their volumes: before the main one, beside it for as long as it
  // runs (an init container that restarts: it does not keep a Job from completing), or equal to it.
  Self& init_container(const container& value) {
    return with([&](auto& p) { detail::add_init_container(p, value, false); });
  }
  Self& sidecar(const container& value) {
    return with([&](auto& p) { detail::add_init_container(p, value, true); });
  }
  Self& also(const container& value) {
    return with([&](auto& p) { detail::add_container(p, value); });
  }

  // For container_setters.
  core_v1::container& main_container() {
    auto& containers = self().pod_spec().containers;
    if (containers.empty()) containers.emplace_back().name = "main";
    return containers.front();
  }
  std::vector<core_v1::volume>& volume_list() { return self().pod_spec().volumes; }

 protected:
  ~pod_setters() = default;

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }

  template <class What>
  Self& with(What&& what) {
    what(self().pod_spec());
    return self();
  }
};

// `pod{"shell"}.image("debian:12").command({"sleep", "60"})`.
class pod : public object_builder<pod, core_v1::pod>, public pod_setters<pod> {
 public:
  explicit pod(std::string name) : object_builder(std::move(name)) {}

  core_v1::pod_spec& pod_spec() noexcept { return object_.spec; }
  meta_v1::object_meta& pod_metadata() noexcept { return object_.metadata; }

  // Holds the pod back until who set the gate removes it.
  pod& scheduling_gate(std::string name) {
    object_.spec.scheduling_gates.emplace_back().name = std::move(name);
    return *this;
  }

 private:
  using object_builder<pod, core_v1::pod>::self;
};

}  // namespace mizzen::kubernetes
