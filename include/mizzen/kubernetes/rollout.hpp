// Rollouts of Deployments (and how those of StatefulSets and DaemonSets stand): what
// `kubectl rollout` does.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/types/apps_v1.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes {

enum class rollout_state : std::uint8_t { complete, progressing, failed };

struct rollout_status {
  rollout_state state = rollout_state::progressing;
  std::string reason = {};   // "ProgressDeadlineExceeded", when it has failed
  std::string message = {};  // in words: "2 of 3 updated replicas are available"
  std::int32_t wanted = 0;
  std::int32_t updated = 0;
  std::int32_t available = 0;
};

// The pure part: kubectl's rules (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go). A
// StatefulSet that is updated by deletion, and a DaemonSet likewise, never rolls out by itself:
// error(failed_precondition).
rollout_status rollout_status_of(const apps_v1::deployment& object);
rollout_status rollout_status_of(const apps_v1::stateful_set& object);
rollout_status rollout_status_of(const apps_v1::daemon_set& object);

// One of the templates that a Deployment had.
struct rollout_revision {
  std::int64_t number = 0;
  std::string replica_set = {};
  std::string change_cause = {};  // annotation kubernetes.io/change-cause
  std::vector<std::string> images = {};
  std::int32_t replicas = 0;  // that still run
  core_v1::pod_template_spec template_ = {};
};

struct rollout_wait_options {
  // Hears each change. Runs on the client's executor; must not throw.
  std::function<void(const rollout_status&)> on_change = {};
  mizzen::cancellation cancel = {};
};

// The rollouts of one Deployment. Cheap to copy; as thread safe as the client. Errors as of client:
// status_error (not_found) where there is no such Deployment.
class rollout {
 public:
  // An empty namespace is the client's default.
  rollout(client k8s, std::string deployment, std::string namespace_ = {});

  boost::asio::awaitable<rollout_status> status() const;

  // Waits, by a watch, until it is complete or has failed.
  boost::asio::awaitable<rollout_status> wait(
      rollout_wait_options options = rollout_wait_options()) const;

  // Oldest first; as many as the Deployment keeps (revisionHistoryLimit).
  boost::asio::awaitable<std::vector<rollout_revision>> history() const;

  // Back to a revision, or to the one before the present (0). Returns the number that it came from.
  // Throws error(not_found) if there is none, error(failed_precondition) while it is paused or if
  // it is what is there already, error(aborted) if somebody changes its spec meanwhile.
  boost::asio::awaitable<std::int64_t> undo(std::int64_t revision = 0) const;

  // New pods from the same template, one after the other.
  boost::asio::awaitable<void> restart() const;

  // While it is paused, changes of the template wait.
  boost::asio::awaitable<void> pause() const;
  boost::asio::awaitable<void> resume() const;

  boost::asio::awaitable<void> scale(std::int32_t replicas) const;

 private:
  client k8s_;
  std::string name_;
  std::string in_;
};

}  // namespace mizzen::kubernetes
