// The parts of explain(): each looks at one kind of trouble.
#pragma once

#include <mizzen/kubernetes/explain.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::kubernetes::detail {

std::string pod_label(const core_v1::pod& pod);  // "Pod train-x8z9q"

// Why a pod could not be created: from the message of a FailedCreate event or a ReplicaFailure
// condition.
finding explain_refusal(std::string_view object, std::string_view message);

// Why a pod has no node.
std::vector<finding> explain_unscheduled(const core_v1::pod& pod, const explain_facts& facts);

// What is the matter with a pod; empty: nothing.
std::vector<finding> explain_pod(const core_v1::pod& pod, const explain_facts& facts);

explained_pod summary_of(const core_v1::pod& pod);

// What all containers of a pod request together: the most that is needed at one time.
string_map<quantity> requests_of(const core_v1::pod_spec& spec);

// The newest event with this reason about the object; null if there is none.
const core_v1::event* newest_event(const explain_facts& facts, std::string_view uid,
                                   std::string_view reason);

// The text between two marks; empty if they are not there.
std::string_view between(std::string_view text, std::string_view begin, std::string_view end);

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace mizzen::kubernetes::detail
