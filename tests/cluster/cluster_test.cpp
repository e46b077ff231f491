// The cluster itself: what other tests rely on.
#include "cluster.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/http/client.hpp>

#include <gmock/gmock.h>

#include <unistd.h>

namespace mizzen::test {
namespace {

using testing::HasSubstr;

int status_of(const cluster& where, const std::string& token, const std::string& path) {
  http::blocking_client client{{.tls = {.ca_file = where.ca_file()}}};
  http::request get{.url = where.url() + path, .headers = {{"Authorization", "Bearer " + token}}};
  return client.send(std::move(get)).status;
}

std::string job(const std::string& name, const std::string& annotations,
                const std::string& more = "") {
  return "{apiVersion: batch/v1, kind: Job, metadata: {name: " + name +
         "}, spec: {backoffLimit: 0, template: {metadata: {annotations: {" + annotations +
         "}}, spec: {restartPolicy: Never, containers: [{name: main, image: none}]" + more + "}}}}";
}

TEST_F(cluster_test, users_have_their_roles) {
  const auto& c = cluster();
  EXPECT_EQ(status_of(c, c.admin_token(), "/api/v1/secrets"), 200);
  EXPECT_EQ(status_of(c, c.viewer_token(), "/api/v1/pods"), 200);
  EXPECT_EQ(status_of(c, c.viewer_token(), "/api/v1/secrets"), 403);
  EXPECT_EQ(status_of(c, c.nobody_token(), "/api/v1/pods"), 403);
  EXPECT_EQ(status_of(c, "wrong", "/api/v1/pods"), 401);
  const std::string token = c.service_account(ns(), "editor", "edit");
  EXPECT_EQ(status_of(c, token, "/api/v1/namespaces/" + ns() + "/secrets"), 200);
  EXPECT_EQ(status_of(c, token, "/api/v1/secrets"), 403);
  for (const auto user : {cluster::user::token_admin, cluster::user::token_file}) {
    EXPECT_THAT(c.kubectl({"auth", "whoami", "--kubeconfig=" + c.kubeconfig(user)}),
                HasSubstr("token-admin"));
  }
}

TEST_F(cluster_test, jobs_complete_on_fake_nodes) {
  cluster().apply(job("hello", ""), ns());
  cluster().kubectl({"wait", "--for=condition=Complete", "--timeout=60s", "-n", ns(), "job/hello"});
}

// A node without one is found dead by the controllers every 50 seconds, and its pods are not ready
// then.
TEST_F(cluster_test, fake_nodes_keep_their_leases) {
  for (const auto* node : {"fake-0", "fake-1", "fake-gpu", "fake-tainted"}) {
    cluster().kubectl({"wait", "--for=jsonpath={.spec.leaseDurationSeconds}=40", "--timeout=60s",
                       "-n", "kube-node-lease", std::string("lease/") + node});
  }
}

TEST_F(cluster_test, pods_end_as_their_annotations_say) {
  const auto& c = cluster();
  c.apply(job("fails", "mizzen.test/outcome: fail, mizzen.test/exit-code: '42'"), ns());
  c.apply(job("oom", "mizzen.test/outcome: oom"), ns());
  c.apply(job("pull", "mizzen.test/outcome: image-pull"), ns());
  c.apply(job("stays", "mizzen.test/outcome: running"), ns());
  const auto pod = [&](const std::string& name, const std::string& path, const std::string& value) {
    c.kubectl(
        {"wait", "--for=create", "--timeout=60s", "-n", ns(), "pod", "-l", "job-name=" + name});
    c.kubectl({"wait", "--for=jsonpath={.status" + path + "}=" + value, "--timeout=60s", "-n", ns(),
               "pod", "-l", "job-name=" + name});
  };
  pod("fails", ".containerStatuses[0].state.terminated.exitCode", "42");
  pod("oom", ".containerStatuses[0].state.terminated.reason", "OOMKilled");
  pod("pull", ".containerStatuses[0].state.waiting.reason", "ImagePullBackOff");
  pod("stays", ".phase", "Running");
  c.kubectl({"wait", "--for=condition=Failed", "--timeout=60s", "-n", ns(), "job/fails"});
}

TEST_F(cluster_test, accelerators_and_taints) {
  const auto& c = cluster();
  c.apply(
      "{apiVersion: v1, kind: Pod, metadata: {name: gpu}, spec: {containers: [{name: main, image: "
      "none, resources: {limits: {nvidia.com/gpu: 1}}}]}}",
      ns());
  c.apply(
      "{apiVersion: v1, kind: Pod, metadata: {name: stuck}, spec: {nodeSelector: "
      "{mizzen.test/pool: "
      "batch}, containers: [{name: main, image: none}]}}",
      ns());
  c.kubectl({"wait", "--for=condition=Ready", "--timeout=60s", "-n", ns(), "pod/gpu"});
  EXPECT_EQ(c.kubectl({"get", "pod", "gpu", "-n", ns(), "-o", "jsonpath={.spec.nodeName}"}),
            "fake-gpu");
  c.kubectl({"wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "--timeout=60s",
             "-n", ns(), "pod/stuck"});
}

TEST_F(cluster_test, custom_resources_are_validated) {
  const auto& c = cluster();
  const auto widget = [](const std::string& spec) {
    return "{apiVersion: mizzen.test/v1, kind: Widget, metadata: {name: w}, spec: {" + spec + "}}";
  };
  EXPECT_THROW(c.apply(widget("size: -1"), ns()), error);
  EXPECT_THROW(c.apply(widget("size: 3, colour: even"), ns()), error);
  c.apply(widget("size: 4, colour: even"), ns());
  const json read = json::parse(c.kubectl({"get", "widget", "w", "-n", ns(), "-o", "json"}));
  EXPECT_EQ(read["spec"]["replicas"], 1);
  c.apply("{apiVersion: mizzen.test/v1, kind: Fleet, metadata: {name: " + ns() +
          "}, any: {thing: 1}}");
  c.kubectl({"delete", "fleet", ns()});
}

TEST(private_cluster_test, api_server_dies_and_comes_back) {
  if (const std::string reason = cluster::unavailable(); !reason.empty()) GTEST_SKIP() << reason;
  std::string folder;
  {
    private_cluster mine;
    folder = mine.folder();
    mine.kubectl({"create", "configmap", "kept"});
    mine.kill("kube-apiserver");
    EXPECT_THROW(status_of(mine, mine.admin_token(), "/readyz"), error);
    mine.start("kube-apiserver");
    EXPECT_EQ(status_of(mine, mine.admin_token(), "/api/v1/namespaces/default/configmaps/kept"),
              200);
  }
  EXPECT_NE(::access(folder.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace mizzen::test
