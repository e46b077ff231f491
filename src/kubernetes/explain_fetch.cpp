// Fetches what explain() needs to know: no more than the case asks for.
#include "kubernetes/explain.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace mizzen::kubernetes {

namespace asio = boost::asio;

namespace {

// A cluster may have more pods than one wants to read for one answer.
constexpr std::size_t most_pods = 50'000;

std::string first_line_of(const std::exception& failure) {
  const std::string text = failure.what();
  return text.substr(0, text.find('\n'));
}

// What the caller may not read is left out, and said.
template <class K>
asio::awaitable<std::vector<K>> read(client k8s, std::string namespace_, list_options which,
                                     std::string what, std::vector<std::string>& unread) {
  std::vector<K> items;
  try {
    api<K> objects = namespace_.empty() ? api<K>(k8s, all_namespaces) : api<K>(k8s, namespace_);
    which.limit = 500;
    kubernetes::pager<K> pages = objects.pages(which);
    while (std::optional<kubernetes::list<K>> page = co_await pages.next()) {
      std::move(page->items.begin(), page->items.end(), std::back_inserter(items));
      if (items.size() < most_pods) continue;
      unread.push_back(what + " beyond the first " + std::to_string(items.size()));
      break;
    }
  } catch (const status_error& failure) {
    unread.push_back(what + ": " + first_line_of(failure));
  }
  co_return items;
}

template <class K>
asio::awaitable<std::vector<K>> read_nodes(client k8s, std::vector<std::string>& unread) {
  std::vector<K> items;
  try {
    kubernetes::list<K> found = co_await api<K>(std::move(k8s)).list_all();
    items = std::move(found.items);
  } catch (const status_error& failure) {
    unread.push_back("nodes: " + first_line_of(failure));
  }
  co_return items;
}

asio::awaitable<void> read_events(client k8s, const meta_v1::object_meta& about,
                                  explain_facts& facts, cancellation cancel) {
  list_options which;
  which.field_selector = "involvedObject.uid=" + about.uid;
  which.cancel = cancel;
  std::vector<core_v1::event> events = co_await read<core_v1::event>(
      std::move(k8s), about.namespace_, std::move(which), "events", facts.unread);
  std::move(events.begin(), events.end(), std::back_inserter(facts.events));
}

bool owned_by(const meta_v1::object_meta& metadata, std::string_view uid) {
  return std::any_of(metadata.owner_references.begin(), metadata.owner_references.end(),
                     [&](const auto& owner) { return owner.uid == uid; });
}

std::string text_of(const meta_v1::label_selector& selector) {
  kubernetes::selector text;
  for (const auto& [key, value] : selector.match_labels) text.equals(key, value);
  for (const auto& expression : selector.match_expressions) {
    if (expression.operator_ == "In") text.in(expression.key, expression.values);
    if (expression.operator_ == "NotIn") text.not_in(expression.key, expression.values);
    if (expression.operator_ == "Exists") text.exists(expression.key);
    if (expression.operator_ == "DoesNotExist") text.not_exists(expression.key);
  }
  return std::move(text).text();
}

bool is_unscheduled(const core_v1::pod& pod) {
  return pod.spec.node_name.empty() && pod.status.phase == "Pending";
}

// A pod that says nothing new beside those that are looked into.
bool is_well(const core_v1::pod& pod) {
  if (pod.status.phase == "Succeeded") return true;
  return pod.status.phase == "Running" &&
         std::all_of(pod.status.container_statuses.begin(), pod.status.container_statuses.end(),
                     [](const auto& status) { return status.ready && status.restart_count == 0; });
}

asio::awaitable<void> read_claims(client k8s, explain_facts& facts, std::string namespace_,
                                  cancellation cancel) {
  std::set<std::string> names;
  for (const auto& pod : facts.pods) {
    if (!is_unscheduled(pod)) continue;
    for (const auto& volume : pod.spec.volumes) {
      if (volume.persistent_volume_claim) names.insert(volume.persistent_volume_claim->claim_name);
    }
  }
  api<core_v1::persistent_volume_claim> claims(k8s, std::move(namespace_));
  get_options options;
  options.cancel = cancel;
  for (const auto& name : names) {
    std::optional<core_v1::persistent_volume_claim> claim;
    try {
      claim = co_await claims.find(name, options);
      if (!claim) facts.missing_claims.push_back(name);
    } catch (const status_error& failure) {
      facts.unread.push_back("claim " + name + ": " + first_line_of(failure));
    }
    if (!claim) continue;
    if (claim->status.phase != "Bound") co_await read_events(k8s, claim->metadata, facts, cancel);
    facts.claims.push_back(std::move(*claim));
  }
}

// Nodes, and what takes up room on them: for pods that fit nowhere.
asio::awaitable<void> read_room(client k8s, explain_facts& facts, cancellation cancel) {
  const bool unscheduled = std::any_of(facts.pods.begin(), facts.pods.end(), is_unscheduled);
  const bool placed = std::any_of(facts.pods.begin(), facts.pods.end(), [](const auto& pod) {
    return !pod.spec.node_name.empty() && !is_well(pod);
  });
  if (!unscheduled && !placed) co_return;
  facts.nodes = co_await read_nodes<core_v1::node>(k8s, facts.unread);
  if (!unscheduled) co_return;
  list_options which;
  which.field_selector = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";
  which.cancel = cancel;
  const std::string everywhere;
  facts.placed_pods = co_await read<core_v1::pod>(std::move(k8s), everywhere, std::move(which),
                                                  "pods of the cluster", facts.unread);
}

// The pods of the newest template of a Deployment; its ReplicaSet's events tell of refusals.
asio::awaitable<void> read_deployment(client k8s, explain_target target, explain_facts& facts,
                                      list_options& pods, cancellation cancel) {
  api<apps_v1::deployment> deployments(k8s, target.namespace_);
  get_options options;
  options.cancel = cancel;
  facts.deployment = co_await deployments.get(target.name, options);
  if (facts.deployment->spec.selector)
    pods.label_selector = text_of(*facts.deployment->spec.selector);
  list_options which;
  which.label_selector = pods.label_selector;
  which.cancel = cancel;
  std::vector<apps_v1::replica_set> sets = co_await read<apps_v1::replica_set>(
      std::move(k8s), target.namespace_, std::move(which), "replica sets", facts.unread);
  const apps_v1::replica_set* newest = nullptr;
  long long newest_revision = -1;
  for (const auto& set : sets) {
    if (!owned_by(set.metadata, facts.deployment->metadata.uid)) continue;
    const auto revision = set.metadata.annotations.find("deployment.kubernetes.io/revision");
    if (revision == set.metadata.annotations.end()) continue;
    const long long number = std::strtoll(revision->second.c_str(), nullptr, 10);
    if (number <= newest_revision) continue;
    newest_revision = number;
    newest = &set;
  }
  if (newest != nullptr) {
    const auto hash = newest->metadata.labels.find("pod-template-hash");
    if (hash != newest->metadata.labels.end()) {
      pods.label_selector +=
          (pods.label_selector.empty() ? "" : ",") + ("pod-template-hash=" + hash->second);
    }
  }
}

asio::awaitable<explanation> fetch_and_explain(client k8s, explain_target target,
                                               explain_options options) {
  if (target.namespace_.empty()) target.namespace_ = k8s.default_namespace();
  explain_facts facts;
  get_options reading;
  reading.cancel = options.cancel;
  list_options pods;
  pods.cancel = options.cancel;
  const meta_v1::object_meta* subject = nullptr;
  if (target.kind == "Job") {
    facts.job = co_await api<batch_v1::job>(k8s, target.namespace_).get(target.name, reading);
    subject = &facts.job->metadata;
    pods.label_selector = "batch.kubernetes.io/controller-uid=" + subject->uid;
  } else if (target.kind == "Deployment") {
    co_await read_deployment(k8s, target, facts, pods, options.cancel);
    subject = &facts.deployment->metadata;
  } else if (target.kind == "StatefulSet") {
    facts.stateful_set =
        co_await api<apps_v1::stateful_set>(k8s, target.namespace_).get(target.name, reading);
    subject = &facts.stateful_set->metadata;
    if (facts.stateful_set->spec.selector) {
      pods.label_selector = text_of(*facts.stateful_set->spec.selector);
    }
  } else if (target.kind == "Pod") {
    facts.pods.push_back(
        co_await api<core_v1::pod>(k8s, target.namespace_).get(target.name, reading));
  } else {
    throw error(errc::invalid_argument, "explain_target.kind",
                "'" + target.kind + "' is none of Job, Pod, Deployment, StatefulSet");
  }
  if (subject != nullptr) {
    facts.pods =
        co_await read<core_v1::pod>(k8s, target.namespace_, std::move(pods), "pods", facts.unread);
    co_await read_events(k8s, *subject, facts, options.cancel);
  }
  if (facts.job && facts.pods.empty()) {
    list_options which;
    which.cancel = options.cancel;
    facts.quotas = co_await read<core_v1::resource_quota>(k8s, target.namespace_, std::move(which),
                                                          "quotas", facts.unread);
  }
  std::size_t looked_into = 0;
  for (const auto& pod : facts.pods) {
    if (is_well(pod) || ++looked_into > options.pods) continue;
    co_await read_events(k8s, pod.metadata, facts, options.cancel);
  }
  co_await read_claims(k8s, facts, target.namespace_, options.cancel);
  co_await read_room(k8s, facts, options.cancel);
  co_return explain(facts);
}

}  // namespace

asio::awaitable<explanation> explain(const client& k8s, explain_target target,
                                     explain_options options) {
  return fetch_and_explain(k8s, std::move(target), std::move(options));
}

}  // namespace mizzen::kubernetes
