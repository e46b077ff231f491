#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/config.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace mizzen::kubernetes {
namespace {

using test::scratch;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

environment variables(std::map<std::string, std::string> set) {
  return [set = std::move(set)](const std::string& name) -> std::optional<std::string> {
    const auto found = set.find(name);
    return found == set.end() ? std::nullopt : std::optional(found->second);
  };
}

// A kubeconfig of one context whose cluster and user have these fields.
std::string kubeconfig_text(const std::string& cluster, const std::string& user) {
  return "current-context: c\n"
         "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
         "clusters: [{name: k, cluster: {" +
         cluster +
         "}}]\n"
         "users: [{name: u, user: {" +
         user + "}}]\n";
}

config read(const std::string& cluster, const std::string& user, load_options options = {}) {
  if (!options.environment) options.environment = variables({});
  return config::from_text(kubeconfig_text(cluster, user), options);
}

std::string failure(const std::string& cluster, const std::string& user,
                    load_options options = {}) {
  try {
    read(cluster, user, std::move(options));
  } catch (const error& e) {
    return e.what();
  }
  return "no error";
}

const std::string https = R"(server: "https://h")";

TEST(ConfigTest, ChoosesContextClusterAndUser) {
  const std::string text = R"(
current-context: dev
contexts:
- {name: dev, context: {cluster: one, user: me, namespace: ml}}
- {name: prod, context: {cluster: two, user: robot}}
clusters:
- {name: one, cluster: {server: "https://one:6443/"}}
- {name: two, cluster: {server: "https://two/k8s/clusters/c-1/?x=1#y"}}
users:
- {name: me, user: {token: mine}}
- {name: robot, user: {token: its}}
)";
  const auto from = [&](load_options options) {
    options.environment = variables({});
    return config::from_text(text, options);
  };
  const config dev = from({});
  EXPECT_EQ(dev.server, "https://one:6443");
  EXPECT_EQ(dev.default_namespace, "ml");
  EXPECT_EQ(dev.user.token, "mine");
  EXPECT_EQ(dev.origin, "context 'dev' of kubeconfig");

  const config prod = from({.context = "prod"});
  EXPECT_EQ(prod.server, "https://two/k8s/clusters/c-1");
  EXPECT_EQ(prod.default_namespace, "default");
  EXPECT_EQ(prod.user.token, "its");

  const config mixed = from({.cluster = "two", .user = "robot", .namespace_ = "x"});
  EXPECT_EQ(mixed.server, "https://two/k8s/clusters/c-1");
  EXPECT_EQ(mixed.default_namespace, "x");
  EXPECT_EQ(mixed.user.token, "its");

  for (const load_options& wrong :
       {load_options{.context = "none"}, load_options{.cluster = "none"},
        load_options{.user = "none"}}) {
    try {
      from(wrong);
      FAIL() << "a name that does not exist was taken";
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::not_found);
      EXPECT_THAT(e.what(), HasSubstr("'none' does not exist; there are "));
    }
  }
}

TEST(ConfigTest, TakesWhatTheClusterSays) {
  const config secure = read(
      https + R"(, certificate-authority-data: UEVN, tls-server-name: name, proxy-url: "http://p:1",
                 disable-compression: true)",
      R"(client-certificate-data: Q0VSVA==, client-key: /key, as: boss, as-groups: [g])");
  EXPECT_EQ(secure.ca_pem, "PEM");
  EXPECT_EQ(secure.tls_server_name, "name");
  EXPECT_EQ(secure.proxy, "http://p:1");
  EXPECT_FALSE(secure.compression);
  EXPECT_EQ(secure.user.certificate_pem, "CERT");
  EXPECT_EQ(secure.user.key_file, "/key");
  EXPECT_EQ(secure.impersonate.user, "boss");
  EXPECT_THAT(secure.impersonate.groups, ElementsAre("g"));

  EXPECT_EQ(read("server: h, insecure-skip-tls-verify: true", "").server, "https://h");
  EXPECT_EQ(read("server: 'h:80'", "").server, "http://h:80");
  EXPECT_EQ(read("server: 'HTTPS://[::1]:6443'", "").server, "https://[::1]:6443");
}

TEST(ConfigTest, RefusesWhatContradictsItself) {
  EXPECT_THAT(failure("tls-server-name: x", ""),
              HasSubstr("clusters[0].cluster.server: is missing"));
  EXPECT_THAT(failure("server: 'ftp://h'", ""), HasSubstr("must begin with https://"));
  EXPECT_THAT(failure("server: 'https://me:secret@h'", ""),
              AllOf(HasSubstr("must not hold a user and password"), Not(HasSubstr("secret"))));
  EXPECT_THAT(failure("server: 'https://'", ""), HasSubstr("clusters[0].cluster.server"));
  EXPECT_THAT(failure(https + ", certificate-authority: a, certificate-authority-data: UEVN", ""),
              HasSubstr("holds both certificate-authority and"));
  EXPECT_THAT(failure(https + ", insecure-skip-tls-verify: true, certificate-authority: a", ""),
              HasSubstr("clusters[0].cluster.insecure-skip-tls-verify"));
  EXPECT_THAT(failure(https + ", proxy-url: 'gopher://me:secret@h'", ""),
              AllOf(HasSubstr("clusters[0].cluster.proxy-url"), Not(HasSubstr("secret"))));
  EXPECT_THAT(failure(https, "token: t, username: u"), HasSubstr("both a token and a username"));
  EXPECT_THAT(failure(https, "client-certificate: c"), HasSubstr("no client-key"));
  EXPECT_THAT(failure(https, "client-certificate: c, client-key: k, client-key-data: S0VZ"),
              HasSubstr("both client-key and client-key-data"));
  EXPECT_THAT(failure(https, "as-groups: [a]"), HasSubstr("need `as`"));
  EXPECT_THAT(failure(https, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1}"),
              HasSubstr("users[0].user.exec.interactiveMode: is missing"));
  EXPECT_THAT(failure(https, "exec: {command: x, apiVersion: client.authentication.k8s.io/v2}"),
              HasSubstr("users[0].user.exec.apiVersion: is 'client.authentication.k8s.io/v2'"));
  EXPECT_THAT(
      failure(https, "exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}"),
      HasSubstr("aws eks update-kubeconfig"));
  EXPECT_THAT(failure(https, "exec: {apiVersion: client.authentication.k8s.io/v1beta1}"),
              HasSubstr("users[0].user.exec.command: is missing"));
  EXPECT_THAT(failure(https, "auth-provider: {name: gcp}"), HasSubstr("gke-gcloud-auth-plugin"));
  EXPECT_THAT(failure(https, "auth-provider: {name: azure}"), HasSubstr("kubelogin"));
  EXPECT_THAT(failure(https, "auth-provider: {name: oidc, config: {client-id: c}}"),
              HasSubstr("users[0].user.auth-provider.config.idp-issuer-url: is missing"));
}

TEST(ConfigTest, ABadUserElsewhereDoesNotMatter) {
  const config fine = config::from_text(kubeconfig_text(https, "token: t") + "extensions: []\n",
                                        {.environment = variables({})});
  EXPECT_EQ(fine.user.token, "t");
  const std::string text =
      "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n"
      "clusters: [{name: k, cluster: {server: 'https://h'}}]\n"
      "users: [{name: old, user: {auth-provider: {name: gcp}}}]\n";
  EXPECT_EQ(config::from_text(text, {.environment = variables({})}).user.token, "");
}

TEST(ConfigTest, ReadsPlugins) {
  const config read_config = read(
      https + ", extensions: [{name: client.authentication.k8s.io/exec, extension: {a: [1, b]}}]",
      "exec: {command: get-token, apiVersion: client.authentication.k8s.io/v1beta1}");
  ASSERT_TRUE(read_config.user.exec);
  EXPECT_EQ(read_config.user.exec->interactive, interactive_mode::if_available);
  EXPECT_EQ(read_config.exec_extension, R"({"a":[1,"b"]})");
}

TEST(ConfigTest, ReadsOidc) {
  const config read_config = read(https, R"(auth-provider: {name: oidc, config: {
      idp-issuer-url: "https://issuer", client-id: me, client-secret: s, id-token: i,
      refresh-token: r, idp-certificate-authority-data: UEVN, extra-scopes: groups}})");
  ASSERT_TRUE(read_config.user.oidc);
  EXPECT_EQ(read_config.user.oidc->issuer_url, "https://issuer");
  EXPECT_EQ(read_config.user.oidc->client_secret, "s");
  EXPECT_EQ(read_config.user.oidc->refresh_token, "r");
  EXPECT_EQ(read_config.user.oidc->ca_pem, "PEM");
}

TEST(ConfigTest, FromEnvironmentMergesTheFilesOfKubeconfig) {
  const scratch folder;
  folder.write("one", kubeconfig_text(https, "token: t"));
  folder.write("two", "contexts: [{name: d, context: {cluster: k, user: u, namespace: ml}}]\n");
  const auto both = variables(
      {{"KUBECONFIG", (folder / "one").string() + ":" + (folder / "two").string() + ":/missing"}});
  EXPECT_EQ(config::from_environment({.environment = both}).default_namespace, "default");
  const config chosen = config::from_environment({.context = "d", .environment = both});
  EXPECT_EQ(chosen.default_namespace, "ml");
  EXPECT_THAT(chosen.origin, HasSubstr("context 'd' of "));

  folder.write(".kube/config", kubeconfig_text(https, "token: home"));
  EXPECT_EQ(config::from_environment({.environment = variables({{"HOME", folder.path().string()}})})
                .user.token,
            "home");
}

TEST(ConfigTest, FromEnvironmentSaysWhereItLooked) {
  const scratch folder;
  try {
    config::from_environment(
        {.environment = variables({{"KUBECONFIG", "/no/such:/nor/this"}}), .root = folder.path()});
    FAIL() << "nothing was enough";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::not_found);
    EXPECT_THAT(e.what(),
                AllOf(HasSubstr("/no/such, /nor/this"), HasSubstr("KUBERNETES_SERVICE_HOST")));
  }
}

TEST(ConfigTest, FromFileNeedsTheFile) {
  const scratch folder;
  try {
    config::from_file(folder / "missing");
    FAIL() << "a missing file was read";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::not_found);
    EXPECT_EQ(e.subject(), (folder / "missing").string());
  }
}

class InClusterTest : public testing::Test {
 protected:
  InClusterTest() {
    folder.write(account / "token", "token\n");
    folder.write(account / "ca.crt", "PEM");
    folder.write(account / "namespace", "ml\n");
  }
  load_options options(std::map<std::string, std::string> more = {}) {
    more.insert({{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}});
    return {.environment = variables(more), .root = folder.path()};
  }
  const scratch folder;
  const std::filesystem::path account = "var/run/secrets/kubernetes.io/serviceaccount";
};

TEST_F(InClusterTest, ReadsTheServiceAccount) {
  const config pod = config::in_cluster(options());
  EXPECT_EQ(pod.server, "https://10.96.0.1:443");
  EXPECT_EQ(pod.default_namespace, "ml");
  EXPECT_EQ(pod.ca_file, folder / account / "ca.crt");
  EXPECT_EQ(pod.user.token_file, folder / account / "token");
  EXPECT_EQ(pod.origin, "in-cluster");

  EXPECT_EQ(config::in_cluster(options({{"POD_NAMESPACE", "other"}})).default_namespace, "other");
  EXPECT_EQ(config::in_cluster(options({{"KUBERNETES_SERVICE_HOST", "fd00::1"}})).server,
            "https://[fd00::1]:443");
}

TEST_F(InClusterTest, IsWhatIsLeftWhenThereIsNoKubeconfig) {
  EXPECT_EQ(config::from_environment(options()).origin, "in-cluster");
  EXPECT_EQ(config::from_environment(options({{"KUBECONFIG", "/missing"}})).origin, "in-cluster");
  folder.write("empty", "kind: Config\n");
  EXPECT_EQ(config::from_environment(options({{"KUBECONFIG", (folder / "empty").string()}})).origin,
            "in-cluster");
  folder.write("full", kubeconfig_text(https, "token: t"));
  EXPECT_EQ(
      config::from_environment(options({{"KUBECONFIG", (folder / "full").string()}})).user.token,
      "t");
  // A kubeconfig that names a context means it.
  folder.write("broken", "current-context: gone\n");
  EXPECT_THROW(config::from_environment(options({{"KUBECONFIG", (folder / "broken").string()}})),
               error);
}

TEST_F(InClusterTest, OutsideOfAPodItSaysSo) {
  try {
    config::in_cluster({.environment = variables({}), .root = folder.path()});
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::not_found);
    EXPECT_THAT(e.what(), HasSubstr("KUBERNETES_SERVICE_HOST is not set"));
  }
  std::filesystem::remove(folder / account / "token");
  EXPECT_THROW(config::in_cluster(options()), error);
}

struct proxy_case {
  const char* no_proxy;
  const char* url;
  bool direct;
};

// What Go's httpproxy package says to the same questions.
TEST(ProxyFromEnvironmentTest, KnowsWhatNoProxyMeans) {
  const std::vector<proxy_case> cases = {
      {"", "https://example.com", false},
      {"", "https://localhost:6443", true},
      {"", "https://127.8.0.1", true},
      {"", "https://[::1]:6443", true},
      {"*", "https://example.com", true},
      {"example.com", "https://example.com", true},
      {"example.com", "https://EXAMPLE.com", true},
      {"Example.com", "https://api.example.com:6443", true},
      {"example.com", "https://notexample.com", false},
      {".example.com", "https://example.com", false},
      {".example.com", "https://a.example.com", true},
      {"*.example.com", "https://a.example.com", true},
      {"*.example.com", "https://example.com", false},
      {"example.com:6443", "https://example.com:6443", true},
      {"example.com:6443", "https://example.com", false},
      {"example.com:443", "https://example.com", true},
      {"10.0.0.0/8", "https://10.1.2.3:6443", true},
      {"10.0.0.0/8", "https://11.1.2.3:6443", false},
      {"10.0.0.0/0", "https://11.1.2.3:6443", true},
      {"10.1.2.3", "https://10.1.2.3:6443", true},
      {"10.1.2.3:6443", "https://10.1.2.3:6443", true},
      {"10.1.2.3:443", "https://10.1.2.3:6443", false},
      {"fd00::/8", "https://[fd12::1]:6443", true},
      {"fd00::/8", "https://[fe12::1]:6443", false},
      {"fd12::1", "https://[fd12::1]:6443", true},
      {"[fd12::1]:6443", "https://[fd12::1]:6443", true},
      {"a.com, 10.0.0.0/8 ,example.com", "https://example.com", true},
      {",,", "https://example.com", false},
      {":80", "https://example.com", false},
  };
  for (const proxy_case& each : cases) {
    const std::string proxy = proxy_from_environment(
        each.url, variables({{"HTTPS_PROXY", "http://p:3128"}, {"NO_PROXY", each.no_proxy}}));
    EXPECT_EQ(proxy, each.direct ? "" : "http://p:3128") << each.no_proxy << " and " << each.url;
  }
}

TEST(ProxyFromEnvironmentTest, ReadsTheVariableOfTheScheme) {
  const auto set = variables({{"HTTP_PROXY", "plain:1"}, {"https_proxy", "socks5://secure:2"}});
  EXPECT_EQ(proxy_from_environment("http://h", set), "http://plain:1");
  EXPECT_EQ(proxy_from_environment("https://h", set), "socks5://secure:2");
  EXPECT_EQ(proxy_from_environment("https://h", variables({{"HTTP_PROXY", "p:1"}})), "");
  EXPECT_EQ(proxy_from_environment("https://h",
                                   variables({{"HTTPS_PROXY", "up:1"}, {"https_proxy", "low:1"}})),
            "http://up:1");
  EXPECT_EQ(proxy_from_environment("http://h",
                                   variables({{"HTTP_PROXY", "p:1"}, {"REQUEST_METHOD", "GET"}})),
            "");
  try {
    proxy_from_environment("https://h", variables({{"HTTPS_PROXY", "http://u:secret@"}}));
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.subject(), "HTTPS_PROXY");
    EXPECT_THAT(e.what(), Not(HasSubstr("secret")));
  }
}

TEST(ConfigTest, TheClustersProxyComesBeforeTheEnvironments) {
  const load_options options{.environment = variables({{"HTTPS_PROXY", "http://env:1"}})};
  EXPECT_EQ(read(https, "", options).proxy, "http://env:1");
  EXPECT_EQ(read(https + ", proxy-url: 'socks5://own:1'", "", options).proxy, "socks5://own:1");
}

}  // namespace
}  // namespace mizzen::kubernetes
