#include "kubernetes/explain.hpp"

#include "kubernetes/outcome.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/explain.hpp>
#include <mizzen/kubernetes/rollout.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::kubernetes {
namespace {

using testing::HasSubstr;

// JSON with single quotes, which these objects have none of.
template <class K>
K made(std::string text) {
  std::replace(text.begin(), text.end(), '\'', '"');
  return from_json<K>(text);
}

core_v1::node node_of(const std::string& name, int gpus, const std::string& extra = "") {
  return made<core_v1::node>("{'metadata': {'name': '" + name + "'}, 'spec': {" + extra +
                             "}, 'status': {'allocatable': {'cpu': '32', 'nvidia.com/gpu': '" +
                             std::to_string(gpus) + "'}}}");
}

core_v1::pod unscheduled(const std::string& spec, const std::string& message) {
  return made<core_v1::pod>(
      "{'metadata': {'name': 'train-x', 'uid': 'p'}, 'spec': {'containers': [{'name': 'main'}], " +
      spec +
      "}, 'status': {'phase': 'Pending', 'conditions': [{'type': 'PodScheduled', 'status': "
      "'False', 'reason': 'Unschedulable', 'message': '" +
      message + "'}]}}");
}

core_v1::pod with_status(const std::string& status) {
  return made<core_v1::pod>(
      "{'metadata': {'name': 'p', 'uid': 'p'}, 'spec': {'nodeName': 'n', 'containers': [{'name': "
      "'main', 'image': 'img:1', 'resources': {'limits': {'memory': '1Gi'}}}]}, 'status': {" +
      status + "}}");
}

finding first(const explain_facts& facts) {
  const auto result = explain(facts);
  return result.findings.empty() ? finding{} : result.findings.front();
}

TEST(Explain, ComparesWhatIsAskedWithWhatThereIs) {
  explain_facts facts;
  facts.pods.push_back(unscheduled("'priority': 0",
                                   "0/3 nodes are available: 1 Insufficient cpu, 3 Insufficient "
                                   "nvidia.com/gpu. preemption: no"));
  facts.pods[0].spec.containers[0].resources.limits["nvidia.com/gpu"] = quantity("8");
  facts.nodes = {node_of("gpu-0", 4), node_of("gpu-1", 2), node_of("cpu-0", 0)};
  auto placed = with_status("'phase': 'Running'");
  placed.spec.node_name = "gpu-0";
  placed.spec.containers[0].resources.limits["nvidia.com/gpu"] = quantity("2");
  facts.placed_pods.push_back(placed);

  auto one = first(facts);
  EXPECT_EQ(one.cause, cause::resources);
  EXPECT_EQ(one.object, "Pod train-x");
  EXPECT_EQ(one.message, "needs 8 nvidia.com/gpu; the largest node (gpu-0) has 4, 2 free");
  EXPECT_EQ(one.hint, "ask for at most 4 in one pod, or add larger nodes");
  EXPECT_TRUE(one.final_);

  facts.pods[0].spec.containers[0].resources.limits["nvidia.com/gpu"] = quantity("3");
  one = first(facts);
  EXPECT_EQ(one.message, "needs 3 nvidia.com/gpu; the largest node (gpu-0) has 4, 2 free");
  EXPECT_EQ(one.hint, "wait until other pods end, or add nodes");
  EXPECT_FALSE(one.final_);

  facts.nodes = {node_of("cpu-0", 0)};
  one = first(facts);
  EXPECT_THAT(one.message, HasSubstr("no node of the cluster has any"));
  EXPECT_TRUE(one.final_);
}

TEST(Explain, NamesTheTaintAndTheLabel) {
  explain_facts facts;
  facts.nodes = {
      node_of("gpu-0", 4,
              "'taints': [{'key': 'nvidia.com/gpu', 'value': 'present', 'effect': 'NoSchedule'}]"),
      node_of("cpu-0", 0)};
  facts.pods.push_back(unscheduled("'nodeSelector': {'tpu': 'v5'}",
                                   "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 "
                                   "node(s) didnt match Pods node affinity/selector."));
  const auto result = explain(facts);
  ASSERT_EQ(result.findings.size(), 2u);
  EXPECT_EQ(result.verdict, verdict::pending);
  std::map<cause, finding> by_cause;
  for (const auto& one : result.findings) by_cause[one.cause] = one;
  EXPECT_EQ(by_cause[cause::untolerated_taint].message,
            "1 node has a taint that the pod does not tolerate: nvidia.com/gpu=present:NoSchedule");
  EXPECT_EQ(by_cause[cause::untolerated_taint].hint,
            "add .tolerate(\"nvidia.com/gpu\") if it may run there");
  EXPECT_EQ(by_cause[cause::node_selector].message,
            "no node has the label that the pod asks for: tpu=v5");
}

TEST(Explain, SaysWhatHoldsAPodBack) {
  explain_facts facts;
  facts.pods.push_back(made<core_v1::pod>(
      "{'metadata': {'name': 'p'}, 'spec': {'containers': [], 'schedulingGates': [{'name': "
      "'a/b'}]}, 'status': {'phase': 'Pending'}}"));
  EXPECT_EQ(first(facts).cause, cause::scheduling_gated);
  facts.pods[0].spec.scheduling_gates.clear();
  facts.pods[0].spec.scheduler_name = "nobody";
  EXPECT_EQ(first(facts).cause, cause::no_scheduler);
  EXPECT_THAT(first(facts).message, HasSubstr("'nobody'"));
  facts.pods[0] =
      unscheduled("'volumes': [{'name': 'd', 'persistentVolumeClaim': {'claimName': 'c'}}]",
                  "0/5 nodes are available: persistentvolumeclaim c not found.");
  facts.missing_claims = {"c"};
  EXPECT_EQ(first(facts).cause, cause::missing_claim);
}

TEST(Explain, ReadsTheStateOfContainers) {
  const struct {
    const char* status;
    kubernetes::cause cause;
    const char* words;
  } cases[] = {
      {"'phase': 'Failed', 'containerStatuses': [{'name': 'main', 'state': {'terminated': "
       "{'exitCode': 137, 'reason': 'OOMKilled'}}}]",
       cause::out_of_memory, "memory limit of 1Gi"},
      {"'phase': 'Failed', 'containerStatuses': [{'name': 'main', 'state': {'terminated': "
       "{'exitCode': 3, 'reason': 'Error', 'message': 'no data'}}}]",
       cause::exit_code, "exit code 3: no data"},
      {"'phase': 'Failed', 'containerStatuses': [{'name': 'main', 'state': {'terminated': "
       "{'exitCode': 139, 'reason': 'Error'}}}]",
       cause::exit_code, "SIGSEGV"},
      {"'phase': 'Failed', 'containerStatuses': [{'name': 'main', 'state': {'terminated': "
       "{'exitCode': 128, 'reason': 'StartError', 'message': 'exec: ./train: executable file not "
       "found in $PATH'}}}]",
       cause::bad_command, "executable file not found"},
      {"'phase': 'Failed', 'containerStatuses': [{'name': 'main', 'state': {'terminated': "
       "{'exitCode': 128, 'reason': 'StartError', 'message': 'exec format error'}}}]",
       cause::image_architecture, "another processor"},
      {"'phase': 'Pending', 'containerStatuses': [{'name': 'main', 'state': {'waiting': {'reason': "
       "'ImagePullBackOff', 'message': 'Back-off'}}}]",
       cause::image_pull, "'img:1'"},
      {"'phase': 'Pending', 'containerStatuses': [{'name': 'main', 'state': {'waiting': {'reason': "
       "'ErrImagePull', 'message': 'no matching manifest for linux/arm64'}}}]",
       cause::image_architecture, "processor"},
      {"'phase': 'Pending', 'containerStatuses': [{'name': 'main', 'state': {'waiting': {'reason': "
       "'InvalidImageName'}}}]",
       cause::image_name, "no valid image name"},
      {"'phase': 'Pending', 'containerStatuses': [{'name': 'main', 'state': {'waiting': {'reason': "
       "'CreateContainerConfigError', 'message': 'secret \\'hub\\' not found'}}}]",
       cause::missing_secret, "'hub'"},
      {"'phase': 'Pending', 'containerStatuses': [{'name': 'main', 'state': {'waiting': {'reason': "
       "'CreateContainerConfigError', 'message': 'configmap \\'conf\\' not found'}}}]",
       cause::missing_config_map, "'conf'"},
      {"'phase': 'Running', 'containerStatuses': [{'name': 'main', 'restartCount': 3, 'state': "
       "{'waiting': {'reason': 'CrashLoopBackOff'}}, 'lastState': {'terminated': {'exitCode': "
       "1}}}]",
       cause::exit_code, "started 4 times"},
      {"'phase': 'Pending', 'initContainerStatuses': [{'name': 'fetch', 'state': {'terminated': "
       "{'exitCode': 2}}}]",
       cause::exit_code, "init container 'fetch'"},
      {"'phase': 'Failed', 'reason': 'Evicted', 'message': 'low on memory'", cause::evicted,
       "low on memory"},
      {"'phase': 'Failed', 'conditions': [{'type': 'DisruptionTarget', 'status': 'True', 'reason': "
       "'PreemptionByScheduler', 'message': 'm'}]",
       cause::preempted, "higher priority"},
      {"'phase': 'Failed', 'conditions': [{'type': 'DisruptionTarget', 'status': 'True', 'reason': "
       "'DeletionByTaintManager', 'message': 'm'}]",
       cause::node_lost, "'n'"},
      {"'phase': 'Pending'", cause::starting, "starting on node"},
  };
  for (const auto& one : cases) {
    explain_facts facts;
    facts.pods.push_back(with_status(one.status));
    const auto result = explain(facts);
    ASSERT_EQ(result.findings.size(), 1u) << one.status;
    EXPECT_EQ(result.findings[0].cause, one.cause) << one.status;
    EXPECT_THAT(result.findings[0].message, HasSubstr(one.words));
  }
}

// The messages of kube-apiserver 1.36, as the job controller passes them on.
TEST(Explain, ReadsWhyAPodWasRefused) {
  const struct {
    const char* message;
    kubernetes::cause cause;
    const char* words;
  } cases[] = {
      {"Error creating: pods \"a-jlwtp\" is forbidden: exceeded quota: gpus, requested: "
       "requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=0, limited: "
       "requests.nvidia.com/gpu=1",
       cause::quota_exceeded,
       "the quota 'gpus' allows requests.nvidia.com/gpu=1, used are requests.nvidia.com/gpu=0, and "
       "a "
       "pod asks for requests.nvidia.com/gpu=8"},
      {"Error creating: pods \"limited-zg6td\" is forbidden: maximum cpu usage per Container is 1, "
       "but limit is 2",
       cause::limit_range, "maximum cpu usage"},
      {"Error creating: pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": "
       "allowPrivilegeEscalation != false",
       cause::admission_denied, "restricted:latest"},
      {"Error creating: pods \"a\" is forbidden: ValidatingAdmissionPolicy 'nolatest' with binding "
       "'nolatest' denied request: image x is forbidden",
       cause::admission_denied, "the admission policy 'nolatest' says no: image x is forbidden"},
      {"Error creating: admission webhook \"guard.example.com\" denied the request: no GPUs at "
       "night",
       cause::admission_denied,
       "the admission webhook 'guard.example.com' says no: no GPUs at night"},
      {"Error creating: Internal error occurred: failed calling webhook \"dead.example.com\": "
       "failed "
       "to call webhook: Post \"https://127.0.0.1:1/validate?timeout=2s\": connection refused",
       cause::webhook_unavailable, "'dead.example.com' cannot be reached"},
      {"Error creating: pods \"badsa-\" is forbidden: error looking up service account e/missing: "
       "serviceaccount \"missing\" not found",
       cause::missing_service_account, "'missing'"},
      {"Error creating: pods \"badprio-\" is forbidden: no PriorityClass with name nobody was "
       "found",
       cause::missing_priority_class, "'nobody'"},
      {"Error creating: something new", cause::create_refused, "something new"},
  };
  for (const auto& one : cases) {
    const auto result = detail::explain_refusal("Job a", one.message);
    EXPECT_EQ(result.cause, one.cause) << one.message;
    EXPECT_THAT(result.message, HasSubstr(one.words));
  }
}

TEST(Explain, TellsTheRootBeforeTheConsequence) {
  explain_facts facts;
  facts.job = made<batch_v1::job>(
      "{'metadata': {'name': 'train', 'namespace': 'ml'}, 'spec': {'backoffLimit': 1, 'template': "
      "{}}, 'status': {'failed': 2, "
      "'conditions': [{'type': 'FailureTarget', 'status': 'True', 'reason': "
      "'BackoffLimitExceeded'}, "
      "{'type': 'Failed', 'status': 'True', 'reason': 'BackoffLimitExceeded', 'message': 'm'}]}}");
  for (int i = 0; i < 2; ++i) {
    facts.pods.push_back(
        with_status("'phase': 'Failed', 'containerStatuses': [{'name': 'main', 'state': "
                    "{'terminated': {'exitCode': 3}}}]"));
  }
  const auto result = explain(facts);
  EXPECT_EQ(result.verdict, verdict::failed);
  ASSERT_EQ(result.findings.size(), 2u);
  EXPECT_EQ(result.findings[0].cause, cause::exit_code);
  EXPECT_EQ(result.findings[0].pods, 2);
  EXPECT_EQ(result.findings[1].cause, cause::backoff_limit);
  EXPECT_EQ(result.pods[0].exit_code, 3);
  EXPECT_EQ(to_string(result),
            "Job ml/train: failed\n"
            "- Pod p and 1 other: container 'main' ended with exit code 3\n"
            "  -> its log tells more\n"
            "- Job train: gave up after 2 failed pods (backoffLimit 1)");
}

TEST(Explain, AQuotaWithoutRoomIsSeenWithoutItsEvent) {
  explain_facts facts;
  facts.job = made<batch_v1::job>(
      "{'metadata': {'name': 'train'}, 'spec': {'template': {'spec': {'containers': [{'name': "
      "'main', "
      "'resources': {'limits': {'nvidia.com/gpu': '8'}}}]}}}}");
  facts.quotas.push_back(made<core_v1::resource_quota>(
      "{'metadata': {'name': 'gpus'}, 'status': {'hard': {'requests.nvidia.com/gpu': '4', 'pods': "
      "'9'}, 'used': {'pods': '1'}}}"));
  EXPECT_EQ(first(facts).cause, cause::quota_exceeded);
  EXPECT_THAT(first(facts).message, HasSubstr("requests.nvidia.com/gpu=4"));
}

TEST(Explain, InitContainersRunOneAfterTheOther) {
  const auto pod = made<core_v1::pod>(
      "{'metadata': {'name': 'p'}, 'spec': {'overhead': {'cpu': '100m'}, 'containers': [{'name': "
      "'a', 'resources': {'requests': {'cpu': '1'}}}], "
      "'initContainers': [{'name': 's', 'restartPolicy': 'Always', 'resources': {'requests': "
      "{'cpu': '500m'}}}, "
      "{'name': 'i', 'resources': {'requests': {'cpu': '3'}}}]}}");
  EXPECT_EQ(detail::requests_of(pod.spec).at("cpu"), quantity("3600m"));
}

TEST(Outcome, IndexesExpand) {
  EXPECT_EQ(expand_indexes("0-3,5"), (std::vector<std::int32_t>{0, 1, 2, 3, 5}));
  EXPECT_TRUE(expand_indexes("").empty());
  for (const auto* text : {"a", "1,", ",1", "3-1", "1-", "-1", "1;2", "99999999999"}) {
    EXPECT_THROW(expand_indexes(text), error) << text;
  }
  EXPECT_THROW(expand_indexes("0-2147483647"), error);
}

TEST(Outcome, SurvivesTheJournal) {
  outcome end;
  end.state = outcome_state::failed;
  end.reason = "FailedIndexes";
  end.message = "m";
  end.failed_pods = 3;
  end.failed_indexes = "1,3";
  end.exits.push_back(
      {.pod = "p", .container = "c", .node = "n", .index = 1, .exit_code = 3, .reason = "Error"});
  EXPECT_EQ(outcome_from_json(to_json_value(end)), end);
  EXPECT_EQ(outcome_from_json(json::array()).state, outcome_state::lost);
  EXPECT_EQ(outcome_from_json({{"exits", {1, 2}}, {"state", 7}}).state, outcome_state::lost);
}

TEST(Outcome, NamesAreMadeOfKeys) {
  const auto name = detail::keyed_name("train", "run 7");
  EXPECT_EQ(name, detail::keyed_name("train", "run 7"));
  EXPECT_NE(name, detail::keyed_name("train", "run 8"));
  EXPECT_EQ(name.size(), std::string("train-").size() + 10);
  EXPECT_LE(detail::keyed_name(std::string(63, 'a'), "k").size(), 63u);
}

template <class K>
std::string state_of(const std::string& text) {
  const auto status = rollout_status_of(made<K>(text));
  return std::string(status.state == rollout_state::complete ? "complete"
                     : status.state == rollout_state::failed ? "failed"
                                                             : "progressing") +
         ": " + status.message;
}

TEST(Rollout, FollowsKubectlsRules) {
  const std::string spec =
      "'metadata': {'name': 'd', 'generation': 2}, 'spec': {'replicas': 3}, 'status': "
      "{'observedGeneration': ";
  EXPECT_THAT(state_of<apps_v1::deployment>("{" + spec + "1}}"),
              HasSubstr("progressing: the change has not been seen"));
  EXPECT_EQ(state_of<apps_v1::deployment>("{" + spec + "2, 'updatedReplicas': 1}}"),
            "progressing: 1 of 3 new replicas have been made");
  EXPECT_EQ(state_of<apps_v1::deployment>("{" + spec + "2, 'updatedReplicas': 3, 'replicas': 4}}"),
            "progressing: 1 old replicas are still ending");
  EXPECT_EQ(state_of<apps_v1::deployment>(
                "{" + spec + "2, 'updatedReplicas': 3, 'replicas': 3, 'availableReplicas': 2}}"),
            "progressing: 2 of 3 updated replicas are available");
  EXPECT_EQ(state_of<apps_v1::deployment>(
                "{" + spec + "2, 'updatedReplicas': 3, 'replicas': 3, 'availableReplicas': 3}}"),
            "complete: rolled out");
  EXPECT_EQ(
      state_of<apps_v1::deployment>("{" + spec +
                                    "2, 'conditions': [{'type': 'Progressing', 'status': 'False', "
                                    "'reason': 'ProgressDeadlineExceeded', 'message': 'm'}]}}"),
      "failed: m");

  const std::string set =
      "'metadata': {'name': 's', 'generation': 2}, 'spec': {'replicas': 3, 'updateStrategy': "
      "{'type': 'RollingUpdate'%}}, 'status': {'observedGeneration': 2, 'readyReplicas': ";
  auto plain = set;
  plain.erase(plain.find('%'), 1);
  auto partitioned = set;
  partitioned.replace(partitioned.find('%'), 1, ", 'rollingUpdate': {'partition': 1}");
  EXPECT_EQ(state_of<apps_v1::stateful_set>("{" + plain + "2}}"),
            "progressing: 2 of 3 pods are ready");
  EXPECT_EQ(
      state_of<apps_v1::stateful_set>(
          "{" + plain + "3, 'currentRevision': 'a', 'updateRevision': 'b', 'updatedReplicas': 1}}"),
      "progressing: 1 of 3 pods are updated");
  EXPECT_EQ(state_of<apps_v1::stateful_set>("{" + plain +
                                            "3, 'currentRevision': 'b', 'updateRevision': 'b'}}"),
            "complete: rolled out");
  EXPECT_EQ(state_of<apps_v1::stateful_set>("{" + partitioned + "3, 'updatedReplicas': 1}}"),
            "progressing: 1 of 2 pods above the partition are updated");
  EXPECT_EQ(state_of<apps_v1::stateful_set>("{" + partitioned + "3, 'updatedReplicas': 2}}"),
            "complete: rolled out");
  EXPECT_THROW(state_of<apps_v1::stateful_set>(
                   "{'metadata': {'name': 's'}, 'spec': {'updateStrategy': {'type': 'OnDelete'}}}"),
               error);
  EXPECT_EQ(state_of<apps_v1::daemon_set>(
                "{'metadata': {'name': 'x'}, 'status': {'desiredNumberScheduled': 2, "
                "'updatedNumberScheduled': 2, 'numberAvailable': 1}}"),
            "progressing: 1 of 2 updated pods are available");
}

}  // namespace
}  // namespace mizzen::kubernetes
