// Why a pod has no node: the scheduler's message, checked against the nodes.
#include "kubernetes/explain.hpp"

#include <mizzen/kubernetes/scheduling_message.hpp>

#include <algorithm>
#include <map>

namespace mizzen::kubernetes::detail {

namespace {

std::string count_of(std::int64_t nodes) {
  return std::to_string(nodes) + (nodes == 1 ? " node" : " nodes");
}

void add(string_map<quantity>& to, const string_map<quantity>& amounts) {
  for (const auto& [name, amount] : amounts) to[name] += amount;
}

void raise(string_map<quantity>& to, const string_map<quantity>& amounts) {
  for (const auto& [name, amount] : amounts) {
    auto& most = to[name];
    if (amount > most) most = amount;
  }
}

// What a node has, and what is left of it.
struct room {
  std::string node;
  quantity all;
  quantity free;
};

std::vector<room> room_on_nodes(const explain_facts& facts, const std::string& resource) {
  std::map<std::string, quantity, std::less<>> used;
  for (const auto& pod : facts.placed_pods) {
    if (resource == "pods") {
      used[pod.spec.node_name] += quantity::of(1);
      continue;
    }
    const auto requests = requests_of(pod.spec);
    if (const auto found = requests.find(resource); found != requests.end()) {
      used[pod.spec.node_name] += found->second;
    }
  }
  std::vector<room> rooms;
  for (const auto& node : facts.nodes) {
    const auto all = node.status.allocatable.find(resource);
    if (all == node.status.allocatable.end()) continue;
    rooms.push_back({node.metadata.name, all->second, all->second - used[node.metadata.name]});
  }
  return rooms;
}

finding explain_resources(const core_v1::pod& pod, const explain_facts& facts,
                          const predicate_failure& failure) {
  finding result;
  result.cause = cause::resources;
  const auto requests = requests_of(pod.spec);
  const auto wanted = requests.find(failure.resource);
  const auto need = failure.resource == "pods" ? quantity::of(1)
                    : wanted == requests.end() ? quantity()
                                               : wanted->second;
  result.message = "not enough " + failure.resource + " on " + count_of(failure.nodes);
  if (need.is_zero() || facts.nodes.empty()) {
    result.hint = "ask for less, wait until other pods end, or add nodes";
    return result;
  }
  result.message = "needs " + need.canonical() + ' ' + failure.resource;
  const auto rooms = room_on_nodes(facts, failure.resource);
  if (rooms.empty() || std::all_of(rooms.begin(), rooms.end(),
                                   [](const auto& room) { return room.all.is_zero(); })) {
    result.message += "; no node of the cluster has any";
    result.hint = "add nodes that have it, or see that their device plug-in runs";
    result.final_ = true;
    return result;
  }
  const auto largest =
      std::max_element(rooms.begin(), rooms.end(), [](const auto& a, const auto& b) {
        return a.all != b.all ? a.all < b.all : a.free < b.free;
      });
  result.message += "; the largest node (" + largest->node + ") has " + largest->all.canonical() +
                    ", " + largest->free.canonical() + " free";
  if (need > largest->all) {
    result.hint =
        "ask for at most " + largest->all.canonical() + " in one pod, or add larger nodes";
    result.final_ = true;
    return result;
  }
  const auto freest = std::max_element(
      rooms.begin(), rooms.end(), [](const auto& a, const auto& b) { return a.free < b.free; });
  if (freest->node != largest->node) {
    result.message += "; the most that is free on one node is " + freest->free.canonical() + " (" +
                      freest->node + ')';
  }
  result.hint = need > freest->free ? "wait until other pods end, or add nodes"
                                    : "nodes with room are ruled out by what else is said here";
  return result;
}

bool tolerated(const core_v1::pod_spec& spec, const core_v1::taint& taint) {
  return std::any_of(spec.tolerations.begin(), spec.tolerations.end(), [&](const auto& toleration) {
    if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
    if (toleration.key.empty()) return toleration.operator_ == "Exists";
    if (toleration.key != taint.key) return false;
    return toleration.operator_ == "Exists" || toleration.value == taint.value;
  });
}

finding explain_taint(const core_v1::pod& pod, const explain_facts& facts,
                      const predicate_failure& failure) {
  finding result;
  result.cause = cause::untolerated_taint;
  std::map<std::string, std::int64_t> taints;  // as text: how many nodes
  std::string toleration;
  for (const auto& node : facts.nodes) {
    for (const auto& taint : node.spec.taints) {
      if (taint.effect == "PreferNoSchedule" || tolerated(pod.spec, taint)) continue;
      // Given by Kubernetes itself while a node is not well: nobody tolerates those.
      if (taint.key == "node.kubernetes.io/unschedulable") continue;
      const auto value = taint.value.empty() ? "" : '=' + taint.value;
      ++taints[taint.key + value + ':' + taint.effect];
      if (!taint.key.starts_with("node.kubernetes.io/")) toleration = taint.key;
    }
  }
  if (taints.empty() && !failure.taint.empty()) taints[failure.taint] = failure.nodes;
  result.message = count_of(failure.nodes) +
                   (failure.nodes == 1 ? " has a taint" : " have taints") +
                   " that the pod does not tolerate";
  std::string list;
  for (const auto& [taint, nodes] : taints) list += (list.empty() ? ": " : ", ") + taint;
  result.message += list;
  result.hint = toleration.empty() ? "tolerate the taint, or wait until the nodes are well again"
                                   : "add .tolerate(\"" + toleration + "\") if it may run there";
  return result;
}

bool matches(const core_v1::node_selector_requirement& requirement, const core_v1::node& node) {
  const auto label = node.metadata.labels.find(requirement.key);
  const bool there = label != node.metadata.labels.end();
  const bool listed = there && std::find(requirement.values.begin(), requirement.values.end(),
                                         label->second) != requirement.values.end();
  if (requirement.operator_ == "In") return listed;
  if (requirement.operator_ == "NotIn") return !listed;
  if (requirement.operator_ == "Exists") return there;
  if (requirement.operator_ == "DoesNotExist") return !there;
  return there;  // Gt and Lt: left to the scheduler
}

std::string text_of(const core_v1::node_selector_requirement& requirement) {
  if (requirement.operator_ == "In" && requirement.values.size() == 1) {
    return requirement.key + '=' + requirement.values.front();
  }
  std::string text = requirement.key + ' ' + requirement.operator_;
  for (const auto& value : requirement.values)
    text += (&value == &requirement.values.front() ? " " : ",") + value;
  return text;
}

finding explain_selector(const core_v1::pod& pod, const explain_facts& facts,
                         const predicate_failure& failure) {
  finding result;
  result.cause = cause::node_selector;
  std::vector<core_v1::node_selector_requirement> wanted;
  for (const auto& [key, value] : pod.spec.node_selector) {
    auto& requirement = wanted.emplace_back();
    requirement.key = key;
    requirement.operator_ = "In";
    requirement.values = {value};
  }
  if (pod.spec.affinity && pod.spec.affinity->node_affinity &&
      pod.spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution) {
    const auto& terms =
        pod.spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution
            ->node_selector_terms;
    // Several terms are alternatives; which one was meant cannot be told.
    if (terms.size() == 1) {
      wanted.insert(wanted.end(), terms.front().match_expressions.begin(),
                    terms.front().match_expressions.end());
    }
  }
  result.message = count_of(failure.nodes) + " did not match the pod's node selector or affinity";
  std::string list;
  for (const auto& requirement : wanted) {
    list += (list.empty() ? "" : ", ") + text_of(requirement);
    const bool any = std::any_of(facts.nodes.begin(), facts.nodes.end(),
                                 [&](const auto& node) { return matches(requirement, node); });
    if (any || facts.nodes.empty()) continue;
    result.message = "no node has the label that the pod asks for: " + text_of(requirement);
    result.hint = "correct the node selector, or add nodes with this label";
    return result;
  }
  if (!list.empty()) result.message += " (" + list + ')';
  result.hint = "correct the node selector, or label nodes that it may run on";
  return result;
}

finding explain_predicate(const core_v1::pod& pod, const explain_facts& facts,
                          const predicate_failure& failure) {
  finding result;
  result.message = count_of(failure.nodes) + ": " + failure.text;
  switch (failure.predicate) {
    case predicate::resources:
      return explain_resources(pod, facts, failure);
    case predicate::taint:
      return explain_taint(pod, facts, failure);
    case predicate::node_selector:
      return explain_selector(pod, facts, failure);
    case predicate::cordoned:
      result.cause = cause::node_cordoned;
      result.message = count_of(failure.nodes) + " cordoned (take no new pods)";
      result.hint = "kubectl uncordon, if they may be used again";
      return result;
    case predicate::node_name:
      result.cause = cause::node_selector;
      return result;
    case predicate::host_port:
      result.cause = cause::host_port;
      result.message = "its host port is taken on " + count_of(failure.nodes);
      result.hint = "do without a host port, or wait until the pod that has it ends";
      return result;
    case predicate::pod_affinity:
      result.cause = cause::pod_affinity;
      result.message =
          count_of(failure.nodes) + " ruled out by affinity to other pods: " + failure.text;
      result.hint =
          "see that the pods it wants to be near run, and that enough places are left apart from "
          "the others";
      return result;
    case predicate::topology_spread:
      result.cause = cause::topology_spread;
      result.message = count_of(failure.nodes) + " would make the spread uneven: " + failure.text;
      result.hint = "allow a larger skew, or spread with {.required = false}";
      return result;
    case predicate::volume:
      result.cause = cause::volume_placement;
      result.hint = "the volume is in another zone, or in use by another pod";
      return result;
    case predicate::claim:
    case predicate::other:
      result.cause = cause::unschedulable;
      return result;
  }
  return result;
}

// A claim that does not exist, or has no volume yet.
std::vector<finding> explain_claims(const core_v1::pod& pod, const explain_facts& facts) {
  std::vector<finding> findings;
  for (const auto& volume : pod.spec.volumes) {
    if (!volume.persistent_volume_claim) continue;
    const auto& name = volume.persistent_volume_claim->claim_name;
    finding result;
    result.object = "PersistentVolumeClaim " + name;
    const auto& missing = facts.missing_claims;
    if (std::find(missing.begin(), missing.end(), name) != missing.end()) {
      result.cause = cause::missing_claim;
      result.message = "the pod mounts the claim '" + name + "', which does not exist";
      result.hint = "create it, or correct the name";
      findings.push_back(std::move(result));
      continue;
    }
    const auto claim = std::find_if(facts.claims.begin(), facts.claims.end(),
                                    [&](const auto& each) { return each.metadata.name == name; });
    if (claim == facts.claims.end() || claim->status.phase == "Bound") continue;
    result.cause = cause::unbound_claim;
    result.message = "the claim '" + name + "' has no volume yet";
    for (const auto* reason : {"ProvisioningFailed", "FailedBinding"}) {
      const auto* event = newest_event(facts, claim->metadata.uid, reason);
      if (event == nullptr) continue;
      result.message += ": " + event->message;
      break;
    }
    result.hint = claim->spec.storage_class_name.value_or("").empty()
                      ? "give it a storage class, or create a volume for it"
                      : "see that the storage class '" + *claim->spec.storage_class_name +
                            "' exists and its provisioner runs";
    findings.push_back(std::move(result));
  }
  return findings;
}

}  // namespace

string_map<quantity> requests_of(const core_v1::pod_spec& spec) {
  // The scheduler's rule: containers and sidecars together, or an init container beside the
  // sidecars before it, whichever is more; and what the runtime class adds. A limit without a
  // request is one.
  const auto of = [](const core_v1::container& container) {
    auto amounts = container.resources.limits;
    for (const auto& [name, amount] : container.resources.requests)
      amounts.insert_or_assign(name, amount);
    return amounts;
  };
  string_map<quantity> together;
  string_map<quantity> sidecars;
  string_map<quantity> most;
  for (const auto& container : spec.containers) add(together, of(container));
  for (const auto& container : spec.init_containers) {
    if (container.restart_policy == "Always") {
      add(sidecars, of(container));
      add(together, of(container));
      raise(most, sidecars);
    } else {
      auto beside = sidecars;
      add(beside, of(container));
      raise(most, beside);
    }
  }
  raise(together, most);
  add(together, spec.overhead);
  return together;
}

std::vector<finding> explain_unscheduled(const core_v1::pod& pod, const explain_facts& facts) {
  std::vector<finding> findings;
  const core_v1::pod_condition* scheduled = nullptr;
  for (const auto& condition : pod.status.conditions) {
    if (condition.type == "PodScheduled") scheduled = &condition;
  }
  finding base;
  base.object = pod_label(pod);
  base.pods = 1;
  if (!pod.spec.scheduling_gates.empty()) {
    base.cause = cause::scheduling_gated;
    base.message = "held back by the scheduling gate";
    for (const auto& gate : pod.spec.scheduling_gates) base.message += " '" + gate.name + '\'';
    base.hint = "whoever set the gate has to remove it";
    return {std::move(base)};
  }
  if (scheduled == nullptr) {
    base.cause = cause::no_scheduler;
    base.message = "no scheduler has looked at it";
    if (!pod.spec.scheduler_name.empty() && pod.spec.scheduler_name != "default-scheduler") {
      base.message += " (it asks for '" + pod.spec.scheduler_name + "')";
    }
    base.hint = "see that this scheduler runs";
    return {std::move(base)};
  }
  for (auto& claim : explain_claims(pod, facts)) {
    claim.pods = 1;
    findings.push_back(std::move(claim));
  }
  auto message = parse_scheduling_message(scheduled->message);
  if (message && !message->failures.empty()) {
    for (const auto& failure : message->failures) {
      auto result = explain_predicate(pod, facts, failure);
      result.object = pod_label(pod);
      result.pods = 1;
      findings.push_back(std::move(result));
    }
    return findings;
  }
  if (!findings.empty()) return findings;
  const auto& reason = message ? message->pod_reason : scheduled->message;
  base.cause = contains(reason, "unbound immediate PersistentVolumeClaims") ? cause::unbound_claim
               : contains(reason, "persistentvolumeclaim") && contains(reason, "not found")
                   ? cause::missing_claim
                   : cause::unschedulable;
  base.message = reason.empty() ? "the scheduler found no node for it" : std::string(reason);
  return {std::move(base)};
}

}  // namespace mizzen::kubernetes::detail
