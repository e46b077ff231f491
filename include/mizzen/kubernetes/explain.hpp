// Why is it pending, why did it fail: one call that asks the cluster and answers in plain words.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/kubernetes/types/apps_v1.hpp>
#include <mizzen/kubernetes/types/batch_v1.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

class client;

// What stands in the way. In the order of a pod's life.
enum class cause : std::uint8_t {
  // before there is a pod
  suspended,            // spec.suspend, or a paused Deployment
  quota_exceeded,       // ResourceQuota
  limit_range,          // LimitRange
  admission_denied,     // by a webhook, a ValidatingAdmissionPolicy or Pod Security
  webhook_unavailable,  // an admission webhook could not be reached
  missing_service_account,
  missing_priority_class,
  create_refused,  // for another reason; its message tells
  // before it has a node
  scheduling_gated,
  no_scheduler,  // none has looked at it
  resources,     // no node has enough left
  untolerated_taint,
  node_selector,  // node selector, node affinity or node name
  node_cordoned,
  pod_affinity,
  topology_spread,
  host_port,
  volume_placement,  // the volume is elsewhere, or in use
  unschedulable,     // another predicate; its message tells
  missing_claim,     // PersistentVolumeClaim
  unbound_claim,
  // before its containers run
  image_pull,
  image_name,
  image_architecture,  // no image for the node's processor
  missing_secret,
  missing_config_map,
  volume_mount,
  sandbox,      // the pod's network or sandbox cannot be made
  bad_command,  // the program cannot be started
  container_config,
  starting,  // nothing wrong so far: images are pulled, volumes mounted
  // while they run
  out_of_memory,
  exit_code,
  crash_loop,  // for a reason that is no longer told
  not_ready,   // readiness or startup probe
  liveness,    // killed because its liveness probe failed
  evicted,
  preempted,
  node_lost,
  // afterwards
  deadline_exceeded,  // activeDeadlineSeconds or progressDeadlineSeconds
  backoff_limit,
  failed_indexes,
  pod_failure_policy,
  unknown,
};

// "quota_exceeded" …
std::string_view to_string(cause value) noexcept;

enum class verdict : std::uint8_t { succeeded, running, pending, failed };

std::string_view to_string(verdict value) noexcept;

struct finding {
  kubernetes::cause cause = cause::unknown;
  std::string object = {};   // "Pod train-x8z9q", "Job train", "Node gpu-0"
  std::string message = {};  // what is the matter, in words
  std::string hint = {};     // what would mend it; empty where nothing is to be said
  std::int64_t pods = 0;     // how many pods it is the same for; 0: it is not about pods
  bool final_ = false;       // it will not get better by waiting
};

struct explained_pod {
  std::string name = {};
  std::string node = {};   // empty: has none
  std::string state = {};  // as `kubectl get pods` says: "Pending", "CrashLoopBackOff", "Error" …
  std::optional<std::int32_t> index = {};      // of an indexed Job
  std::optional<std::int32_t> exit_code = {};  // of its first container that failed
  std::int32_t restarts = 0;
};

struct explanation {
  kubernetes::verdict verdict = verdict::pending;
  std::string kind = {};
  std::string namespace_ = {};
  std::string name = {};
  std::vector<finding> findings = {};  // the root of the trouble first
  std::vector<explained_pod> pods = {};
  std::vector<std::string> unread =
      {};  // what could not be looked at, and why: "nodes: forbidden …"
};

// Some lines for people: the verdict, then each finding with its hint.
std::string to_string(const explanation& what);

// What an explanation is made from: objects as the API server gave them. Exactly one of job,
// deployment and stateful_set, or none and one pod. Missing parts make it less precise, never
// wrong.
struct explain_facts {
  std::optional<batch_v1::job> job = {};
  std::optional<apps_v1::deployment> deployment = {};
  std::optional<apps_v1::stateful_set> stateful_set = {};
  std::vector<core_v1::pod> pods = {};
  std::vector<core_v1::event> events = {};  // about any of these objects
  std::vector<core_v1::node> nodes = {};
  std::vector<core_v1::pod> placed_pods = {};  // of the whole cluster, with a node, not finished
  std::vector<core_v1::resource_quota> quotas = {};
  std::vector<core_v1::persistent_volume_claim> claims = {};
  std::vector<std::string> missing_claims = {};  // names of claims of the pods that do not exist
  std::vector<std::string> unread = {};
};

// The pure part: from facts to words, without a network.
explanation explain(const explain_facts& facts);

struct explain_target {
  std::string kind = "Job";  // "Job", "Pod", "Deployment" or "StatefulSet"
  std::string name = {};
  std::string namespace_ = {};  // empty: the client's default
};

struct explain_options {
  // Of pods that are in the same state, only so many are looked into.
  std::size_t pods = 16;
  mizzen::cancellation cancel = {};
};

// Fetches the facts (the object, its pods, their events; nodes, quotas and claims where they
// matter) and explains them. What the caller may not read is left out and named in `unread`. Throws
// status_error (not_found) if there is no such object, error(invalid_argument) for another kind.
boost::asio::awaitable<explanation> explain(const client& k8s, explain_target target,
                                            explain_options options = explain_options());

}  // namespace mizzen::kubernetes
