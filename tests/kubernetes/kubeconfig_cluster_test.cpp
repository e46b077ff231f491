// The same kubeconfigs read by kubectl and by Mizzen.
#include "cluster/cluster.hpp"
#include "cluster/process.hpp"
#include "core/base64.hpp"
#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>

#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace fs = std::filesystem;
using mizzen::detail::base64_encode;
using test::scratch;

// What kubectl leaves out when it is empty, it does not always leave out.
void drop_empty(json& value) {
  if (value.is_object()) {
    for (auto each = value.begin(); each != value.end();) {
      drop_empty(each.value());
      const bool empty = each->is_null() || (each->is_structured() && each->empty()) ||
                         *each == json("") || *each == json(false);
      each = empty ? value.erase(each) : std::next(each);
    }
  } else if (value.is_array()) {
    for (json& each : value) drop_empty(each);
  }
}

std::string file_content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// As `kubectl config view --flatten` has it: files of certificates become data.
std::string data(const std::string& inline_data, const fs::path& file) {
  return base64_encode(!inline_data.empty() || file.empty() ? inline_data : file_content(file));
}

json extensions(const std::map<std::string, json>& from) {
  json list = json::array();
  for (const auto& [name, value] : from) list.push_back({{"name", name}, {"extension", value}});
  return list;
}

json to_json(const exec_plugin& from) {
  json env = json::array();
  for (const auto& [name, value] : from.environment) {
    env.push_back({{"name", name}, {"value", value}});
  }
  std::string mode;
  if (from.interactive) {
    constexpr const char* names[] = {"Never", "IfAvailable", "Always"};
    mode = names[static_cast<int>(*from.interactive)];
  } else if (from.api_version == "client.authentication.k8s.io/v1beta1") {
    mode = "IfAvailable";
  }
  return {{"command", from.command},
          {"args", from.arguments},
          {"env", env},
          {"apiVersion", from.api_version},
          {"installHint", from.install_hint},
          {"provideClusterInfo", from.provide_cluster_info},
          {"interactiveMode", mode}};
}

json to_json(const kubeconfig& from) {
  json clusters = json::array();
  for (const auto& [name, cluster] : from.clusters) {
    clusters.push_back({{"name", name},
                        {"cluster",
                         {{"server", cluster.server},
                          {"tls-server-name", cluster.tls_server_name},
                          {"insecure-skip-tls-verify", cluster.insecure_skip_tls_verify},
                          {"certificate-authority-data",
                           data(cluster.certificate_authority_data, cluster.certificate_authority)},
                          {"proxy-url", cluster.proxy_url},
                          {"disable-compression", cluster.disable_compression},
                          {"extensions", extensions(cluster.extensions)}}}});
  }
  json users = json::array();
  for (const auto& [name, user] : from.users) {
    json value = {
        {"client-certificate-data", data(user.client_certificate_data, user.client_certificate)},
        {"client-key-data", data(user.client_key_data, user.client_key)},
        {"token", user.token},
        {"tokenFile", user.token_file.string()},
        {"as", user.impersonate.user},
        {"as-uid", user.impersonate.uid},
        {"as-groups", user.impersonate.groups},
        {"as-user-extra", user.impersonate.extra},
        {"username", user.username},
        {"password", user.password},
        {"extensions", extensions(user.extensions)}};
    if (user.auth_provider) {
      value["auth-provider"] = {{"name", user.auth_provider->name},
                                {"config", user.auth_provider->config}};
    }
    if (user.exec) value["exec"] = to_json(*user.exec);
    users.push_back({{"name", name}, {"user", value}});
  }
  json contexts = json::array();
  for (const auto& [name, context] : from.contexts) {
    contexts.push_back({{"name", name},
                        {"context",
                         {{"cluster", context.cluster},
                          {"user", context.user},
                          {"namespace", context.namespace_},
                          {"extensions", extensions(context.extensions)}}}});
  }
  json all = {{"kind", "Config"},
              {"apiVersion", "v1"},
              {"current-context", from.current_context},
              {"clusters", clusters},
              {"users", users},
              {"contexts", contexts},
              {"extensions", extensions(from.extensions)}};
  drop_empty(all);
  return all;
}

class KubeconfigClusterTest : public mizzen::test::cluster_test {
 protected:
  // What kubectl makes of the files; nothing when it refuses them.
  std::optional<json> kubectl_says(const std::string& files) {
    const mizzen::test::process_result result = mizzen::test::run_process(
        {"/usr/bin/env", "-u", "KUBERNETES_SERVICE_HOST", "HOME=" + folder.path().string(),
         "KUBECONFIG=" + files, cluster().program("kubectl"), "config", "view", "--raw",
         "--flatten", "-o", "json"});
    words = result.err;
    if (result.status != 0) return std::nullopt;
    json value = json::parse(result.out);
    value.erase("preferences");
    drop_empty(value);
    return value;
  }
  std::optional<json> mizzen_says(const std::string& files) {
    try {
      return to_json(kubeconfig::load(
          kubeconfig::default_files([&](const std::string& name) -> std::optional<std::string> {
            return name == "KUBECONFIG" ? std::optional(files) : std::nullopt;
          })));
    } catch (const error& e) {
      words += e.what();
      return std::nullopt;
    }
  }
  void compare(const std::string& files, bool accepted = true) {
    SCOPED_TRACE(files);
    const std::optional<json> theirs = kubectl_says(files);
    const std::optional<json> ours = mizzen_says(files);
    EXPECT_EQ(theirs.has_value(), accepted) << words;
    EXPECT_EQ(ours.has_value(), accepted) << words;
    if (theirs && ours) {
      EXPECT_EQ(*ours, *theirs) << ours->dump(1) << theirs->dump(1);
    }
  }
  std::string at(const std::string& name) const { return (folder / name).string(); }

  const scratch folder;
  std::string words;
};

TEST_F(KubeconfigClusterTest, MergesAsKubectlDoes) {
  folder.write("ca.crt", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
  folder.write("sub/me.crt", "certificate\n");
  folder.write("key", "key\n");
  folder.write("one", R"(
apiVersion: v1
kind: Config
clusters:
- name: both
  cluster: {server: "https://one", tls-server-name: x}
- name: one
  cluster: {server: "https://only-one/prefix", certificate-authority: ca.crt, proxy-url: "http://p"}
users:
- name: plugin
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: /bin/plugin, args: null,
           env: [{name: A, value: "b c"}, {name: E, value: ""}], installHint: "get it"}
- {name: empty}
contexts:
- name: c
  context: {cluster: both, user: plugin, namespace: one}
)");
  folder.write("sub/two", R"(
current-context: c
clusters:
- name: both
  cluster: {server: "https://two", insecure-skip-tls-verify: true, disable-compression: true}
- name: two
  cluster: {server: "https://only-two", certificate-authority: ../ca.crt}
users:
- name: plugin
  user: {token: other}
- name: certificate
  user: {client-certificate: me.crt, client-key: ../key, tokenFile: /token}
- name: path
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: from-path, args: ["", "*"],
                interactiveMode: Never, provideClusterInfo: true}}
contexts:
- name: c
  context: {cluster: two, user: certificate, namespace: two}
- name: d
  context: {cluster: two, user: certificate}
extensions:
- {name: e, extension: {from: two}}
)");
  folder.write("three", R"({
	"kind": "Config", "apiVersion": "v1", "current-context": "d", "preferences": {"colors": true},
	"users": [{"name": "oidc", "user": {"auth-provider": {"name": "oidc", "config": {"client-id": "a"}},
	           "as": "boss", "as-uid": "1", "as-groups": ["g", "h"], "as-user-extra": {"k": ["v", "w"]}}}],
	"extensions": [{"name": "e", "extension": {"from": "three"}}, {"name": "f", "extension": [1, 2.5, "x"]}]
})");
  folder.write("empty", "");
  for (const std::string& files :
       {at("one"), at("sub/two"), at("three"), at("one") + ":" + at("sub/two"),
        at("sub/two") + ":" + at("one"), at("three") + ":" + at("sub/two") + ":" + at("one"),
        at("one") + "::" + at("missing") + ":" + at("one") + ":" + at("empty") + ":" + at("three"),
        at("missing"), at("empty")}) {
    compare(files);
  }
}

TEST_F(KubeconfigClusterTest, ReadsYamlAsKubectlDoes) {
  const std::vector<std::pair<const char*, bool>> cases = {
      {"users: [{name: a, user: {token: \"0123\"}}]", true},
      {"users: [{name: a, user: {token: 0123}}]", false},
      {"users: [{name: a, user: {token: 1e3}}]", false},
      {"users: [{name: a, user: {token: yes}}]", false},
      {"users: [{name: a, user: {token: n}}]", false},
      {"users: [{name: a, user: {token: 2026-11-22}}]", true},
      {"users: [{name: a, user: {token: 1.2.3}}]", true},
      {"users: [{name: a, user: {token: !!str 123}}]", true},
      {"users: [{name: a, user: {token: ~, username: null, password: }}]", true},
      {"users: [{name: 7, user: {}}]", false},
      {"users: [{name: a, user: {token: |\n  b\n  c\n}}]", false},
      {"users:\n- name: a\n  user:\n    token: |\n      b\n      c\n", true},
      {"users:\n- name: a\n  user:\n    token: >-\n      b\n      c\n    password: 'it''s'\n",
       true},
      {"users:\n- name: a\n  user:\n    token: \"tab\\there \\u00e9 \\\n      x\"\n", true},
      {"clusters: [{name: a, cluster: {insecure-skip-tls-verify: yes}}]", true},
      {"clusters: [{name: a, cluster: {insecure-skip-tls-verify: On}}]", true},
      {"clusters: [{name: a, cluster: {insecure-skip-tls-verify: \"true\"}}]", false},
      {"clusters: [{name: a, cluster: {insecure-skip-tls-verify: 1}}]", false},
      {"clusters: [{name: a, cluster: {certificate-authority-data: \"UE\\nVN\"}}]", true},
      {"clusters:\n- name: a\n  cluster:\n    certificate-authority-data: |\n      UEVN\n      "
       "UEVN\n",
       true},
      {"clusters: [{name: a, cluster: {certificate-authority-data: UEV}}]", false},
      {"clusters: [{name: a, cluster: {certificate-authority-data: U EVN}}]", false},
      {"clusters: [{name: a, cluster: {Server: a, server: b, SERVER: c}}]", true},
      {"clusters: [{name: a, cluster: null}, {name: b}]", true},
      {"clusters: [{name: a}, {name: a}]", false},
      {"clusters: [{cluster: {server: x}}]", true},
      {"clusters: {}", false},
      {"clusters: [x]", false},
      {"clusters: null", true},
      {"current-context: a\ncurrent-context: b\n", true},
      {"current-context: a\n---\ncurrent-context: b\n", true},
      {"--- # comment\ncurrent-context: 'a'\r\nusers: []\r\n", true},
      {"\xef\xbb\xbf"
       "current-context: a\n",
       true},
      {"kind: Pod\n", false},
      {"apiVersion: v2\n", false},
      {"kind: Config\nunknown: {a: [1]}\nusers: [{name: a, more: 1, user: {what: {}}}]\n", true},
      {"base: &b {server: x, tls-server-name: v}\n"
       "clusters: [{name: a, cluster: {<<: *b, server: z}}, {name: c, cluster: *b}]\n",
       true},
      {"extensions: [{name: e, extension: {i: 0x10, o: 0o17, b: 0b11, u: 1_000, f: 1.5, e: 1e3,"
       " n: -3, t: on, 0x10: x, 07: x, d: 2026-11-22, s: 'x', big: 9223372036854775807, "
       "nothing: }}]",
       true},
      {"extensions: [{name: e, extension: {~: x}}]", false},
      {"users: [{name: a, user: {exec: {command: x, env: [{name: A, value: 1}]}}}]", false},
      {"users: [{name: a, user: {exec: {command: x, args: [1]}}}]", false},
      {"users: [{name: a, user: {as-groups: g}}]", false},
      {"users: [{name: a, user: {as-user-extra: {k: v}}}]", false},
      {"a: [1\nb: }", false},
      {"- a\n", false},
      {"a: *unknown\n", false},
  };
  for (const auto& [text, accepted] : cases) {
    SCOPED_TRACE(text);
    folder.write("config", text);
    compare(at("config"), accepted);
  }
}

}  // namespace
}  // namespace mizzen::kubernetes
