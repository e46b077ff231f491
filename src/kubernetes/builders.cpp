#include "core/base64.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/builders.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::kubernetes {

namespace {

// Volume names are DNS labels, what they hold may have dots.
std::string volume_name(std::string name) {
  std::replace(name.begin(), name.end(), '.', '-');
  return name;
}

core_v1::volume volume_of(std::string name) {
  core_v1::volume volume;
  volume.name = volume_name(std::move(name));
  return volume;
}

std::vector<core_v1::key_to_path> items_of(std::vector<std::string> keys) {
  std::vector<core_v1::key_to_path> items;
  for (auto& key : keys) {
    auto& item = items.emplace_back();
    item.path = key;
    item.key = std::move(key);
  }
  return items;
}

core_v1::pod_affinity_term affinity_term(const string_map<std::string>& labels,
                                         std::string topology) {
  core_v1::pod_affinity_term term;
  term.label_selector.or_emplace().match_labels = labels;
  term.topology_key = std::move(topology);
  return term;
}

// Affinity and anti-affinity have the same two lists.
void add_affinity(auto& to, core_v1::pod_affinity_term term, bool required) {
  constexpr std::int32_t most_wanted = 100;
  if (required) {
    to.required_during_scheduling_ignored_during_execution.push_back(std::move(term));
  } else {
    auto& wish = to.preferred_during_scheduling_ignored_during_execution.emplace_back();
    wish.weight = most_wanted;
    wish.pod_affinity_term = std::move(term);
  }
}

core_v1::node_selector_requirement node_requirement(std::string key, std::string op,
                                                    std::vector<std::string> values) {
  core_v1::node_selector_requirement requirement;
  requirement.key = std::move(key);
  requirement.operator_ = std::move(op);
  requirement.values = std::move(values);
  return requirement;
}

}  // namespace

namespace volumes {

core_v1::volume named(std::string name, core_v1::volume volume) {
  volume.name = std::move(name);
  return volume;
}

core_v1::volume claim(std::string claim, bool read_only) {
  auto volume = volume_of(claim);
  auto& source = volume.persistent_volume_claim.or_emplace();
  source.claim_name = std::move(claim);
  source.read_only = read_only;
  return volume;
}

core_v1::volume empty_dir(std::string name, std::optional<quantity> size) {
  auto volume = volume_of(std::move(name));
  volume.empty_dir.or_emplace().size_limit = std::move(size);
  return volume;
}

core_v1::volume shared_memory(std::optional<quantity> size) {
  auto volume = empty_dir("shared-memory", std::move(size));
  volume.empty_dir->medium = "Memory";
  return volume;
}

core_v1::volume config_map(std::string name, std::vector<std::string> keys) {
  auto volume = volume_of(name);
  auto& source = volume.config_map.or_emplace();
  source.name = std::move(name);
  source.items = items_of(std::move(keys));
  return volume;
}

core_v1::volume secret(std::string name, std::vector<std::string> keys) {
  auto volume = volume_of(name);
  auto& source = volume.secret.or_emplace();
  source.secret_name = std::move(name);
  source.items = items_of(std::move(keys));
  return volume;
}

core_v1::volume host_path(std::string name, std::string path, std::string type) {
  auto volume = volume_of(std::move(name));
  auto& source = volume.host_path.or_emplace();
  source.path = std::move(path);
  if (!type.empty()) source.type = std::move(type);
  return volume;
}

core_v1::volume projected(std::string name, std::vector<core_v1::volume_projection> sources) {
  auto volume = volume_of(std::move(name));
  volume.projected.or_emplace().sources = std::move(sources);
  return volume;
}

core_v1::volume_projection projected_config_map(std::string name) {
  core_v1::volume_projection projection;
  projection.config_map.or_emplace().name = std::move(name);
  return projection;
}

core_v1::volume_projection projected_secret(std::string name) {
  core_v1::volume_projection projection;
  projection.secret.or_emplace().name = std::move(name);
  return projection;
}

core_v1::volume_projection projected_token(std::string audience, std::string path,
                                           std::int64_t seconds) {
  core_v1::volume_projection projection;
  auto& token = projection.service_account_token.or_emplace();
  token.audience = std::move(audience);
  token.path = std::move(path);
  token.expiration_seconds = seconds;
  return projection;
}

}  // namespace volumes

core_v1::probe http_probe(std::string path, int_or_string port) {
  core_v1::probe probe;
  auto& get = probe.http_get.or_emplace();
  get.path = std::move(path);
  get.port = std::move(port);
  return probe;
}

core_v1::probe tcp_probe(int_or_string port) {
  core_v1::probe probe;
  probe.tcp_socket.or_emplace().port = std::move(port);
  return probe;
}

core_v1::probe command_probe(std::vector<std::string> command) {
  core_v1::probe probe;
  probe.exec.or_emplace().command = std::move(command);
  return probe;
}

namespace detail {

void set_env(core_v1::container& to, core_v1::env_var variable) {
  const auto same = std::find_if(to.env.begin(), to.env.end(),
                                 [&](const auto& other) { return other.name == variable.name; });
  if (same == to.env.end()) {
    to.env.push_back(std::move(variable));
  } else {
    *same = std::move(variable);
  }
}

void set_env_source(core_v1::container& to, std::string name, core_v1::env_var_source source) {
  core_v1::env_var variable;
  variable.name = std::move(name);
  variable.value_from = std::move(source);
  set_env(to, std::move(variable));
}

core_v1::env_var_source from_secret(std::string name, std::string key, bool optional) {
  core_v1::env_var_source source;
  auto& selector = source.secret_key_ref.or_emplace();
  selector.name = std::move(name);
  selector.key = std::move(key);
  if (optional) selector.optional = true;
  return source;
}

core_v1::env_var_source from_config_map(std::string name, std::string key, bool optional) {
  core_v1::env_var_source source;
  auto& selector = source.config_map_key_ref.or_emplace();
  selector.name = std::move(name);
  selector.key = std::move(key);
  if (optional) selector.optional = true;
  return source;
}

core_v1::env_var_source from_field(std::string path) {
  core_v1::env_var_source source;
  source.field_ref.or_emplace().field_path = std::move(path);
  return source;
}

void add_mount(core_v1::container& to, std::string path, std::string_view volume,
               const mount_options& options) {
  auto& mount = to.volume_mounts.emplace_back();
  mount.name = volume;
  mount.mount_path = std::move(path);
  mount.read_only = options.read_only;
  mount.sub_path = options.sub_path;
}

void add_volume(std::vector<core_v1::volume>& to, core_v1::volume volume) {
  for (const auto& other : to) {
    if (other.name != volume.name) continue;
    if (other == volume) return;
    throw error(errc::invalid_argument, "volumes",
                "two different volumes are called '" + volume.name +
                    "': name one of them with volumes::named()");
  }
  to.push_back(std::move(volume));
}

core_v1::security_context restricted_container() {
  core_v1::security_context context;
  context.allow_privilege_escalation = false;
  context.run_as_non_root = true;
  context.capabilities.or_emplace().drop = {"ALL"};
  context.seccomp_profile.or_emplace().type = "RuntimeDefault";
  return context;
}

void add_toleration(core_v1::pod_spec& to, std::string key, std::string value, std::string effect) {
  auto& toleration = to.tolerations.emplace_back();
  toleration.key = std::move(key);
  toleration.operator_ = value.empty() ? "Exists" : "Equal";
  toleration.value = std::move(value);
  toleration.effect = std::move(effect);
}

void require_node(core_v1::pod_spec& to, std::string key, std::string op,
                  std::vector<std::string> values) {
  auto& terms = to.affinity.or_emplace()
                    .node_affinity.or_emplace()
                    .required_during_scheduling_ignored_during_execution.or_emplace()
                    .node_selector_terms;
  if (terms.empty()) terms.emplace_back();  // terms are alternatives, what is in one must all hold
  terms.front().match_expressions.push_back(
      node_requirement(std::move(key), std::move(op), std::move(values)));
}

void prefer_node(core_v1::pod_spec& to, std::int32_t weight, std::string key, std::string op,
                 std::vector<std::string> values) {
  auto& wish = to.affinity.or_emplace()
                   .node_affinity.or_emplace()
                   .preferred_during_scheduling_ignored_during_execution.emplace_back();
  wish.weight = weight;
  wish.preference.match_expressions.push_back(
      node_requirement(std::move(key), std::move(op), std::move(values)));
}

void keep_apart(core_v1::pod_spec& to, const string_map<std::string>& labels, std::string topology,
                bool required) {
  add_affinity(to.affinity.or_emplace().pod_anti_affinity.or_emplace(),
               affinity_term(labels, std::move(topology)), required);
}

void keep_together(core_v1::pod_spec& to, const string_map<std::string>& labels,
                   std::string topology, bool required) {
  add_affinity(to.affinity.or_emplace().pod_affinity.or_emplace(),
               affinity_term(labels, std::move(topology)), required);
}

void spread(core_v1::pod_spec& to, const string_map<std::string>& labels, std::string topology,
            const spread_options& options) {
  auto& constraint = to.topology_spread_constraints.emplace_back();
  constraint.max_skew = options.max_skew;
  constraint.topology_key = std::move(topology);
  constraint.when_unsatisfiable = options.required ? "DoNotSchedule" : "ScheduleAnyway";
  constraint.label_selector.or_emplace().match_labels = labels;
}

void add_container(core_v1::pod_spec& to, const container& from) {
  if (to.containers.empty()) to.containers.emplace_back().name = "main";  // stays the first one
  to.containers.push_back(from.object());
  for (const auto& volume : from.volume_list()) add_volume(to.volumes, volume);
}

void add_init_container(core_v1::pod_spec& to, const container& from, bool sidecar) {
  to.init_containers.push_back(from.object());
  if (sidecar) to.init_containers.back().restart_policy = "Always";
  for (const auto& volume : from.volume_list()) add_volume(to.volumes, volume);
}

void make_restricted(core_v1::pod_spec& to) {
  if (to.containers.empty()) to.containers.emplace_back().name = "main";
  auto& context = to.security_context.or_emplace();
  context.run_as_non_root = true;
  context.seccomp_profile.or_emplace().type = "RuntimeDefault";
  for (auto& one : to.containers) one.security_context = restricted_container();
  for (auto& one : to.init_containers) one.security_context = restricted_container();
}

void add_exit_code_rule(batch_v1::job_spec& to, std::string action, std::vector<std::int32_t> codes,
                        std::string op) {
  std::sort(codes.begin(), codes.end());  // as the API demands
  auto& rule = to.pod_failure_policy.or_emplace().rules.emplace_back();
  rule.action = std::move(action);
  auto& requirement = rule.on_exit_codes.or_emplace();
  requirement.operator_ = std::move(op);
  requirement.values = std::move(codes);
}

void ignore_disruptions(batch_v1::job_spec& to) {
  auto& rule = to.pod_failure_policy.or_emplace().rules.emplace_back();
  rule.action = "Ignore";
  auto& condition = rule.on_pod_conditions.emplace_back();
  condition.type = "DisruptionTarget";
  condition.status = "True";
}

void add_success_rule(batch_v1::job_spec& to, std::string indexes, std::int32_t count) {
  auto& rule = to.success_policy.or_emplace().rules.emplace_back();
  if (!indexes.empty()) rule.succeeded_indexes = std::move(indexes);
  if (count != 0) rule.succeeded_count = count;
}

}  // namespace detail

stateful_set& stateful_set::claim(std::string name, quantity size, std::string storage_class,
                                  std::string access_mode) {
  auto& claim = object_.spec.volume_claim_templates.emplace_back();
  claim.metadata.name = std::move(name);
  claim.spec.access_modes = {std::move(access_mode)};
  claim.spec.resources.requests.insert_or_assign("storage", std::move(size));
  if (!storage_class.empty()) claim.spec.storage_class_name = std::move(storage_class);
  return *this;
}

secret& secret::registry(std::string_view server, std::string_view user,
                         std::string_view password) {
  json login = {{"username", user}, {"password", password}};
  login["auth"] = mizzen::detail::base64_encode(std::string(user) + ':' + std::string(password));
  json config;
  config["auths"][std::string(server)] = std::move(login);
  object_.type = "kubernetes.io/dockerconfigjson";
  return set(".dockerconfigjson", config.dump());
}

secret& secret::tls(std::string certificate, std::string key) {
  object_.type = "kubernetes.io/tls";
  return set("tls.crt", std::move(certificate)).set("tls.key", std::move(key));
}

horizontal_pod_autoscaler& horizontal_pod_autoscaler::utilization(std::string resource,
                                                                  std::int32_t percent) {
  auto& metric = object_.spec.metrics.emplace_back();
  metric.type = "Resource";
  auto& source = metric.resource.or_emplace();
  source.name = std::move(resource);
  source.target.type = "Utilization";
  source.target.average_utilization = percent;
  return *this;
}

horizontal_pod_autoscaler& horizontal_pod_autoscaler::pods_metric(std::string name,
                                                                  quantity average) {
  auto& metric = object_.spec.metrics.emplace_back();
  metric.type = "Pods";
  auto& source = metric.pods.or_emplace();
  source.metric.name = std::move(name);
  source.target.type = "AverageValue";
  source.target.average_value = std::move(average);
  return *this;
}

}  // namespace mizzen::kubernetes
