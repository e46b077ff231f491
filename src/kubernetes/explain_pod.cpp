// What is the matter with a pod that has a node, or cannot be made at all.
#include "kubernetes/explain.hpp"

#include <algorithm>
#include <array>

namespace mizzen::kubernetes::detail {

namespace {

finding about(const core_v1::pod& pod, cause why, std::string message, std::string hint = {}) {
  finding result;
  result.cause = why;
  result.object = pod_label(pod);
  result.message = std::move(message);
  result.hint = std::move(hint);
  result.pods = 1;
  return result;
}

std::string quoted(std::string_view text) { return '\'' + std::string(text) + '\''; }

const core_v1::container* container_of(const core_v1::pod& pod, std::string_view name) {
  for (const auto* list : {&pod.spec.containers, &pod.spec.init_containers}) {
    for (const auto& container : *list) {
      if (container.name == name) return &container;
    }
  }
  return nullptr;
}

// "secret \"hub\" not found" in whatever surrounds it.
std::optional<finding> missing_reference(const core_v1::pod& pod, std::string_view message) {
  const auto name = between(message, "\"", "\" not found");
  // The last name quoted before the words: earlier ones are volumes.
  const auto last = name.rfind('"');
  const auto wanted = last == name.npos ? name : name.substr(last + 1);
  if (wanted.empty()) {
    if (!contains(message, "couldn't find key")) return std::nullopt;
    const bool secret = contains(message, "Secret");
    return about(pod, secret ? cause::missing_secret : cause::missing_config_map,
                 std::string(message), "add the key, or correct its name");
  }
  if (contains(message, "secret \"")) {
    return about(pod, cause::missing_secret, "the Secret " + quoted(wanted) + " does not exist",
                 "create it in the pod's namespace, or correct the name");
  }
  if (contains(message, "configmap \"")) {
    return about(pod, cause::missing_config_map,
                 "the ConfigMap " + quoted(wanted) + " does not exist",
                 "create it in the pod's namespace, or correct the name");
  }
  return std::nullopt;
}

bool is_image_trouble(std::string_view reason) {
  constexpr std::array reasons = {"ErrImagePull",        "ImagePullBackOff",
                                  "ErrImageNeverPull",   "ImageInspectError",
                                  "RegistryUnavailable", "SignatureValidationFailed"};
  return std::find(reasons.begin(), reasons.end(), reason) != reasons.end();
}

finding explain_image(const core_v1::pod& pod, const std::string& image, std::string_view reason,
                      std::string message, const explain_facts& facts) {
  // The back-off only says that it waits; the event before it says for what.
  if (reason == "ImagePullBackOff") {
    for (const auto& event : facts.events) {
      if (event.involved_object.uid == pod.metadata.uid && event.reason == "Failed" &&
          contains(event.message, "Failed to pull image")) {
        message = event.message;
      }
    }
  }
  if (reason == "InvalidImageName") {
    return about(pod, cause::image_name, quoted(image) + " is no valid image name",
                 "registry/repository:tag, in lower case");
  }
  if (reason == "ErrImageNeverPull") {
    return about(pod, cause::image_pull,
                 "the image " + quoted(image) + " is not on the node, and imagePullPolicy is Never",
                 "load it there, or let it be pulled");
  }
  if (contains(message, "no match for platform") || contains(message, "no matching manifest")) {
    return about(pod, cause::image_architecture,
                 "the image " + quoted(image) + " has nothing for the node's processor: " + message,
                 "build it for that platform, or select nodes with kubernetes.io/arch");
  }
  std::string hint = "see that the registry can be reached from the node";
  if (contains(message, "not found") || contains(message, "manifest unknown")) {
    hint = "no such image or tag; correct it, or push it";
  } else if (contains(message, "unauthorized") || contains(message, "authorization failed") ||
             contains(message, "403") || contains(message, "denied")) {
    hint = "the registry wants credentials: image_pull_secret()";
  }
  auto result = about(pod, cause::image_pull, "the image " + quoted(image) + " cannot be pulled",
                      std::move(hint));
  if (!message.empty()) result.message += ": " + message;
  return result;
}

std::string signal_name(std::int32_t number) {
  switch (number) {
    case 4:
      return "SIGILL";
    case 6:
      return "SIGABRT";
    case 7:
      return "SIGBUS";
    case 8:
      return "SIGFPE";
    case 9:
      return "SIGKILL";
    case 11:
      return "SIGSEGV";
    case 13:
      return "SIGPIPE";
    case 15:
      return "SIGTERM";
    default:
      return "signal " + std::to_string(number);
  }
}

constexpr std::int32_t cannot_execute = 126;
constexpr std::int32_t command_not_found = 127;
constexpr std::int32_t killed_by_signal = 128;

bool cannot_start(std::string_view message) {
  return contains(message, "executable file not found") ||
         contains(message, "no such file or directory") || contains(message, "permission denied") ||
         contains(message, "exec format error");
}

finding explain_start(const core_v1::pod& pod, const std::string& container,
                      std::string_view message) {
  if (contains(message, "exec format error")) {
    return about(
        pod, cause::image_architecture,
        "the program of container " + quoted(container) +
            " is for another processor: " + std::string(message),
        "build the image for the node's platform, or select nodes with kubernetes.io/arch");
  }
  return about(pod, cause::bad_command,
               "container " + quoted(container) + " cannot be started: " + std::string(message),
               "see that the program is in the image, is executable, and no shell is expected");
}

finding explain_termination(const core_v1::pod& pod, const core_v1::container_status& status,
                            const core_v1::container_state_terminated& end, bool init) {
  const auto who = (init ? "init container " : "container ") + quoted(status.name);
  const auto* container = container_of(pod, status.name);
  if (end.reason == "OOMKilled") {
    std::string limit;
    if (container != nullptr) {
      if (const auto found = container->resources.limits.find("memory");
          found != container->resources.limits.end()) {
        limit = " of " + found->second.to_string();
      }
    }
    return about(pod, cause::out_of_memory,
                 limit.empty() ? who + " was killed because memory ran out"
                               : who + " was killed because it went over its memory limit" + limit,
                 "raise memory(), or let the program take less");
  }
  if (end.reason == "StartError" || end.reason == "ContainerCannotRun" ||
      (end.exit_code == killed_by_signal && cannot_start(end.message))) {
    return explain_start(pod, status.name, end.message);
  }
  auto result =
      about(pod, cause::exit_code, who + " ended with exit code " + std::to_string(end.exit_code));
  if (end.exit_code == cannot_execute) result.hint = "its command is no executable file";
  if (end.exit_code == command_not_found) result.hint = "its command was not found in the image";
  if (end.exit_code > killed_by_signal && end.exit_code < killed_by_signal + 65) {
    const auto signal = end.exit_code - killed_by_signal;
    result.message += " (" + signal_name(signal) + ')';
    if (signal == 9)
      result.hint = "killed from outside, as when the node's memory runs out or it ignores SIGTERM";
  }
  if (!end.reason.empty() && end.reason != "Error") result.message += ", " + end.reason;
  if (!end.message.empty()) result.message += ": " + end.message;
  if (result.hint.empty()) result.hint = "its log tells more";
  return result;
}

std::optional<finding> explain_waiting(const core_v1::pod& pod,
                                       const core_v1::container_status& status, bool init,
                                       const explain_facts& facts) {
  const auto& reason = status.state.waiting->reason;
  const auto& message = status.state.waiting->message;
  const auto* container = container_of(pod, status.name);
  const auto image = container != nullptr ? container->image : status.image;
  if (reason == "InvalidImageName" || is_image_trouble(reason)) {
    return explain_image(pod, image, reason, message, facts);
  }
  if (reason == "CreateContainerConfigError") {
    if (auto missing = missing_reference(pod, message)) return missing;
    return about(pod, cause::container_config, "container " + quoted(status.name) + ": " + message);
  }
  if (reason == "CreateContainerError" || reason == "RunContainerError" || reason == "StartError") {
    return explain_start(pod, status.name, message);
  }
  if (reason == "CrashLoopBackOff") {
    if (!status.last_state.terminated) {
      return about(pod, cause::crash_loop,
                   "container " + quoted(status.name) + " ends again and again");
    }
    auto result = explain_termination(pod, status, *status.last_state.terminated, init);
    // A container that ends with 0 is no failure but where it has to keep running.
    if (status.last_state.terminated->exit_code == 0) result.cause = cause::crash_loop;
    result.message += "; started " + std::to_string(status.restart_count + 1) + " times";
    return result;
  }
  return std::nullopt;
}

// Events of a pod whose containers are being made.
std::optional<finding> explain_creating(const core_v1::pod& pod, const explain_facts& facts) {
  for (const auto* reason : {"FailedMount", "FailedAttachVolume"}) {
    const auto* event = newest_event(facts, pod.metadata.uid, reason);
    if (event == nullptr) continue;
    if (auto missing = missing_reference(pod, event->message)) return missing;
    return about(pod, cause::volume_mount, event->message, "see that the volume is there and free");
  }
  if (const auto* event = newest_event(facts, pod.metadata.uid, "FailedCreatePodSandBox")) {
    return about(pod, cause::sandbox, event->message,
                 "a matter of the node: its network plug-in or container runtime");
  }
  return std::nullopt;
}

std::optional<finding> explain_disruption(const core_v1::pod& pod) {
  const auto& status = pod.status;
  for (const auto& condition : status.conditions) {
    if (condition.type != "DisruptionTarget" || condition.status != "True") continue;
    if (condition.reason == "PreemptionByScheduler") {
      return about(pod, cause::preempted,
                   "made room for a pod of higher priority: " + condition.message,
                   "give it a higher priority class");
    }
    if (condition.reason == "DeletionByTaintManager" || condition.reason == "DeletionByPodGC") {
      return about(
          pod, cause::node_lost,
          "its node " + quoted(pod.spec.node_name) + " is gone or not well: " + condition.message);
    }
    if (condition.reason == "EvictionByEvictionAPI") {
      return about(pod, cause::evicted, "evicted, as when a node is drained: " + condition.message);
    }
    if (status.reason.empty()) return about(pod, cause::evicted, condition.message);
  }
  if (status.reason == "Evicted") {
    return about(
        pod, cause::evicted,
        "evicted by its node " + quoted(pod.spec.node_name) + ": " + status.message,
        "request what it needs of memory and ephemeral-storage, so that it is not the first to go");
  }
  if (status.reason == "Preempting") return about(pod, cause::preempted, status.message);
  if (status.reason == "NodeLost" || status.reason == "NodeShutdown" ||
      status.reason == "Terminated" || status.reason == "Shutdown") {
    return about(pod, cause::node_lost,
                 "its node " + quoted(pod.spec.node_name) + " went away: " + status.message);
  }
  if (status.reason == "DeadlineExceeded") {
    return about(pod, cause::deadline_exceeded, "ran longer than its activeDeadlineSeconds");
  }
  if (status.reason.starts_with("OutOf") || status.reason == "UnexpectedAdmissionError" ||
      status.reason == "NodeAffinity") {
    return about(pod, cause::resources, "its node turned it away: " + status.message,
                 "it is made anew");
  }
  return std::nullopt;
}

// The node of a pod, if it is there and does not answer.
bool node_is_lost(const core_v1::pod& pod, const explain_facts& facts) {
  for (const auto& node : facts.nodes) {
    if (node.metadata.name != pod.spec.node_name) continue;
    for (const auto& condition : node.status.conditions) {
      if (condition.type == "Ready") return condition.status != "True";
    }
  }
  return false;
}

}  // namespace

std::string pod_label(const core_v1::pod& pod) { return "Pod " + pod.metadata.name; }

std::string_view between(std::string_view text, std::string_view begin, std::string_view end) {
  const auto from = text.find(begin);
  if (from == text.npos) return {};
  const auto to = text.find(end, from + begin.size());
  if (to == text.npos) return {};
  return text.substr(from + begin.size(), to - from - begin.size());
}

const core_v1::event* newest_event(const explain_facts& facts, std::string_view uid,
                                   std::string_view reason) {
  const core_v1::event* newest = nullptr;
  const auto at = [](const core_v1::event& event) {
    if (event.last_timestamp)
      return std::chrono::sys_time<std::chrono::microseconds>(event.last_timestamp->at);
    if (event.event_time) return event.event_time->at;
    return std::chrono::sys_time<std::chrono::microseconds>();
  };
  for (const auto& event : facts.events) {
    if (event.involved_object.uid != uid || event.reason != reason) continue;
    if (newest == nullptr || at(event) >= at(*newest)) newest = &event;
  }
  return newest;
}

finding explain_refusal(std::string_view object, std::string_view message) {
  finding result;
  result.object = object;
  if (message.starts_with("Error creating: ")) message.remove_prefix(16);
  result.message = message;
  if (contains(message, "exceeded quota: ")) {
    result.cause = cause::quota_exceeded;
    const auto rest = message.substr(message.find("exceeded quota: ") + 16);
    const auto name = rest.substr(0, rest.find(','));
    const auto requested = between(rest, "requested: ", ", used: ");
    const auto used = between(rest, "used: ", ", limited: ");
    const auto limited = rest.find("limited: ");
    if (!requested.empty() && limited != rest.npos) {
      result.message = "the quota " + quoted(name) + " allows " +
                       std::string(rest.substr(limited + 9)) + ", used are " + std::string(used) +
                       ", and a pod asks for " + std::string(requested);
    }
    result.hint = "ask for less, wait until others end, or have the quota raised";
  } else if (contains(message, "failed quota: ")) {
    result.cause = cause::quota_exceeded;
    result.hint = "the quota counts a resource that the pod does not say: set cpu() and memory()";
  } else if (contains(message, "failed calling webhook")) {
    result.cause = cause::webhook_unavailable;
    const auto name = between(message, "failed calling webhook \"", "\"");
    result.message =
        "the admission webhook " + quoted(name) + " cannot be reached: " + std::string(message);
    result.hint = "a matter of the cluster: the webhook's service has to run";
  } else if (contains(message, "admission webhook") && contains(message, "denied the request")) {
    result.cause = cause::admission_denied;
    const auto name = between(message, "admission webhook \"", "\"");
    result.message = "the admission webhook " + quoted(name) + " says no";
    const auto colon = message.find("denied the request: ");
    if (colon != message.npos) result.message += ": " + std::string(message.substr(colon + 20));
  } else if (contains(message, "ValidatingAdmissionPolicy")) {
    result.cause = cause::admission_denied;
    const auto policy = between(message, "ValidatingAdmissionPolicy '", "'");
    const auto colon = message.find("denied request: ");
    result.message = "the admission policy " + quoted(policy) + " says no: " +
                     std::string(colon == message.npos ? message : message.substr(colon + 16));
  } else if (contains(message, "violates PodSecurity")) {
    result.cause = cause::admission_denied;
    result.hint = "restricted() sets what the strictest Pod Security Standard asks for";
  } else if (contains(message, "serviceaccount \"") && contains(message, "not found")) {
    result.cause = cause::missing_service_account;
    result.message = "the service account " +
                     quoted(between(message, "serviceaccount \"", "\" not found")) +
                     " does not exist";
    result.hint = "create it in the same namespace, or correct the name";
  } else if (contains(message, "no PriorityClass with name")) {
    result.cause = cause::missing_priority_class;
    result.message = "the priority class " +
                     quoted(between(message, "no PriorityClass with name ", " was found")) +
                     " does not exist";
    result.hint = "create it, or correct the name";
  } else if (contains(message, "usage per ") || contains(message, "limit range") ||
             contains(message, "limit to request ratio")) {
    result.cause = cause::limit_range;
    result.hint = "keep to the LimitRange of the namespace";
  } else {
    result.cause = cause::create_refused;
  }
  return result;
}

std::vector<finding> explain_pod(const core_v1::pod& pod, const explain_facts& facts) {
  const auto& status = pod.status;
  if (status.phase == "Succeeded") return {};
  if (auto disruption = explain_disruption(pod)) return {*std::move(disruption)};

  std::vector<finding> findings;
  const auto look_at = [&](const std::vector<core_v1::container_status>& containers, bool init) {
    for (const auto& container : containers) {
      if (container.state.waiting) {
        if (auto found = explain_waiting(pod, container, init, facts))
          findings.push_back(*std::move(found));
      } else if (container.state.terminated && container.state.terminated->exit_code != 0) {
        findings.push_back(explain_termination(pod, container, *container.state.terminated, init));
      } else if (container.state.running && container.last_state.terminated &&
                 container.restart_count > 0 && container.last_state.terminated->exit_code != 0) {
        auto found = explain_termination(pod, container, *container.last_state.terminated, init);
        found.message +=
            "; it runs again, started " + std::to_string(container.restart_count + 1) + " times";
        findings.push_back(std::move(found));
      }
    }
  };
  look_at(status.init_container_statuses, true);
  look_at(status.container_statuses, false);
  if (!findings.empty()) {
    if (const auto* event = newest_event(facts, pod.metadata.uid, "Killing");
        event != nullptr && contains(event->message, "failed liveness probe")) {
      findings.insert(findings.begin(), about(pod, cause::liveness, event->message,
                                              "give it more time with a startup probe"));
    }
    return findings;
  }
  if (status.phase == "Failed") {
    return {about(pod, cause::unknown, status.message.empty() ? "it failed" : status.message)};
  }
  if (pod.spec.node_name.empty()) return explain_unscheduled(pod, facts);
  if (node_is_lost(pod, facts)) {
    return {about(pod, cause::node_lost,
                  "its node " + quoted(pod.spec.node_name) + " does not answer")};
  }
  if (status.phase == "Pending") {
    if (auto creating = explain_creating(pod, facts)) return {*std::move(creating)};
    return {about(
        pod, cause::starting,
        "starting on node " + quoted(pod.spec.node_name) + ": images are pulled, volumes mounted")};
  }
  const bool ready =
      std::any_of(status.conditions.begin(), status.conditions.end(), [](const auto& condition) {
        return condition.type == "Ready" && condition.status == "True";
      });
  if (!ready) {
    if (const auto* event = newest_event(facts, pod.metadata.uid, "Unhealthy")) {
      return {about(pod, cause::not_ready, event->message, "it runs, but its probe says no")};
    }
  }
  return {};
}

explained_pod summary_of(const core_v1::pod& pod) {
  explained_pod summary;
  summary.name = pod.metadata.name;
  summary.node = pod.spec.node_name;
  summary.state = pod.status.reason.empty() ? pod.status.phase : pod.status.reason;
  const auto index = pod.metadata.annotations.find("batch.kubernetes.io/job-completion-index");
  if (index != pod.metadata.annotations.end() && !index->second.empty() &&
      index->second.size() < 10 &&
      std::all_of(index->second.begin(), index->second.end(),
                  [](char c) { return c >= '0' && c <= '9'; })) {
    summary.index = std::stoi(index->second);
  }
  for (const auto* list : {&pod.status.init_container_statuses, &pod.status.container_statuses}) {
    for (const auto& container : *list) {
      summary.restarts += container.restart_count;
      const auto* end = container.state.terminated.get();
      if (end == nullptr) end = container.last_state.terminated.get();
      if (end != nullptr && end->exit_code != 0 && !summary.exit_code)
        summary.exit_code = end->exit_code;
      if (container.state.waiting && container.state.waiting->reason != "PodInitializing") {
        summary.state = container.state.waiting->reason;
      } else if (container.state.terminated && container.state.terminated->exit_code != 0) {
        summary.state = container.state.terminated->reason;
      }
    }
  }
  if (pod.metadata.deletion_timestamp) summary.state = "Terminating";
  return summary;
}

}  // namespace mizzen::kubernetes::detail
