#include "kubernetes/watch_until.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/rollout.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;

namespace {

constexpr std::string_view revision_annotation = "deployment.kubernetes.io/revision";
constexpr std::string_view cause_annotation = "kubernetes.io/change-cause";
constexpr std::string_view restart_annotation = "kubectl.kubernetes.io/restartedAt";
constexpr std::string_view hash_label = "pod-template-hash";

std::int64_t revision_of(const meta_v1::object_meta& metadata) {
  const auto found = metadata.annotations.find(revision_annotation);
  if (found == metadata.annotations.end()) return 0;
  std::int64_t number = 0;
  const auto& text = found->second;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

asio::awaitable<std::vector<rollout_revision>> revisions_of(client k8s, apps_v1::deployment of) {
  api<apps_v1::replica_set> sets(std::move(k8s), of.metadata.namespace_);
  kubernetes::list<apps_v1::replica_set> found = co_await sets.list_all();
  std::vector<rollout_revision> revisions;
  for (auto& set : found.items) {
    const auto& owners = set.metadata.owner_references;
    const bool owned = std::any_of(owners.begin(), owners.end(), [&](const auto& owner) {
      return owner.uid == of.metadata.uid && owner.controller.value_or(false);
    });
    if (!owned) continue;
    auto& revision = revisions.emplace_back();
    revision.number = revision_of(set.metadata);
    revision.replica_set = set.metadata.name;
    if (const auto cause = set.metadata.annotations.find(cause_annotation);
        cause != set.metadata.annotations.end()) {
      revision.change_cause = cause->second;
    }
    revision.replicas = set.status.replicas;
    revision.template_ = std::move(set.spec.template_);
    revision.template_.metadata.labels.erase(hash_label);
    for (const auto& container : revision.template_.spec.containers) {
      revision.images.push_back(container.image);
    }
  }
  std::sort(revisions.begin(), revisions.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  co_return revisions;
}

asio::awaitable<void> change(client k8s, std::string name, std::string namespace_,
                             kubernetes::patch what) {
  api<apps_v1::deployment> deployments(std::move(k8s), std::move(namespace_));
  co_await deployments.patch(std::move(name), std::move(what));
}

asio::awaitable<rollout_status> status_now(client k8s, std::string name, std::string namespace_) {
  api<apps_v1::deployment> deployments(std::move(k8s), std::move(namespace_));
  const apps_v1::deployment now = co_await deployments.get(std::move(name));
  co_return rollout_status_of(now);
}

asio::awaitable<rollout_status> wait_for(client k8s, std::string name, std::string namespace_,
                                         rollout_wait_options options) {
  rollout_status last;
  bool gone = false;
  detail::watch_target target{namespace_, name, "Deployment " + namespace_ + '/' + name};
  const std::string label = target.label;
  std::function<bool(const apps_v1::deployment*)> look = [&](const apps_v1::deployment* object) {
    gone = object == nullptr;
    if (gone) return true;
    const rollout_status now = rollout_status_of(*object);
    const bool changed = now.message != last.message || now.state != last.state;
    last = now;
    if (changed && options.on_change) options.on_change(now);
    return now.state != rollout_state::progressing;
  };
  co_await detail::watch_until<apps_v1::deployment>(std::move(k8s), std::move(target),
                                                    std::move(look), options.cancel);
  if (gone) throw error(errc::not_found, label, "there is no such Deployment, or it was deleted");
  co_return last;
}

asio::awaitable<std::vector<rollout_revision>> history_of(client k8s, std::string name,
                                                          std::string namespace_) {
  api<apps_v1::deployment> deployments(k8s, std::move(namespace_));
  apps_v1::deployment of = co_await deployments.get(std::move(name));
  co_return co_await revisions_of(std::move(k8s), std::move(of));
}

asio::awaitable<std::int64_t> roll_back(client k8s, std::string name, std::string namespace_,
                                        std::int64_t wanted) {
  api<apps_v1::deployment> deployments(k8s, namespace_);
  const apps_v1::deployment of = co_await deployments.get(name);
  const std::string label = "Deployment " + namespace_ + '/' + name;
  if (of.spec.paused) {
    throw error(errc::failed_precondition, label, "is paused: resume it before it is rolled back");
  }
  std::vector<rollout_revision> revisions = co_await revisions_of(k8s, of);
  const rollout_revision* found = nullptr;
  if (wanted == 0) {
    if (revisions.size() >= 2) found = &revisions[revisions.size() - 2];
  } else {
    for (const auto& revision : revisions) {
      if (revision.number == wanted) found = &revision;
    }
  }
  if (found == nullptr) {
    throw error(errc::not_found, label,
                wanted == 0 ? "has no revision before the present one"
                            : "has no revision " + std::to_string(wanted));
  }
  if (found->template_ == of.spec.template_) {
    throw error(errc::failed_precondition, label,
                "revision " + std::to_string(found->number) + " is what is there already");
  }
  // The whole template: a merge would leave what the newer one added. The generation keeps a change
  // by somebody else from being overwritten; it counts those of the spec only, while the version
  // counts the controller's notes too, of which there are many.
  auto operations = json::array();
  operations.push_back(
      {{"op", "test"}, {"path", "/metadata/generation"}, {"value", of.metadata.generation}});
  operations.push_back(
      {{"op", "replace"}, {"path", "/spec/template"}, {"value", to_json_value(found->template_)}});
  const std::int64_t number = found->number;
  auto changing = change(std::move(k8s), std::move(name), std::move(namespace_),
                         kubernetes::patch::json(std::move(operations)));
  try {
    co_await std::move(changing);
  } catch (const status_error& e) {
    if (!is_invalid(e)) throw;
    throw error(errc::aborted, label,
                "was changed while it was rolled back: look at it, then roll it back again");
  }
  co_return number;
}

asio::awaitable<void> scale_to(client k8s, std::string name, std::string namespace_,
                               std::int32_t replicas) {
  api<apps_v1::deployment> deployments(std::move(k8s), std::move(namespace_));
  co_await deployments.scale_to(std::move(name), replicas);
}

}  // namespace

rollout::rollout(client k8s, std::string deployment, std::string namespace_)
    : k8s_(std::move(k8s)), name_(std::move(deployment)), in_(std::move(namespace_)) {
  if (name_.empty()) throw error(errc::invalid_argument, "rollout.deployment", "needs a name");
  if (in_.empty()) in_ = k8s_.default_namespace();
}

asio::awaitable<rollout_status> rollout::status() const { return status_now(k8s_, name_, in_); }

asio::awaitable<rollout_status> rollout::wait(rollout_wait_options options) const {
  return wait_for(k8s_, name_, in_, std::move(options));
}

asio::awaitable<std::vector<rollout_revision>> rollout::history() const {
  return history_of(k8s_, name_, in_);
}

asio::awaitable<std::int64_t> rollout::undo(std::int64_t revision) const {
  return roll_back(k8s_, name_, in_, revision);
}

asio::awaitable<void> rollout::restart() const {
  json what;
  what["spec"]["template"]["metadata"]["annotations"][std::string(restart_annotation)] =
      format_rfc3339(std::chrono::system_clock::now());
  return change(k8s_, name_, in_, kubernetes::patch::merge(std::move(what)));
}

asio::awaitable<void> rollout::pause() const {
  return change(k8s_, name_, in_, kubernetes::patch::merge({{"spec", {{"paused", true}}}}));
}

asio::awaitable<void> rollout::resume() const {
  return change(k8s_, name_, in_, kubernetes::patch::merge({{"spec", {{"paused", false}}}}));
}

asio::awaitable<void> rollout::scale(std::int32_t replicas) const {
  return scale_to(k8s_, name_, in_, replicas);
}

}  // namespace mizzen::kubernetes
