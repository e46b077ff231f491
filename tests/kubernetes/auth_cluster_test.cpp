// Credentials against the real API server: it says who we are.
#include "cluster/cluster.hpp"
#include "cluster/fault_proxy.hpp"
#include "identities.hpp"
#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/config.hpp>
#include <mizzen/kubernetes/status.hpp>

#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <string>

namespace mizzen::kubernetes {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::scratch;
using testing::HasSubstr;

class AuthClusterTest : public mizzen::test::cluster_test {
 protected:
  using user = mizzen::test::cluster::user;

  client_options options() {
    client_options made;
    made.auth.stdin_available = false;
    made.auth.now = [this] {
      return std::chrono::system_clock::now() + std::chrono::seconds(passed.load());
    };
    return made;
  }
  blocking connect(config from) { return blocking(std::move(from), options()); }

  // status.userInfo of a SelfSubjectReview.
  static json review(blocking& k8s) {
    http::request what{.method = "POST",
                       .url = "/apis/authentication.k8s.io/v1/selfsubjectreviews"};
    what.headers.set("Content-Type", "application/json");
    what.body = R"({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})";
    client handle = k8s.client();
    const http::response answer = k8s.run(handle.send(std::move(what)));
    return json::parse(answer.body).at("status").at("userInfo");
  }
  static std::string name(blocking& k8s) { return review(k8s).at("username"); }
  static errc failure(blocking& k8s) {
    try {
      name(k8s);
    } catch (const error& e) {
      return e.code();
    }
    ADD_FAILURE() << "no error";
    return errc::internal;
  }

  // The server and its authority, without a user.
  config nobody() {
    config from = config::from_file(cluster().kubeconfig());
    from.user = {};
    return from;
  }
  // Who the cluster's own kubectl says that this is.
  std::string whoami(user who) {
    const json answer = json::parse(cluster().kubectl(
        {"auth", "whoami", "-o", "json", "--kubeconfig", cluster().kubeconfig(who)}));
    return answer.at("status").at("userInfo").at("username");
  }
  fs::path credential(const json& status) {
    return folder.write("credential", json{{"kind", "ExecCredential"},
                                           {"apiVersion", "client.authentication.k8s.io/v1"},
                                           {"status", status}}
                                          .dump());
  }
  config with_plugin() {
    const fs::path file = folder.write("plugin",
                                       "#!/bin/sh\necho run >> '" + (folder / "runs").string() +
                                           "'\ncat '" + (folder / "credential").string() + "'\n",
                                       true);
    config from = nobody();
    from.user.exec = exec_plugin{.command = file.string(), .interactive = interactive_mode::never};
    return from;
  }
  int runs() const {
    std::ifstream file(folder / "runs");
    int count = 0;
    for (std::string line; std::getline(file, line);) ++count;
    return count;
  }
  static std::string content(const fs::path& name) {
    std::ifstream file(name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const scratch folder;
  std::atomic<std::int64_t> passed = 0;
};

TEST_F(AuthClusterTest, EveryUserOfTheClusterIsWhoKubectlSaysItIs) {
  for (const user who :
       {user::admin, user::token_admin, user::token_file, user::viewer, user::nobody}) {
    blocking k8s = connect(config::from_file(cluster().kubeconfig(who)));
    EXPECT_EQ(name(k8s), whoami(who)) << cluster().kubeconfig(who);
  }
}

TEST_F(AuthClusterTest, AWrongTokenIs401) {
  config from = nobody();
  from.user.token = "wrong";
  blocking k8s = connect(from);
  try {
    name(k8s);
    FAIL() << "let in with a wrong token";
  } catch (const status_error& e) {
    EXPECT_EQ(e.code(), errc::unauthenticated);
  }
}

TEST_F(AuthClusterTest, ATokenFileIsReplacedWhileItRuns) {
  config from = nobody();
  from.user.token_file = folder.write("token", cluster().viewer_token());
  blocking k8s = connect(from);
  EXPECT_EQ(name(k8s), whoami(user::viewer));
  folder.write("token", cluster().admin_token() + "\n");
  passed += 60;
  EXPECT_EQ(name(k8s), whoami(user::token_admin));

  // The period has not passed: the server's 401 has it read again.
  folder.write("token", "no-such-token");
  passed += 60;
  EXPECT_EQ(failure(k8s), errc::unauthenticated);
  folder.write("token", cluster().viewer_token());
  EXPECT_EQ(name(k8s), whoami(user::viewer));
}

TEST_F(AuthClusterTest, APluginGivesATokenAndANewOneAfter401) {
  credential({{"token", cluster().service_account(ns(), "robot", "view")}});
  blocking k8s = connect(with_plugin());
  const std::string robot = "system:serviceaccount:" + ns() + ":robot";
  EXPECT_EQ(name(k8s), robot);
  EXPECT_EQ(name(k8s), robot);
  EXPECT_EQ(runs(), 1);

  credential({{"token", "refused"}, {"expirationTimestamp", "2000-01-01T00:00:00Z"}});
  blocking refused = connect(with_plugin());
  EXPECT_EQ(failure(refused), errc::unauthenticated);
  EXPECT_EQ(runs(), 3);  // once for the request, once for its 401

  credential({{"token", "refused"}});
  EXPECT_EQ(failure(refused), errc::unauthenticated);
  credential({{"token", cluster().viewer_token()}});
  const int before = runs();
  EXPECT_EQ(name(refused), whoami(user::viewer));
  EXPECT_EQ(runs(), before + 1);
}

TEST_F(AuthClusterTest, APluginGivesACertificate) {
  credential({{"clientCertificateData", content(cluster().certificate_file())},
              {"clientKeyData", content(cluster().key_file())}});
  blocking k8s = connect(with_plugin());
  EXPECT_EQ(name(k8s), whoami(user::admin));
  EXPECT_EQ(runs(), 1);
}

// `kubectl config view` does not show what relative paths mean; a request does.
TEST_F(AuthClusterTest, RelativePathsMeanWhatTheyMeanToKubectl) {
  folder.write("sub/token", cluster().viewer_token());
  folder.write("credential", json{{"kind", "ExecCredential"},
                                  {"apiVersion", "client.authentication.k8s.io/v1"},
                                  {"status", {{"token", cluster().admin_token()}}}}
                                 .dump());
  folder.write("sub/bin/plugin", "#!/bin/sh\ncat '" + (folder / "credential").string() + "'\n",
               true);
  folder.write("sub/ca.crt", content(cluster().ca_file()));
  for (const char* entry : {"tokenFile: token", "tokenFile: ./../sub/token",
                            "exec: {command: bin/plugin, interactiveMode: Never, "
                            "apiVersion: client.authentication.k8s.io/v1}",
                            "exec: {command: ./bin/plugin, interactiveMode: Never, "
                            "apiVersion: client.authentication.k8s.io/v1}"}) {
    SCOPED_TRACE(entry);
    const fs::path file =
        folder.write("sub/config",
                     "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                     "clusters: [{name: k, cluster: {certificate-authority: ca.crt, server: '" +
                         cluster().url() + "'}}]\nusers: [{name: u, user: {" + entry + "}}]\n");
    const json answer = json::parse(
        cluster().kubectl({"auth", "whoami", "-o", "json", "--kubeconfig", file.string()}));
    blocking k8s = connect(config::from_file(file));
    EXPECT_EQ(name(k8s), answer.at("status").at("userInfo").at("username"));
  }
}

TEST_F(AuthClusterTest, Impersonates) {
  config from = config::from_file(cluster().kubeconfig());
  from.impersonate = {.user = "boss",
                      .uid = "17",
                      .groups = {"workers", "system:authenticated"},
                      .extra = {{"acme.com/project", {"x", "y z"}}, {"50%", {"w"}}}};
  blocking k8s = connect(from);
  const json info = review(k8s);
  EXPECT_EQ(info.at("username"), "boss");
  EXPECT_EQ(info.at("uid"), "17");
  EXPECT_EQ(info.at("groups"), json::array({"workers", "system:authenticated"}));
  EXPECT_EQ(info.at("extra"), json::parse(R"({"acme.com/project": ["x", "y z"], "50%": ["w"]})"));
}

TEST_F(AuthClusterTest, VerifiesTheServer) {
  const config good = config::from_file(cluster().kubeconfig());
  config other_name = good;
  other_name.tls_server_name = "kubernetes.default.svc";
  blocking named = connect(other_name);
  EXPECT_EQ(name(named), whoami(user::admin));

  other_name.tls_server_name = "somebody.else";
  blocking wrong_name = connect(other_name);
  EXPECT_EQ(failure(wrong_name), errc::unauthenticated);

  config system_store = good;
  system_store.ca_file.clear();
  system_store.ca_pem.clear();
  blocking unknown = connect(system_store);
  EXPECT_EQ(failure(unknown), errc::unauthenticated);

  system_store.insecure_skip_tls_verify = true;
  blocking insecure = connect(system_store);
  EXPECT_EQ(name(insecure), whoami(user::admin));
}

TEST_F(AuthClusterTest, APodUsesItsServiceAccount) {
  const fs::path account = "var/run/secrets/kubernetes.io/serviceaccount";
  folder.write(account / "token", cluster().service_account(ns(), "one", "view"));
  folder.write(account / "ca.crt", content(cluster().ca_file()));
  folder.write(account / "namespace", ns());
  const std::string& url = cluster().url();
  const std::size_t host = url.find("://") + 3;
  const std::size_t port = url.rfind(':') + 1;
  const load_options inside{
      .environment = [&](const std::string& variable) -> std::optional<std::string> {
        if (variable == "KUBERNETES_SERVICE_HOST") return url.substr(host, port - 1 - host);
        if (variable == "KUBERNETES_SERVICE_PORT") return url.substr(port);
        return std::nullopt;
      },
      .root = folder.path()};
  blocking k8s = connect(config::from_environment(inside));
  EXPECT_EQ(k8s.client().default_namespace(), ns());
  EXPECT_EQ(name(k8s), "system:serviceaccount:" + ns() + ":one");

  // The kubelet replaces both; the authority comes with another one beside it.
  folder.write(account / "token", cluster().service_account(ns(), "two", "view"));
  folder.write(account / "ca.crt",
               content(cluster().ca_file()) + content(cluster().certificate_file()));
  passed += 60;
  EXPECT_EQ(name(k8s), "system:serviceaccount:" + ns() + ":two");

  // An authority that did not sign the server's certificate: the new one really is what counts.
  folder.write(account / "ca.crt", content(cluster().certificate_file()));
  passed += 60;
  EXPECT_EQ(failure(k8s), errc::unauthenticated);
  folder.write(account / "ca.crt", content(cluster().ca_file()));
  passed += 60;
  EXPECT_EQ(name(k8s), "system:serviceaccount:" + ns() + ":two");
}

// proxy-url: https://…: TLS to the proxy, and in it TLS to the server, with the client's
// certificate.
TEST_F(AuthClusterTest, AProxyThatIsReachedByTls) {
  mizzen::test::fault_proxy proxy(cluster());
  config from = config::from_file(cluster().kubeconfig());
  from.proxy = "https://me:secret@" + proxy.url().substr(std::string("https://").size());
  {
    blocking k8s = connect(from);
    EXPECT_EQ(name(k8s), "admin");
    EXPECT_EQ(name(k8s), "admin");
    http::request watch{.method = "GET", .url = "/api/v1/namespaces?watch=1&timeoutSeconds=1"};
    client handle = k8s.client();
    auto stream = k8s.run(handle.open(std::move(watch)));
    EXPECT_THAT(k8s.run(stream.read_all(std::size_t{1} << 20)), HasSubstr("kube-system"));
  }
  const auto seen = proxy.look();
  EXPECT_EQ(seen.requests.size(), 1U) << "the connection is kept";
  for (const auto& each : seen.requests) {
    EXPECT_EQ(each.method, "CONNECT");
    EXPECT_EQ("https://" + each.target, cluster().url());
    EXPECT_EQ(each.authorization, "Basic bWU6c2VjcmV0");
    EXPECT_EQ(each.status, 200);
  }

  // As the proxy says, or does.
  proxy.add({.method = "CONNECT", .status = 407});
  blocking refused = connect(from);
  EXPECT_EQ(failure(refused), errc::unauthenticated);
  proxy.clear();
  proxy.add({.method = "CONNECT", .times = -1, .status = 403});
  client_options once = options();
  once.retry.max_attempts = 1;
  blocking forbidden(from, once);
  EXPECT_EQ(failure(forbidden), errc::unavailable);
  proxy.clear();

  // Its certificate is verified like the server's.
  from.proxy = "https://localhost:" + from.proxy.substr(from.proxy.rfind(':') + 1);
  blocking by_name = connect(from);
  EXPECT_EQ(name(by_name), "admin");
  from.ca_pem.clear();
  from.ca_file = folder.write("ca.crt", test::second_identity.certificate);
  const std::size_t tunnels = proxy.look().requests.size();
  blocking stranger = connect(from);
  EXPECT_EQ(failure(stranger), errc::unauthenticated);
  EXPECT_EQ(proxy.look().requests.size(), tunnels) << "it was spoken to all the same";
}

}  // namespace
}  // namespace mizzen::kubernetes
