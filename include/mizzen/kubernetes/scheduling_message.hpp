// Reads what the scheduler says about a pod that fits on no node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

// Which predicate of the scheduler turned a node down. Named after the question that was answered
// with no; the texts are those of kube-scheduler's plug-ins (pkg/scheduler/framework/plugins).
enum class predicate {
  resources,        // "Insufficient cpu", "Too many pods"
  taint,            // "node(s) had untolerated taint {key: value}", "… untolerated taint(s)"
  node_selector,    // "node(s) didn't match Pod's node affinity/selector"
  cordoned,         // "node(s) were unschedulable"
  node_name,        // "node(s) didn't match the requested node name"
  host_port,        // "node(s) didn't have free ports for the requested pod ports"
  pod_affinity,     // affinity or anti-affinity to other pods
  topology_spread,  // "node(s) didn't match pod topology spread constraints"
  volume,           // zone, affinity, number or exclusive use of volumes
  claim,            // resource claims (dynamic resource allocation)
  other,            // a plug-in this version does not know; the text is kept
};

std::string_view to_string(predicate value) noexcept;

// "3 node(s) had untolerated taint {nvidia.com/gpu: present}".
struct predicate_failure {
  std::int64_t nodes = 0;  // how many nodes it turned down; one node may be in several entries
  kubernetes::predicate predicate = kubernetes::predicate::other;
  std::string resource = {};  // for resources: "nvidia.com/gpu", "memory", "pods"
  std::string taint = {};     // for taint: "nvidia.com/gpu: present", empty where not told
  std::string text = {};      // as the scheduler wrote it
};

struct scheduling_message {
  std::int64_t available = 0;                    // nodes that would do
  std::int64_t nodes = 0;                        // nodes that were looked at
  std::vector<predicate_failure> failures = {};  // most nodes first
  std::string pod_reason = {};  // why no node was even tried: "pod has unbound immediate …"
  std::string preemption = {};  // what is said after that: "preemption: 0/5 nodes are available …"
};

// Parses the message of a FailedScheduling event or of the condition PodScheduled=False. Nothing if
// it is not of the form "0/5 nodes are available: …"; never throws on any text.
std::optional<scheduling_message> parse_scheduling_message(std::string_view text);

}  // namespace mizzen::kubernetes
