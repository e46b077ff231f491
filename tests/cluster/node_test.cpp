// The real node: containers run, and their logs and commands can be had.
#include "cluster.hpp"

#include <gmock/gmock.h>

namespace mizzen::test {
namespace {

using testing::HasSubstr;

TEST_F(node_test, containers_run) {
  const auto& c = cluster();
  c.apply(
      "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {nodeName: localhost, "
      "terminationGracePeriodSeconds: 0, containers: [{name: main, image: '" +
          std::string(real_node_image) +
          "', imagePullPolicy: Never, command: [sh, -c, 'echo started; sleep 3600']}]}}",
      ns());
  c.kubectl({"wait", "--for=condition=Ready", "--timeout=120s", "-n", ns(), "pod/web"});
  EXPECT_EQ(c.kubectl({"logs", "-n", ns(), "web"}), "started\n");
  EXPECT_EQ(c.kubectl({"exec", "-n", ns(), "web", "--", "sh", "-c", "echo $((6 * 7))"}), "42\n");
}

TEST_F(node_test, jobs_are_scheduled_if_they_tolerate_its_taint) {
  const auto& c = cluster();
  c.apply(
      "{apiVersion: batch/v1, kind: Job, metadata: {name: real}, spec: {template: {spec: {"
      "restartPolicy: Never, tolerations: [{key: mizzen.test/real, operator: Exists}], "
      "nodeSelector: {kubernetes.io/hostname: localhost}, containers: [{name: main, image: '" +
          std::string(real_node_image) +
          "', imagePullPolicy: Never, command: [ls, "
          "/var/run/secrets/kubernetes.io/serviceaccount]}]}}}}",
      ns());
  c.kubectl({"wait", "--for=condition=Complete", "--timeout=120s", "-n", ns(), "job/real"});
  EXPECT_THAT(c.kubectl({"logs", "-n", ns(), "job/real"}), HasSubstr("token"));
}

}  // namespace
}  // namespace mizzen::test
