#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace fs = std::filesystem;
using test::scratch;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// What the error says that parsing the text ends with.
std::string failure(const std::string& text, errc* code = nullptr) {
  try {
    kubeconfig::parse(text, "~/.kube/config");
  } catch (const error& e) {
    if (code) *code = e.code();
    return e.what();
  }
  return "no error";
}

TEST(KubeconfigTest, ReadsEveryField) {
  const kubeconfig read = kubeconfig::parse(R"(
apiVersion: v1
kind: Config
preferences: {colors: true}
current-context: dev
extensions:
- name: minikube.sigs.k8s.io
  extension: {version: v1.30.1, count: 3, list: [a, 1, null, 1.5, yes]}
clusters:
- name: dev
  cluster:
    server: https://10.0.0.1:6443/k8s/clusters/c-1
    tls-server-name: kubernetes
    certificate-authority-data: UEVN
    proxy-url: socks5://localhost:1080
    disable-compression: true
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {audience: 06e3fbd18de8}
- name: raw
  cluster: {server: "http://localhost", insecure-skip-tls-verify: true, certificate-authority: ca.crt}
users:
- name: plugin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: bin/get-token
      args: ["--cluster", "a b", "", "it's"]
      env:
      - {name: AWS_PROFILE, value: "dev team"}
      installHint: |
        Install it.
        Then log in.
      provideClusterInfo: true
      interactiveMode: Never
- name: certificate
  user: {client-certificate: me.crt, client-key-data: S0VZ, client-key: /etc/me.key}
- name: other
  user:
    token: abc
    tokenFile: tokens/me
    username: u
    password: p
    as: boss
    as-uid: "17"
    as-groups: [a, b]
    as-user-extra: {scopes: [v, w], "acme.com/project": [z]}
    auth-provider: {name: oidc, config: {client-id: c, idp-issuer-url: "https://i"}}
contexts:
- name: dev
  context: {cluster: dev, user: plugin, namespace: ml}
some-future-field: {a: [b]}
)",
                                            "text", "/home/me/.kube");
  EXPECT_EQ(read.current_context, "dev");
  EXPECT_EQ(read.extensions.at("minikube.sigs.k8s.io").dump(),
            R"({"count":3,"list":["a",1,null,1.5,true],"version":"v1.30.1"})");

  ASSERT_EQ(read.clusters.size(), 2u);
  const kubeconfig_cluster& dev = read.clusters.at("dev");
  EXPECT_EQ(dev.server, "https://10.0.0.1:6443/k8s/clusters/c-1");
  EXPECT_EQ(dev.tls_server_name, "kubernetes");
  EXPECT_EQ(dev.certificate_authority_data, "PEM");
  EXPECT_EQ(dev.proxy_url, "socks5://localhost:1080");
  EXPECT_TRUE(dev.disable_compression);
  EXPECT_FALSE(dev.insecure_skip_tls_verify);
  EXPECT_EQ(dev.extensions.at("client.authentication.k8s.io/exec"),
            (json{{"audience", "06e3fbd18de8"}}));
  EXPECT_EQ(dev.origin, "text: clusters[0].cluster");
  EXPECT_TRUE(read.clusters.at("raw").insecure_skip_tls_verify);
  EXPECT_EQ(read.clusters.at("raw").certificate_authority, "/home/me/.kube/ca.crt");

  ASSERT_TRUE(read.users.at("plugin").exec);
  const exec_plugin& plugin = *read.users.at("plugin").exec;
  EXPECT_EQ(plugin.command, "/home/me/.kube/bin/get-token");
  EXPECT_THAT(plugin.arguments, ElementsAre("--cluster", "a b", "", "it's"));
  EXPECT_THAT(plugin.environment, ElementsAre(Pair("AWS_PROFILE", "dev team")));
  EXPECT_EQ(plugin.api_version, "client.authentication.k8s.io/v1");
  EXPECT_EQ(plugin.install_hint, "Install it.\nThen log in.\n");
  EXPECT_TRUE(plugin.provide_cluster_info);
  EXPECT_EQ(plugin.interactive, interactive_mode::never);

  EXPECT_EQ(read.users.at("certificate").client_certificate, "/home/me/.kube/me.crt");
  EXPECT_EQ(read.users.at("certificate").client_key, "/etc/me.key");
  EXPECT_EQ(read.users.at("certificate").client_key_data, "KEY");

  const kubeconfig_user& other = read.users.at("other");
  EXPECT_EQ(other.token, "abc");
  EXPECT_EQ(other.token_file, "/home/me/.kube/tokens/me");
  EXPECT_EQ(other.username, "u");
  EXPECT_EQ(other.password, "p");
  EXPECT_EQ(other.impersonate.user, "boss");
  EXPECT_EQ(other.impersonate.uid, "17");
  EXPECT_THAT(other.impersonate.groups, ElementsAre("a", "b"));
  EXPECT_THAT(other.impersonate.extra, ElementsAre(Pair("acme.com/project", ElementsAre("z")),
                                                   Pair("scopes", ElementsAre("v", "w"))));
  ASSERT_TRUE(other.auth_provider);
  EXPECT_EQ(other.auth_provider->name, "oidc");
  EXPECT_THAT(other.auth_provider->config,
              ElementsAre(Pair("client-id", "c"), Pair("idp-issuer-url", "https://i")));

  EXPECT_EQ(read.contexts.at("dev").cluster, "dev");
  EXPECT_EQ(read.contexts.at("dev").user, "plugin");
  EXPECT_EQ(read.contexts.at("dev").namespace_, "ml");
  EXPECT_THAT(read.warnings, IsEmpty());
}

TEST(KubeconfigTest, ReadsJsonAlsoWithTabs) {
  const kubeconfig read = kubeconfig::parse(
      "{\n\t\"kind\": \"Config\",\n\t\"clusters\": [{\"name\": \"a\\/b\", \"cluster\": "
      "{\"server\": \"https:\\/\\/h\"}}],\n\t\"users\": null}");
  EXPECT_EQ(read.clusters.at("a/b").server, "https://h");
  EXPECT_TRUE(read.users.empty());
}

TEST(KubeconfigTest, NothingIsAnEmptyConfig) {
  for (const char* text : {"", "\n# only a comment\n", "{}", "null", "---\n"}) {
    const kubeconfig read = kubeconfig::parse(text);
    EXPECT_TRUE(read.clusters.empty() && read.users.empty() && read.contexts.empty()) << text;
  }
}

TEST(KubeconfigTest, FollowsAnchorsAndMergeKeys) {
  const kubeconfig read = kubeconfig::parse(R"(
base: &base {server: "https://h", tls-server-name: one}
clusters:
- {name: a, cluster: {<<: *base, tls-server-name: two}}
- {name: b, cluster: *base}
)");
  EXPECT_EQ(read.clusters.at("a").server, "https://h");
  EXPECT_EQ(read.clusters.at("a").tls_server_name, "two");
  EXPECT_EQ(read.clusters.at("b").tls_server_name, "one");
}

TEST(KubeconfigTest, ErrorsNameTheField) {
  EXPECT_THAT(failure("users:\n- name: a\n- name: b\n  user: {exec: {command: [x]}}"),
              HasSubstr("~/.kube/config: users[1].user.exec.command: must be text, but is a list"));
  EXPECT_THAT(failure("clusters: {}"), HasSubstr("~/.kube/config: clusters: must be a list"));
  EXPECT_THAT(failure("clusters: [{name: a, cluster: [1]}]"),
              HasSubstr("clusters[0].cluster: must be a mapping"));
  EXPECT_THAT(failure("clusters: [{name: a, cluster: {insecure-skip-tls-verify: \"true\"}}]"),
              HasSubstr("clusters[0].cluster.insecure-skip-tls-verify: must be true or false"));
  EXPECT_THAT(failure("clusters: [{name: a, cluster: {certificate-authority-data: 'a b'}}]"),
              HasSubstr("clusters[0].cluster.certificate-authority-data: is not base64"));
  EXPECT_THAT(failure("contexts: [{name: a}, {name: a}]"),
              HasSubstr("contexts[1].name: 'a' is there twice"));
  EXPECT_THAT(failure("users: [{name: a, user: {exec: {interactiveMode: Sometimes}}}]"),
              HasSubstr("users[0].user.exec.interactiveMode: is 'Sometimes'"));
  EXPECT_THAT(failure("kind: Deployment\napiVersion: apps/v1"), HasSubstr("no kubeconfig"));
  EXPECT_THAT(failure("just words"), HasSubstr("~/.kube/config: must be a mapping"));
  EXPECT_THAT(failure("a: [1\nb: }"), HasSubstr("~/.kube/config:2:"));
}

// kubectl refuses these as well: a token of digits that is taken for a number loses its zeros.
TEST(KubeconfigTest, TextThatYamlTakesForSomethingElseMustBeQuoted) {
  for (const char* token : {"0123", "1e3", "yes", "0x1F", "1_000", ".5", "08", "y", "Off"}) {
    EXPECT_THAT(failure("users: [{name: a, user: {token: " + std::string(token) + "}}]"),
                HasSubstr("users[0].user.token: must be text"))
        << token;
    const kubeconfig read =
        kubeconfig::parse("users: [{name: a, user: {token: '" + std::string(token) + "'}}]");
    EXPECT_EQ(read.users.at("a").token, token);
  }
  for (const char* token : {"1.2.3", "2024-01-01", "0x", "-", "+x", "1e", "a1", "._1"}) {
    const kubeconfig read =
        kubeconfig::parse("users: [{name: a, user: {token: " + std::string(token) + "}}]");
    EXPECT_EQ(read.users.at("a").token, token);
  }
}

TEST(KubeconfigTest, WarnsOfAKeyThatIsThereTwice) {
  const kubeconfig read = kubeconfig::parse("current-context: a\ncurrent-context: b\n", "f");
  EXPECT_EQ(read.current_context, "b");
  EXPECT_THAT(read.warnings, ElementsAre(HasSubstr("f:2:18: the key 'current-context'")));
}

TEST(KubeconfigTest, WarnsOfASecondDocument) {
  const kubeconfig read = kubeconfig::parse("current-context: a\n---\ncurrent-context: b\n");
  EXPECT_EQ(read.current_context, "a");
  EXPECT_THAT(read.warnings, ElementsAre(HasSubstr("is ignored")));
}

TEST(KubeconfigTest, BoundsWhatItReads) {
  errc code{};
  failure(std::string(kubeconfig::max_bytes + 1, ' '), &code);
  EXPECT_EQ(code, errc::resource_exhausted);

  const std::string nested = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_THAT(failure("a: " + nested, &code), HasSubstr("nested deeper"));
  EXPECT_EQ(code, errc::resource_exhausted);
  EXPECT_THAT(failure("{\"a\": " + nested + "}"), HasSubstr("nested deeper"));
  std::string indented;
  for (int i = 0; i < 200; ++i) indented += std::string(static_cast<std::size_t>(i), ' ') + "-\n";
  EXPECT_THAT(failure(indented, &code), HasSubstr("nested deeper"));

  std::string laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) laughs += before + ", ";
    laughs += before + "]\n";
  }
  EXPECT_THAT(failure(laughs, &code), HasSubstr("aliases written out"));
  EXPECT_EQ(code, errc::resource_exhausted);

  // Few values, each of them long.
  std::string text = "a: &a " + std::string(1'000'000, 'x') + "\nb: [";
  for (int i = 0; i < 100'000; ++i) text += "*a, ";
  EXPECT_THAT(failure(text + "]", &code), HasSubstr("aliases written out"));

  EXPECT_THAT(failure("a: &a [*a]"), HasSubstr("an alias inside of what it stands for"));
}

TEST(KubeconfigTest, OfTwoEntriesTheEarlierFileWins) {
  const scratch folder;
  folder.write("one", R"(
current-context: ""
clusters: [{name: both, cluster: {server: "https://one"}}]
contexts: [{name: c, context: {cluster: both, user: u}}]
)");
  folder.write("sub/two", R"(
current-context: c
clusters:
- {name: both, cluster: {server: "https://two", certificate-authority: ca.crt}}
- {name: more, cluster: {server: "https://more", certificate-authority: ../ca.crt}}
)");
  folder.write("three", "current-context: other\nusers: [{name: u, user: {token: t}}]\n");
  const std::vector<fs::path> files = {folder / "one", folder / "missing", folder / "sub/two",
                                       folder / "one", folder / "three"};
  const kubeconfig read = kubeconfig::load(files);
  EXPECT_EQ(read.current_context, "c");
  EXPECT_EQ(read.clusters.at("both").server, "https://one");
  // Whole entries: nothing of the later one is mixed in.
  EXPECT_EQ(read.clusters.at("both").certificate_authority, "");
  EXPECT_EQ(read.clusters.at("more").certificate_authority, folder / "ca.crt");
  EXPECT_EQ(read.users.at("u").token, "t");
  EXPECT_THAT(read.found, ElementsAre(folder / "one", folder / "sub/two", folder / "three"));
  EXPECT_EQ(read.searched.size(), 4u);
  EXPECT_THAT(read.warnings, IsEmpty());
}

TEST(KubeconfigTest, WarnsOfAFileThatOthersCanRead) {
  const scratch folder;
  const fs::path file = folder.write("config", "current-context: a\n");
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  EXPECT_THAT(kubeconfig::load(std::array{file}).warnings, ElementsAre(HasSubstr("mode 0644")));
}

TEST(KubeconfigTest, AFileThatCannotBeReadIsAnError) {
  const scratch folder;
  try {
    kubeconfig::load(std::array{folder.path()});
    FAIL() << "a folder was read";
  } catch (const error& e) {
    EXPECT_EQ(e.code(), errc::unavailable);
    EXPECT_EQ(e.subject(), folder.path().string());
  }
}

TEST(KubeconfigTest, FindsTheDefaultFiles) {
  const auto files = [](std::string kubeconfig_variable, std::string home) {
    return kubeconfig::default_files([=](const std::string& name) -> std::optional<std::string> {
      if (name == "KUBECONFIG") return kubeconfig_variable;
      if (name == "HOME") return home;
      return std::nullopt;
    });
  };
  EXPECT_THAT(files("/a:b::/c:", "/home/me"), ElementsAre("/a", "b", "/c"));
  EXPECT_THAT(files("", "/home/me"), ElementsAre("/home/me/.kube/config"));
  EXPECT_THAT(files("", ""), IsEmpty());
}

}  // namespace
}  // namespace mizzen::kubernetes
