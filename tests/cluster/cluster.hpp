// A real Kubernetes control plane for tests: see README.md.
//
//   class my_test : public mizzen::test::cluster_test {};      // skipped, with the reason, without
//   one TEST_F(my_test, lists) {
//     auto config = config::from_file(cluster().kubeconfig()); // admin, by certificate
//     cluster().kubectl({"create", "configmap", "a", "-n", ns()});
//   }
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::test {

// A running cluster. Reading is thread-safe, and so is kubectl().
class cluster {
 public:
  // Who a kubeconfig is for.
  enum class user {
    admin,        // system:masters, by client certificate
    token_admin,  // system:masters, by token
    token_file,   // the same, the token being in a file (admin_token_file)
    viewer,       // the role "view": reads, but no secrets, and writes nothing
    nobody,       // authenticated, without a role: everything is 403
  };

  // The one that the tests of a run share: of MIZZEN_TEST_CLUSTER=DIR if that is set, else of the
  // build folder. Throws mizzen::error when it does not run; see unavailable().
  static const cluster& shared();

  // Why there is no shared cluster, or empty.
  static std::string unavailable();

  const std::string& folder() const { return folder_; }  // log/, pki/, *.kubeconfig
  const std::string& url() const { return at("MIZZEN_CLUSTER_API"); }
  const std::string& ca_file() const { return at("MIZZEN_CLUSTER_CA"); }
  std::string kubeconfig(user who = user::admin) const;  // path
  const std::string& admin_token() const { return at("MIZZEN_CLUSTER_ADMIN_TOKEN"); }
  const std::string& viewer_token() const { return at("MIZZEN_CLUSTER_VIEWER_TOKEN"); }
  const std::string& nobody_token() const { return at("MIZZEN_CLUSTER_NOBODY_TOKEN"); }
  std::string admin_token_file() const { return folder_ + "/admin.token"; }
  std::string certificate_file(const std::string& name = "admin") const;  // pki/NAME.crt
  std::string key_file(const std::string& name = "admin") const;          // pki/NAME.key
  std::string program(const std::string& name) const;                     // "kubectl": its path
  const std::string& fault_proxy_program() const { return at("MIZZEN_CLUSTER_FAULT_PROXY"); }

  // Runs kubectl as admin; gives its output. Throws mizzen::error with what it says on failure.
  std::string kubectl(std::vector<std::string> arguments, const std::string& input = {}) const;

  // Objects in YAML, of the namespace if they name none.
  void apply(const std::string& yaml, const std::string& ns = "default") const;

  // Makes a service account that has a ClusterRole ("view", "edit", "admin") in its namespace, or
  // none if that is empty, and gives a token of it.
  std::string service_account(const std::string& ns, const std::string& name,
                              const std::string& cluster_role = {}) const;

 protected:
  explicit cluster(std::string folder);
  std::string folder_;

 private:
  const std::string& at(const std::string& variable) const;
  std::map<std::string, std::string> environment_;
};

struct private_cluster_options {
  bool bare = true;        // etcd and the API server only
  std::string flags = {};  // more flags for the API server, e.g. "--max-requests-inflight=5"
};

// A cluster of the test's own, whose servers it may end. It takes 4 seconds and 450 MB (not bare:
// 6 seconds, 850 MB); it ends with this object or with the process, whatever comes first. Servers:
// etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok.
class private_cluster : public cluster {
 public:
  explicit private_cluster(const private_cluster_options& options = {});
  ~private_cluster();
  private_cluster(const private_cluster&) = delete;
  private_cluster& operator=(const private_cluster&) = delete;

  void kill(const std::string& server) { control("kill", server); }      // SIGKILL
  void stop(const std::string& server) { control("stop", server); }      // in good order
  void start(const std::string& server) { control("start", server); }    // ready on return
  void pause(const std::string& server) { control("pause", server); }    // SIGSTOP: silent
  void resume(const std::string& server) { control("resume", server); }  // SIGCONT

 private:
  void control(const std::string& action, const std::string& server);
};

// A namespace with a name of its own. When its test has failed, what is in it and the end of the
// servers' logs are printed before it is deleted.
class test_namespace {
 public:
  explicit test_namespace(const cluster& where);
  ~test_namespace();
  test_namespace(const test_namespace&) = delete;
  test_namespace& operator=(const test_namespace&) = delete;
  const std::string& name() const { return name_; }

 private:
  const cluster& cluster_;
  std::string name_;
};

// A test on the shared cluster, skipped where there is none.
class cluster_test : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override { namespace_.reset(); }

  const mizzen::test::cluster& cluster() { return mizzen::test::cluster::shared(); }
  const std::string& ns();  // this test's namespace, made at the first call

 private:
  std::optional<test_namespace> namespace_;
};

// A test on the real node (nodeName "localhost", image real_node_image, which has busybox's
// commands; imagePullPolicy Never), skipped where there is none.
class node_test : public cluster_test {
 protected:
  void SetUp() override;
};
inline constexpr const char* real_node_image = "mizzen.test/busybox:1";

}  // namespace mizzen::test
