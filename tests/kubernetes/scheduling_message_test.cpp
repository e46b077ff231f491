#include <mizzen/kubernetes/scheduling_message.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::kubernetes {
namespace {

// All texts were written by kube-scheduler 1.36, except where a test says otherwise.

TEST(SchedulingMessage, CountsEachPredicate) {
  const auto message = parse_scheduling_message(
      "0/5 nodes are available: 1 node(s) were unschedulable, 2 Insufficient nvidia.com/gpu, "
      "2 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/5 nodes are "
      "available: 5 Preemption is not helpful for scheduling.");
  ASSERT_TRUE(message);
  EXPECT_EQ(message->available, 0);
  EXPECT_EQ(message->nodes, 5);
  ASSERT_EQ(message->failures.size(), 3u);
  EXPECT_EQ(message->failures[0].nodes, 2);
  EXPECT_EQ(message->failures[0].predicate, predicate::resources);
  EXPECT_EQ(message->failures[0].resource, "nvidia.com/gpu");
  EXPECT_EQ(message->failures[1].predicate, predicate::taint);
  EXPECT_EQ(message->failures[1].taint, "");
  EXPECT_EQ(message->failures[2].nodes, 1);
  EXPECT_EQ(message->failures[2].predicate, predicate::cordoned);
  EXPECT_EQ(message->preemption,
            "no new claims to deallocate, preemption: 0/5 nodes are available: 5 Preemption is not "
            "helpful for scheduling.");
}

TEST(SchedulingMessage, ReadsTheTaintWhereItIsTold) {  // the form of releases before 1.34
  const auto message = parse_scheduling_message(
      "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/"
      "control-plane: }, 3 node(s) had untolerated taint {nvidia.com/gpu: present}.");
  ASSERT_TRUE(message);
  ASSERT_EQ(message->failures.size(), 2u);
  EXPECT_EQ(message->failures[0].taint, "nvidia.com/gpu: present");
  EXPECT_EQ(message->failures[1].taint, "node-role.kubernetes.io/control-plane");
  EXPECT_EQ(message->preemption, "");
}

TEST(SchedulingMessage, KeepsWhatStoppedItBeforeAnyNode) {
  const auto unbound = parse_scheduling_message(
      "0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found");
  ASSERT_TRUE(unbound);
  EXPECT_THAT(unbound->failures, testing::IsEmpty());
  EXPECT_EQ(unbound->pod_reason, "pod has unbound immediate PersistentVolumeClaims");
  const auto missing = parse_scheduling_message(
      "0/5 nodes are available: persistentvolumeclaim \"nope\" not found. not found");
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->pod_reason, "persistentvolumeclaim \"nope\" not found");
}

TEST(SchedulingMessage, TellsThePredicatesApart) {
  const struct {
    const char* text;
    kubernetes::predicate predicate;
  } cases[] = {
      {"node(s) didn't match Pod's node affinity/selector", predicate::node_selector},
      {"node(s) didn't match pod affinity rules", predicate::pod_affinity},
      {"node(s) didn't satisfy existing pods anti-affinity rules", predicate::pod_affinity},
      {"node(s) didn't match pod topology spread constraints (missing required label)",
       predicate::topology_spread},
      {"node(s) didn't have free ports for the requested pod ports", predicate::host_port},
      {"node(s) didn't match PersistentVolume's node affinity", predicate::volume},
      {"node(s) exceed max volume count", predicate::volume},
      {"node(s) had no available volume zone", predicate::volume},
      {"node(s) didn't match the requested node name", predicate::node_name},
      {"Too many pods", predicate::resources},
      {"cannot allocate all claims", predicate::claim},
      {"node(s) were asked by a plug-in, of one's own, not to", predicate::other},
  };
  for (const auto& one : cases) {
    const auto message =
        parse_scheduling_message("0/3 nodes are available: 3 " + std::string(one.text) + ".");
    ASSERT_TRUE(message) << one.text;
    ASSERT_EQ(message->failures.size(), 1u) << one.text;
    EXPECT_EQ(message->failures[0].predicate, one.predicate) << one.text;
    EXPECT_EQ(message->failures[0].text, one.text);
    EXPECT_EQ(message->failures[0].nodes, 3);
  }
}

TEST(SchedulingMessage, OtherTextsAreNotParsed) {
  for (const auto* text :
       {"", "0", "0/", "0/5", "x/5 nodes are available: 1 a", "0/x nodes are available",
        "0/99999999999999999999 nodes are available: 1 a", "-1/5 nodes are available: 1 a",
        "running PreBind plugin \"VolumeBinding\": binding volumes: timed out", "0/5 nodes are"}) {
    EXPECT_FALSE(parse_scheduling_message(text)) << text;
  }
  EXPECT_TRUE(parse_scheduling_message("0/0 nodes are available"));
  EXPECT_TRUE(parse_scheduling_message("0/5 nodes are available: ."));
}

}  // namespace
}  // namespace mizzen::kubernetes
