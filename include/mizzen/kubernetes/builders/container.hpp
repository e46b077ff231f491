// Containers: what runs, with which environment, resources and folders.
#pragma once

#include <mizzen/kubernetes/builders/volumes.hpp>
#include <mizzen/kubernetes/int_or_string.hpp>
#include <mizzen/kubernetes/quantity.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {

struct mount_options {
  bool read_only = false;
  std::string sub_path = {};  // of the volume; empty: its root
};

namespace detail {

// Where the setters of a container put what they are given.
void set_env(core_v1::container& to, core_v1::env_var variable);
void set_env_source(core_v1::container& to, std::string name, core_v1::env_var_source source);
core_v1::env_var_source from_secret(std::string name, std::string key, bool optional);
core_v1::env_var_source from_config_map(std::string name, std::string key, bool optional);
core_v1::env_var_source from_field(std::string path);
void add_mount(core_v1::container& to, std::string path, std::string_view volume,
               const mount_options& options);
// Adds the volume unless it is there; error(invalid_argument) if another one has its name.
void add_volume(std::vector<core_v1::volume>& to, core_v1::volume volume);

}  // namespace detail

// The setters of a container, shared by the builder `container` and by those of pods and workloads,
// where they set the main container. Self brings main_container() and volume_list().
template <class Self>
class container_setters {
 public:
  Self& image(std::string value) {
    return with([&](auto& c) { c.image = std::move(value); });
  }
  // "Always", "IfNotPresent", "Never".
  Self& image_pull_policy(std::string value) {
    return with([&](auto& c) { c.image_pull_policy = std::move(value); });
  }
  // Program and arguments. Run as they are, by no shell; empty: what the image says.
  Self& command(std::vector<std::string> value) {
    return with([&](auto& c) { c.command = std::move(value); });
  }
  Self& args(std::vector<std::string> value) {
    return with([&](auto& c) { c.args = std::move(value); });
  }
  Self& working_dir(std::string value) {
    return with([&](auto& c) { c.working_dir = std::move(value); });
  }

  // Environment. A name that was set before is set anew.
  Self& env(std::string name, std::string value) {
    return with([&](auto& c) {
      core_v1::env_var variable;
      variable.name = std::move(name);
      variable.value = std::move(value);
      detail::set_env(c, std::move(variable));
    });
  }
  Self& env_from_secret(std::string name, std::string secret, std::string key,
                        bool optional = false) {
    return with([&](auto& c) {
      detail::set_env_source(c, std::move(name),
                             detail::from_secret(std::move(secret), std::move(key), optional));
    });
  }
  Self& env_from_config_map(std::string name, std::string config_map, std::string key,
                            bool optional = false) {
    return with([&](auto& c) {
      detail::set_env_source(
          c, std::move(name),
          detail::from_config_map(std::move(config_map), std::move(key), optional));
    });
  }
  // A field of the pod: "metadata.name", "status.podIP", "metadata.labels['a']" …
  Self& env_from_field(std::string name, std::string path) {
    return with([&](auto& c) {
      detail::set_env_source(c, std::move(name), detail::from_field(std::move(path)));
    });
  }
  // Every key of a Secret or ConfigMap as a variable.
  Self& env_from_all_of_secret(std::string secret) {
    return with([&](auto& c) {
      c.env_from.emplace_back().secret_ref.or_emplace().name = std::move(secret);
    });
  }
  Self& env_from_all_of_config_map(std::string config_map) {
    return with([&](auto& c) {
      c.env_from.emplace_back().config_map_ref.or_emplace().name = std::move(config_map);
    });
  }

  // Resources. Without a limit of its own, what is requested is no limit.
  Self& request(std::string_view resource, quantity amount) {
    return with(
        [&](auto& c) { c.resources.requests.insert_or_assign(resource, std::move(amount)); });
  }
  Self& limit(std::string_view resource, quantity amount) {
    return with([&](auto& c) { c.resources.limits.insert_or_assign(resource, std::move(amount)); });
  }
  Self& cpu(quantity requested) { return request("cpu", std::move(requested)); }
  Self& cpu(quantity requested, quantity limited) {
    return request("cpu", std::move(requested)).limit("cpu", std::move(limited));
  }
  // One amount for request and limit: a container that may take more than it asked for is killed
  // when the node runs short.
  Self& memory(quantity amount) { return memory(amount, amount); }
  Self& memory(quantity requested, quantity limited) {
    return request("memory", std::move(requested)).limit("memory", std::move(limited));
  }
  // Whole GPUs, or parts by their resource name: "amd.com/gpu", "gpu.intel.com/xe",
  // "nvidia.com/mig-1g.10gb". 0 takes the limit away.
  Self& gpus(std::int64_t count, std::string_view resource = "nvidia.com/gpu") {
    if (count == 0) {
      return with([&](auto& c) { c.resources.limits.erase(resource); });
    }
    return limit(resource, quantity::of(count));
  }

  // Ports are information for people and Services; a container can listen on others too.
  Self& port(std::int32_t number, std::string name = {}, std::string protocol = {}) {
    return with([&](auto& c) {
      auto& entry = c.ports.emplace_back();
      entry.container_port = number;
      if (!name.empty()) entry.name = std::move(name);
      if (!protocol.empty()) entry.protocol = std::move(protocol);
    });
  }

  // Folders. The volume becomes one of the pod.
  Self& mount(std::string path, core_v1::volume volume, const mount_options& options = {}) {
    detail::add_mount(self().main_container(), std::move(path), volume.name, options);
    detail::add_volume(self().volume_list(), std::move(volume));
    return self();
  }
  // A volume that the pod, or a claim template of a StatefulSet, brings.
  Self& mount(std::string path, std::string_view volume, const mount_options& options = {}) {
    detail::add_mount(self().main_container(), std::move(path), volume, options);
    return self();
  }
  // /dev/shm of this size.
  Self& shared_memory(quantity size) {
    return mount("/dev/shm", volumes::shared_memory(std::move(size)));
  }

  // Security of the container.
  Self& security(core_v1::security_context value) {
    return with([&](auto& c) { c.security_context = std::move(value); });
  }
  // What the Pod Security Standard "restricted" asks of a container: no privilege escalation, no
  // capabilities, not root, the runtime's seccomp profile.
  Self& restricted();

  Self& readiness(core_v1::probe value) {
    return with([&](auto& c) { c.readiness_probe = std::move(value); });
  }
  Self& liveness(core_v1::probe value) {
    return with([&](auto& c) { c.liveness_probe = std::move(value); });
  }
  Self& startup(core_v1::probe value) {
    return with([&](auto& c) { c.startup_probe = std::move(value); });
  }

 protected:
  ~container_setters() = default;

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }

  template <class What>
  Self& with(What&& what) {
    what(self().main_container());
    return self();
  }
};

namespace detail {
core_v1::security_context restricted_container();
}

template <class Self>
Self& container_setters<Self>::restricted() {
  return security(detail::restricted_container());
}

// Probes for the setters above.
core_v1::probe http_probe(std::string path, int_or_string port);
core_v1::probe tcp_probe(int_or_string port);
core_v1::probe command_probe(std::vector<std::string> command);

// A further container of a pod: `.init_container(container{"fetch"}.image(…).mount(…))`.
class container : public container_setters<container> {
 public:
  explicit container(std::string name) { object_.name = std::move(name); }

  core_v1::container& object() noexcept { return object_; }
  const core_v1::container& object() const noexcept { return object_; }

  // For container_setters and the pods that it goes into.
  core_v1::container& main_container() noexcept { return object_; }
  std::vector<core_v1::volume>& volume_list() noexcept { return volumes_; }
  const std::vector<core_v1::volume>& volume_list() const noexcept { return volumes_; }

 private:
  core_v1::container object_ = {};
  std::vector<core_v1::volume> volumes_;
};

}  // namespace mizzen::kubernetes
