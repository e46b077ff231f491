#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/rollout.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::kubernetes {

namespace {

std::string part(std::int32_t some, std::int32_t all) {
  return std::to_string(some) + " of " + std::to_string(all);
}

rollout_status waiting(rollout_status status, std::string message) {
  status.state = rollout_state::progressing;
  status.message = std::move(message);
  return status;
}

rollout_status complete(rollout_status status) {
  status.state = rollout_state::complete;
  status.message = "rolled out";
  return status;
}

error never_rolls(std::string_view kind, const std::string& name) {
  return error(errc::failed_precondition, std::string(kind) + ' ' + name,
               "is updated by deleting its pods (OnDelete): it does not roll out by itself");
}

}  // namespace

rollout_status rollout_status_of(const apps_v1::deployment& object) {
  rollout_status status;
  status.wanted = object.spec.replicas.value_or(1);
  status.updated = object.status.updated_replicas;
  status.available = object.status.available_replicas;
  if (object.metadata.generation > object.status.observed_generation) {
    return waiting(status, "the change has not been seen by the deployment controller yet");
  }
  for (const auto& condition : object.status.conditions) {
    if (condition.type != "Progressing" || condition.reason != "ProgressDeadlineExceeded") continue;
    status.state = rollout_state::failed;
    status.reason = condition.reason;
    status.message =
        condition.message.empty() ? "made no progress for too long" : condition.message;
    return status;
  }
  if (status.updated < status.wanted) {
    return waiting(status, part(status.updated, status.wanted) + " new replicas have been made");
  }
  if (object.status.replicas > status.updated) {
    return waiting(status, std::to_string(object.status.replicas - status.updated) +
                               " old replicas are still ending");
  }
  if (status.available < status.updated) {
    return waiting(status,
                   part(status.available, status.updated) + " updated replicas are available");
  }
  return complete(status);
}

rollout_status rollout_status_of(const apps_v1::stateful_set& object) {
  if (object.spec.update_strategy.type == "OnDelete") {
    throw never_rolls("StatefulSet", object.metadata.name);
  }
  rollout_status status;
  status.wanted = object.spec.replicas.value_or(1);
  status.updated = object.status.updated_replicas;
  status.available = object.status.available_replicas;
  if (object.status.observed_generation == 0 ||
      object.metadata.generation > object.status.observed_generation) {
    return waiting(status, "the change has not been seen by the statefulset controller yet");
  }
  if (object.status.ready_replicas < status.wanted) {
    return waiting(status, part(object.status.ready_replicas, status.wanted) + " pods are ready");
  }
  std::int32_t kept = 0;  // with a partition, the pods below it stay as they are
  if (object.spec.update_strategy.rolling_update) {
    kept = object.spec.update_strategy.rolling_update->partition.value_or(0);
  }
  if (kept > 0) {
    const auto to_update = std::max(status.wanted - kept, 0);
    if (status.updated < to_update) {
      return waiting(status,
                     part(status.updated, to_update) + " pods above the partition are updated");
    }
    return complete(status);
  }
  if (object.status.update_revision != object.status.current_revision) {
    return waiting(status, part(status.updated, status.wanted) + " pods are updated");
  }
  return complete(status);
}

rollout_status rollout_status_of(const apps_v1::daemon_set& object) {
  if (object.spec.update_strategy.type == "OnDelete") {
    throw never_rolls("DaemonSet", object.metadata.name);
  }
  rollout_status status;
  status.wanted = object.status.desired_number_scheduled;
  status.updated = object.status.updated_number_scheduled;
  status.available = object.status.number_available;
  if (object.metadata.generation > object.status.observed_generation) {
    return waiting(status, "the change has not been seen by the daemonset controller yet");
  }
  if (status.updated < status.wanted) {
    return waiting(status, part(status.updated, status.wanted) + " pods are updated");
  }
  if (status.available < status.wanted) {
    return waiting(status, part(status.available, status.wanted) + " updated pods are available");
  }
  return complete(status);
}

}  // namespace mizzen::kubernetes
