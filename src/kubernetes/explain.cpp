#include "kubernetes/explain.hpp"

#include <mizzen/kubernetes/submission.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::kubernetes {

namespace {

using namespace detail;

bool holds(const auto& conditions, std::string_view type) {
  return std::any_of(conditions.begin(), conditions.end(), [&](const auto& condition) {
    return condition.type == type && condition.status == "True";
  });
}

finding about(std::string object, cause why, std::string message, std::string hint = {},
              bool final_ = false) {
  finding result;
  result.cause = why;
  result.object = std::move(object);
  result.message = std::move(message);
  result.hint = std::move(hint);
  result.final_ = final_;
  return result;
}

// Pods of one workload usually suffer alike: the same words about several are one finding.
void add(std::vector<finding>& to, finding one) {
  for (auto& other : to) {
    if (other.cause == one.cause && other.message == one.message) {
      other.pods += one.pods;
      return;
    }
  }
  to.push_back(std::move(one));
}

void explain_pods(const explain_facts& facts, explanation& result) {
  for (const auto& pod : facts.pods) {
    result.pods.push_back(summary_of(pod));
    for (auto& one : explain_pod(pod, facts)) add(result.findings, std::move(one));
  }
}

// Whether a pod of the workload is there that has not ended.
bool has_live_pod(const explain_facts& facts) {
  return std::any_of(facts.pods.begin(), facts.pods.end(), [](const auto& pod) {
    return pod.status.phase == "Pending" || pod.status.phase == "Running";
  });
}

// Why the controller made no pods.
void explain_creation(const explain_facts& facts, std::string_view uid, const std::string& object,
                      explanation& result) {
  if (const auto* event = newest_event(facts, uid, "FailedCreate")) {
    add(result.findings, explain_refusal(object, event->message));
  }
}

// Quotas that leave no room for one more of these pods: where the event of the refusal is gone.
void explain_quotas(const explain_facts& facts, const core_v1::pod_spec& spec,
                    const std::string& object, explanation& result) {
  const auto requests = requests_of(spec);
  for (const auto& quota : facts.quotas) {
    for (const auto& [resource, most] : quota.status.hard) {
      const bool prefixed = resource.starts_with("requests.");
      const auto name =
          prefixed ? std::string_view(resource).substr(9) : std::string_view(resource);
      const auto wanted = requests.find(name);
      const auto need = wanted != requests.end() ? wanted->second
                        : resource == "pods"     ? quantity::of(1)
                                                 : quantity();
      const auto used = quota.status.used.find(resource);
      const auto taken = used != quota.status.used.end() ? used->second : quantity();
      if (need.is_zero() || taken + need <= most) continue;
      finding one =
          about(object, cause::quota_exceeded, {},
                "ask for less, wait until others end, or have the quota raised", need > most);
      one.message = "the quota '" + quota.metadata.name + "' allows " + resource + "=" +
                    most.to_string() + ", used are " + taken.to_string() + ", and a pod asks for " +
                    need.to_string();
      add(result.findings, std::move(one));
    }
  }
}

void explain_job_end(const batch_v1::job& job, explanation& result) {
  const auto object = "Job " + job.metadata.name;
  for (const auto& condition : job.status.conditions) {
    if (condition.status != "True" ||
        (condition.type != "Failed" && condition.type != "FailureTarget"))
      continue;
    auto why = cause::unknown;
    std::string hint;
    auto message = condition.message;
    if (condition.reason == "BackoffLimitExceeded") {
      why = cause::backoff_limit;
      message = "gave up after " + std::to_string(job.status.failed) +
                " failed pods (backoffLimit " + std::to_string(job.spec.backoff_limit.value_or(6)) +
                ')';
      if (result.findings.empty())
        hint = "its pods are gone; the log of an earlier run may tell more";
    } else if (condition.reason == "DeadlineExceeded") {
      why = cause::deadline_exceeded;
      message = "ran longer than its activeDeadlineSeconds";
      if (job.spec.active_deadline_seconds)
        message += ", " + std::to_string(*job.spec.active_deadline_seconds);
      hint = "raise active_deadline(), or see above what held it up";
    } else if (condition.reason == "FailedIndexes" ||
               condition.reason == "MaxFailedIndexesExceeded") {
      why = cause::failed_indexes;
      message += ": failed are " + job.status.failed_indexes.value_or("");
    } else if (condition.reason == "PodFailurePolicy") {
      why = cause::pod_failure_policy;
    }
    // The condition of the decision, and the one of the end, are one fact.
    add(result.findings, about(object, why, std::move(message), std::move(hint), true));
  }
}

void explain_job(const explain_facts& facts, const batch_v1::job& job, explanation& result) {
  const auto object = "Job " + job.metadata.name;
  if (holds(job.status.conditions, "Complete")) {
    result.verdict = verdict::succeeded;
    for (const auto& pod : facts.pods) result.pods.push_back(summary_of(pod));
    return;
  }
  if (job.spec.suspend.value_or(false)) {
    const auto queue = job.metadata.labels.find("kueue.x-k8s.io/queue-name");
    finding held =
        about(object, cause::suspended, "it is suspended", "resume it (spec.suspend: false)");
    if (queue != job.metadata.labels.end()) {
      held.message = "it waits in the queue '" + queue->second + '\'';
      held.hint = "Kueue resumes it when there is room";
    } else if (job.metadata.annotations.contains(held_annotation)) {
      held.message = "its submitter died before it had recorded it";
      held.hint = "start the submitter again: it goes on from there";
    }
    add(result.findings, std::move(held));
    result.verdict = verdict::pending;
    return;
  }
  explain_pods(facts, result);
  if (holds(job.status.conditions, "Failed") || holds(job.status.conditions, "FailureTarget")) {
    result.verdict = verdict::failed;
    explain_job_end(job, result);
    return;
  }
  // An old refusal does not matter once the pods are there.
  const auto wanted = std::min(
      job.spec.parallelism.value_or(1),
      job.spec.completions.value_or(job.spec.parallelism.value_or(1)) - job.status.succeeded);
  if (job.status.active < wanted) explain_creation(facts, job.metadata.uid, object, result);
  if (result.findings.empty() && job.status.active < wanted) {
    explain_quotas(facts, job.spec.template_.spec, object, result);
  }
  const bool running = std::any_of(facts.pods.begin(), facts.pods.end(),
                                   [](const auto& pod) { return pod.status.phase == "Running"; });
  result.verdict = running ? verdict::running : verdict::pending;
  if (result.findings.empty() && !has_live_pod(facts)) {
    add(result.findings, about(object, cause::starting, "its pods have not been made yet",
                               "see that the job controller runs"));
  }
}

void explain_deployment(const explain_facts& facts, const apps_v1::deployment& deployment,
                        explanation& result) {
  const auto object = "Deployment " + deployment.metadata.name;
  explain_pods(facts, result);
  const auto wanted = deployment.spec.replicas.value_or(1);
  const auto& status = deployment.status;
  const bool current = status.observed_generation >= deployment.metadata.generation;
  const bool done = current && status.updated_replicas >= wanted &&
                    status.available_replicas >= wanted &&
                    status.replicas <= status.updated_replicas;
  result.verdict = done ? verdict::running : verdict::pending;
  if (deployment.spec.paused && !done) {
    add(result.findings,
        about(object, cause::suspended, "its rollout is paused", "resume it (spec.paused: false)"));
  }
  for (const auto& condition : status.conditions) {
    if (condition.type == "ReplicaFailure" && condition.status == "True") {
      add(result.findings, explain_refusal(object, condition.message));
    }
    if (condition.type == "Progressing" && condition.status == "False" &&
        condition.reason == "ProgressDeadlineExceeded") {
      result.verdict = verdict::failed;
      add(result.findings,
          about(object, cause::deadline_exceeded,
                "made no progress for " +
                    std::to_string(deployment.spec.progress_deadline_seconds.value_or(600)) +
                    " seconds",
                "the pods' troubles are the reason; roll back, or mend them"));
    }
  }
}

void explain_stateful_set(const explain_facts& facts, const apps_v1::stateful_set& set,
                          explanation& result) {
  explain_pods(facts, result);
  const auto wanted = set.spec.replicas.value_or(1);
  result.verdict = set.status.ready_replicas >= wanted ? verdict::running : verdict::pending;
  if (set.status.replicas < wanted) {
    explain_creation(facts, set.metadata.uid, "StatefulSet " + set.metadata.name, result);
  }
}

void explain_single(const explain_facts& facts, const core_v1::pod& pod, explanation& result) {
  explain_pods(facts, result);
  const auto& phase = pod.status.phase;
  result.verdict = phase == "Succeeded" ? verdict::succeeded
                   : phase == "Failed"  ? verdict::failed
                   : phase == "Running" ? verdict::running
                                        : verdict::pending;
}

constexpr int first_rank = -1;
constexpr int last_rank = 2;

// Findings that only follow from others come last; what will never get better comes first.
int rank(const finding& one) {
  switch (one.cause) {
    case cause::deadline_exceeded:
    case cause::backoff_limit:
    case cause::failed_indexes:
    case cause::pod_failure_policy:
      return 2;
    case cause::starting:
    case cause::node_cordoned:
      return 1;
    default:
      return one.final_ ? -1 : 0;
  }
}

}  // namespace

std::string_view to_string(cause value) noexcept {
  switch (value) {
    case cause::suspended:
      return "suspended";
    case cause::quota_exceeded:
      return "quota_exceeded";
    case cause::limit_range:
      return "limit_range";
    case cause::admission_denied:
      return "admission_denied";
    case cause::webhook_unavailable:
      return "webhook_unavailable";
    case cause::missing_service_account:
      return "missing_service_account";
    case cause::missing_priority_class:
      return "missing_priority_class";
    case cause::create_refused:
      return "create_refused";
    case cause::scheduling_gated:
      return "scheduling_gated";
    case cause::no_scheduler:
      return "no_scheduler";
    case cause::resources:
      return "resources";
    case cause::untolerated_taint:
      return "untolerated_taint";
    case cause::node_selector:
      return "node_selector";
    case cause::node_cordoned:
      return "node_cordoned";
    case cause::pod_affinity:
      return "pod_affinity";
    case cause::topology_spread:
      return "topology_spread";
    case cause::host_port:
      return "host_port";
    case cause::volume_placement:
      return "volume_placement";
    case cause::unschedulable:
      return "unschedulable";
    case cause::missing_claim:
      return "missing_claim";
    case cause::unbound_claim:
      return "unbound_claim";
    case cause::image_pull:
      return "image_pull";
    case cause::image_name:
      return "image_name";
    case cause::image_architecture:
      return "image_architecture";
    case cause::missing_secret:
      return "missing_secret";
    case cause::missing_config_map:
      return "missing_config_map";
    case cause::volume_mount:
      return "volume_mount";
    case cause::sandbox:
      return "sandbox";
    case cause::bad_command:
      return "bad_command";
    case cause::container_config:
      return "container_config";
    case cause::starting:
      return "starting";
    case cause::out_of_memory:
      return "out_of_memory";
    case cause::exit_code:
      return "exit_code";
    case cause::crash_loop:
      return "crash_loop";
    case cause::not_ready:
      return "not_ready";
    case cause::liveness:
      return "liveness";
    case cause::evicted:
      return "evicted";
    case cause::preempted:
      return "preempted";
    case cause::node_lost:
      return "node_lost";
    case cause::deadline_exceeded:
      return "deadline_exceeded";
    case cause::backoff_limit:
      return "backoff_limit";
    case cause::failed_indexes:
      return "failed_indexes";
    case cause::pod_failure_policy:
      return "pod_failure_policy";
    case cause::unknown:
      break;
  }
  return "unknown";
}

std::string_view to_string(verdict value) noexcept {
  switch (value) {
    case verdict::succeeded:
      return "succeeded";
    case verdict::running:
      return "running";
    case verdict::pending:
      return "pending";
    case verdict::failed:
      break;
  }
  return "failed";
}

explanation explain(const explain_facts& facts) {
  explanation result;
  result.unread = facts.unread;
  const auto subject = [&](std::string kind, const meta_v1::object_meta& metadata) {
    result.kind = std::move(kind);
    result.namespace_ = metadata.namespace_;
    result.name = metadata.name;
  };
  if (facts.job) {
    subject("Job", facts.job->metadata);
    explain_job(facts, *facts.job, result);
  } else if (facts.deployment) {
    subject("Deployment", facts.deployment->metadata);
    explain_deployment(facts, *facts.deployment, result);
  } else if (facts.stateful_set) {
    subject("StatefulSet", facts.stateful_set->metadata);
    explain_stateful_set(facts, *facts.stateful_set, result);
  } else if (!facts.pods.empty()) {
    subject("Pod", facts.pods.front().metadata);
    explain_single(facts, facts.pods.front(), result);
  }
  std::vector<finding> ordered;
  for (int wanted = first_rank; wanted <= last_rank; ++wanted) {
    for (auto& one : result.findings) {
      if (rank(one) == wanted) ordered.push_back(std::move(one));
    }
  }
  result.findings = std::move(ordered);
  return result;
}

std::string to_string(const explanation& what) {
  std::string text = what.kind + ' ' + what.namespace_ + '/' + what.name + ": " +
                     std::string(to_string(what.verdict));
  for (const auto& one : what.findings) {
    text += "\n- " + one.object;
    if (one.pods > 1)
      text += " and " + std::to_string(one.pods - 1) + (one.pods == 2 ? " other" : " others");
    text += ": " + one.message;
    if (!one.hint.empty()) text += "\n  -> " + one.hint;
  }
  for (const auto& gap : what.unread) text += "\n(not looked at: " + gap + ')';
  return text;
}

}  // namespace mizzen::kubernetes
