#include "kubernetes/outcome.hpp"

#include "core/sha256.hpp"
#include "kubernetes/explain.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <charconv>

namespace mizzen::kubernetes {

namespace {

constexpr std::size_t key_digits = 10;
constexpr std::size_t longest_name = 63;

std::int32_t number_of(const json& value, const char* key) {
  const auto found = value.find(key);
  return found != value.end() && found->is_number_integer() ? found->get<std::int32_t>() : 0;
}

std::string text_of(const json& value, const char* key) {
  const auto found = value.find(key);
  return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string_view to_string(outcome_state state) noexcept {
  switch (state) {
    case outcome_state::succeeded:
      return "succeeded";
    case outcome_state::failed:
      return "failed";
    case outcome_state::lost:
      break;
  }
  return "lost";
}

json to_json_value(const outcome& value) {
  auto exits = json::array();
  for (const auto& exit : value.exits) {
    json entry = {{"pod", exit.pod},       {"container", exit.container},
                  {"node", exit.node},     {"exitCode", exit.exit_code},
                  {"reason", exit.reason}, {"message", exit.message}};
    if (exit.index) entry["index"] = *exit.index;
    exits.push_back(std::move(entry));
  }
  return {{"state", to_string(value.state)},
          {"reason", value.reason},
          {"message", value.message},
          {"succeededPods", value.succeeded_pods},
          {"failedPods", value.failed_pods},
          {"succeededIndexes", value.succeeded_indexes},
          {"failedIndexes", value.failed_indexes},
          {"exits", std::move(exits)}};
}

outcome outcome_from_json(const json& value) {
  outcome result;
  if (!value.is_object()) return result;
  const auto state = text_of(value, "state");
  if (state == "succeeded") result.state = outcome_state::succeeded;
  if (state == "failed") result.state = outcome_state::failed;
  result.reason = text_of(value, "reason");
  result.message = text_of(value, "message");
  result.succeeded_pods = number_of(value, "succeededPods");
  result.failed_pods = number_of(value, "failedPods");
  result.succeeded_indexes = text_of(value, "succeededIndexes");
  result.failed_indexes = text_of(value, "failedIndexes");
  const auto exits = value.find("exits");
  if (exits == value.end() || !exits->is_array()) return result;
  for (const auto& entry : *exits) {
    if (!entry.is_object()) continue;
    auto& exit = result.exits.emplace_back();
    exit.pod = text_of(entry, "pod");
    exit.container = text_of(entry, "container");
    exit.node = text_of(entry, "node");
    exit.exit_code = number_of(entry, "exitCode");
    exit.reason = text_of(entry, "reason");
    exit.message = text_of(entry, "message");
    if (entry.contains("index")) exit.index = number_of(entry, "index");
  }
  return result;
}

std::vector<std::int32_t> expand_indexes(std::string_view text, std::size_t most) {
  std::vector<std::int32_t> indexes;
  const auto whole = text;
  const auto bad = [&] {
    return error(errc::invalid_argument, "indexes",
                 "'" + std::string(whole.substr(0, 100)) + "' is no list such as 0-3,5");
  };
  const auto take_number = [&] {
    std::int32_t number = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failure != std::errc() || number < 0) throw bad();
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
  };
  while (!text.empty()) {
    const auto first = take_number();
    auto last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = take_number();
    }
    if (last < first || (!text.empty() && !text.starts_with(','))) throw bad();
    if (!text.empty()) {
      text.remove_prefix(1);
      if (text.empty()) throw bad();
    }
    if (static_cast<std::size_t>(last - first) >= most - std::min(most, indexes.size())) {
      throw error(errc::resource_exhausted, "indexes",
                  "there are more than " + std::to_string(most));
    }
    for (auto index = first;; ++index) {
      indexes.push_back(index);
      if (index == last) break;
    }
  }
  return indexes;
}

namespace detail {

submission_status status_of(const batch_v1::job& job) {
  submission_status status;
  status.exists = true;
  status.suspended = job.spec.suspend.value_or(false);
  status.active = job.status.active;
  status.ready = job.status.ready.value_or(0);
  status.succeeded = job.status.succeeded;
  status.failed = job.status.failed;
  for (const auto& condition : job.status.conditions) {
    const bool complete = condition.type == "Complete";
    if (condition.status != "True" || (!complete && condition.type != "Failed")) continue;
    auto& end = status.ended.emplace();
    end.state = complete ? outcome_state::succeeded : outcome_state::failed;
    end.reason = condition.reason;
    end.message = condition.message;
    end.succeeded_pods = job.status.succeeded;
    end.failed_pods = job.status.failed;
    end.succeeded_indexes = job.status.completed_indexes;
    end.failed_indexes = job.status.failed_indexes.value_or("");
  }
  return status;
}

submission_status status_of(const core_v1::pod& pod) {
  submission_status status;
  status.exists = true;
  status.suspended = !pod.spec.scheduling_gates.empty();
  const bool succeeded = pod.status.phase == "Succeeded";
  if (succeeded || pod.status.phase == "Failed") {
    status.succeeded = succeeded ? 1 : 0;
    status.failed = succeeded ? 0 : 1;
    auto& end = status.ended.emplace();
    end.state = succeeded ? outcome_state::succeeded : outcome_state::failed;
    end.reason = pod.status.reason;
    end.message = pod.status.message;
    end.succeeded_pods = status.succeeded;
    end.failed_pods = status.failed;
    return status;
  }
  status.active = 1;
  for (const auto& condition : pod.status.conditions) {
    if (condition.type == "Ready" && condition.status == "True") status.ready = 1;
  }
  return status;
}

std::vector<container_exit> exits_of(const std::vector<core_v1::pod>& pods, std::size_t most) {
  std::vector<container_exit> failures;
  std::vector<container_exit> successes;
  for (const auto& pod : pods) {
    const auto summary = summary_of(pod);
    for (const auto* list : {&pod.status.init_container_statuses, &pod.status.container_statuses}) {
      for (const auto& container : *list) {
        const auto* end = container.state.terminated.get();
        if (end == nullptr) end = container.last_state.terminated.get();
        if (end == nullptr) continue;
        container_exit exit;
        exit.pod = pod.metadata.name;
        exit.container = container.name;
        exit.node = pod.spec.node_name;
        exit.index = summary.index;
        exit.exit_code = end->exit_code;
        exit.reason = end->reason;
        exit.message = end->message;
        (end->exit_code == 0 ? successes : failures).push_back(std::move(exit));
      }
    }
  }
  failures.insert(failures.end(), std::make_move_iterator(successes.begin()),
                  std::make_move_iterator(successes.end()));
  if (failures.size() > most) failures.resize(most);
  return failures;
}

outcome lost(std::string_view kind, std::string_view name) {
  outcome result;
  result.state = outcome_state::lost;
  result.reason = "Deleted";
  result.message = std::string(kind) + ' ' + std::string(name) +
                   " was deleted before it was seen how it ended; it may have run";
  return result;
}

bool hold(batch_v1::job& job) {
  if (job.spec.suspend.value_or(false) ||
      job.metadata.labels.contains("kueue.x-k8s.io/queue-name")) {
    return false;
  }
  job.spec.suspend = true;
  job.metadata.annotations.insert_or_assign(held_annotation, "true");
  return true;
}

bool hold(core_v1::pod& pod) {
  if (!pod.spec.node_name.empty()) return false;  // it passes no scheduler that a gate could stop
  pod.spec.scheduling_gates.emplace_back().name = held_annotation;
  pod.metadata.annotations.insert_or_assign(held_annotation, "true");
  return true;
}

bool is_held(const meta_v1::object_meta& metadata) {
  return metadata.annotations.contains(held_annotation);
}

// The uid makes the server refuse it (409) where the object is another one by now.
kubernetes::patch release(const batch_v1::job& job) {
  json change = {{"metadata", {{"uid", job.metadata.uid}}}, {"spec", {{"suspend", false}}}};
  change["metadata"]["annotations"][std::string(held_annotation)] = nullptr;
  return kubernetes::patch::merge(std::move(change));
}

kubernetes::patch release(const core_v1::pod& pod) {
  json change = {{"metadata", {{"uid", pod.metadata.uid}}}};
  change["metadata"]["annotations"][std::string(held_annotation)] = nullptr;
  change["spec"]["schedulingGates"] =
      json::array({{{"name", held_annotation}, {"$patch", "delete"}}});
  return kubernetes::patch::strategic(std::move(change));
}

std::string digest_of(std::string_view bytes) {
  return "sha256:" + mizzen::detail::sha256_hex(bytes);
}

std::string submission_id(std::string_view kind, std::string_view namespace_,
                          std::string_view name) {
  const auto text = std::string(kind) + '/' + std::string(namespace_) + '/' + std::string(name);
  return mizzen::detail::sha256_hex(text).substr(0, 32);
}

std::string keyed_name(std::string_view name, std::string_view key) {
  auto begin = name.substr(0, longest_name - key_digits - 1);
  while (begin.ends_with('-') || begin.ends_with('.')) begin.remove_suffix(1);
  return std::string(begin) + '-' + mizzen::detail::sha256_hex(key).substr(0, key_digits);
}

}  // namespace detail

}  // namespace mizzen::kubernetes
