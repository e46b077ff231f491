// Discovery and manifests against a real API server.
#include "cluster/cluster.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/discovery.hpp>
#include <mizzen/kubernetes/manifest.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DiscoveryClusterTest : public test::cluster_test {
 protected:
  void SetUp() override {
    test::cluster_test::SetUp();
    if (IsSkipped()) return;
    client_options options;
    options.timeout = 60s;
    k8s.emplace(config::from_file(cluster().kubeconfig()), options);
  }
  template <class T>
  T run(boost::asio::awaitable<T> what) {
    return k8s->run(std::move(what));
  }
  // A definition of a kind that only this test knows; its group is made of the namespace.
  std::string definition() {
    return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
           "metadata: {name: gears." +
           group() +
           "}\n"
           "spec:\n"
           "  group: " +
           group() +
           "\n"
           "  scope: Namespaced\n"
           "  names: {kind: Gear, plural: gears, singular: gear}\n"
           "  versions:\n"
           "  - name: v1\n"
           "    served: true\n"
           "    storage: true\n"
           "    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: "
           "true}}\n";
  }
  std::string group() { return ns() + ".example.com"; }
  void TearDown() override {
    if (k8s && !IsSkipped()) {
      cluster().kubectl({"delete", "crd", "gears." + group(), "--ignore-not-found"});
    }
    test::cluster_test::TearDown();
  }

  std::optional<blocking> k8s;
};

TEST_F(DiscoveryClusterTest, GeneratedKindsAreWhereTheServerHasThem) {
  discovery kinds(k8s->client());
  const auto mapper = run(kinds.mapper());
  EXPECT_THAT(mapper->unavailable(), IsEmpty());
  for (const resource_info& generated :
       {resource_of<core_v1::pod>(), resource_of<core_v1::node>()}) {
    const api_resource* const found = mapper->find_kind(generated.api_version(), generated.kind);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->info.plural, generated.plural);
    EXPECT_EQ(found->info.namespaced, generated.namespaced);
  }
}

TEST_F(DiscoveryClusterTest, NamesAreUnderstoodAsKubectlDoes) {
  discovery kinds(k8s->client());
  EXPECT_EQ(run(kinds.find("deploy")).api_version(), "apps/v1");
  EXPECT_EQ(run(kinds.find("po")).plural, "pods");
  EXPECT_EQ(run(kinds.find("wd")).api_version(), "mizzen.test/v1");
  EXPECT_EQ(run(kinds.find("widgets.v1beta1.mizzen.test")).version, "v1beta1");
  EXPECT_EQ(run(kinds.find("events")).group, "");
  EXPECT_EQ(run(kinds.find("horizontalpodautoscaler")).version, "v2");
  EXPECT_TRUE(run(kinds.find("deployments")).has_subresource("scale"));
  EXPECT_FALSE(run(kinds.find("fleet")).namespaced);
  EXPECT_THROW(run(kinds.find("nonsense")), error);
  EXPECT_GE(run(kinds.version()).minor, 30);
}

TEST_F(DiscoveryClusterTest, ANewKindIsFoundOnTheFirstMiss) {
  discovery kinds(k8s->client());
  EXPECT_THROW(run(kinds.find("gears." + group())), error);
  cluster().kubectl({"apply", "-f", "-"}, definition());
  cluster().kubectl(
      {"wait", "--for=condition=Established", "--timeout=60s", "crd/gears." + group()});
  bool found = false;
  for (const deadline until = deadline::after(60s); !found && !until.expired();) {
    try {
      found = run(kinds.find("gears." + group())).kind == "Gear";
    } catch (const error& e) {
      ASSERT_EQ(e.code(), errc::not_found);
    }
  }
  EXPECT_TRUE(found);
}

TEST_F(DiscoveryClusterTest, AManifestBringsKindAndObject) {
  discovery kinds(k8s->client());
  const std::string manifest =
      definition() +
      "---\n"
      "apiVersion: " +
      group() +
      "/v1\n"
      "kind: Gear\n"
      "metadata: {name: a}\n"
      "spec: {teeth: 12, note: 'yes'}\n"
      "---\n"
      "apiVersion: v1\n"
      "kind: List\n"
      "items:\n"
      "- {apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: \"1\"}}\n";
  const auto applied = run(apply_manifest(kinds, manifest, {}, ns()));
  ASSERT_THAT(applied, SizeIs(3));
  EXPECT_EQ(applied[1].namespace_(), ns());
  EXPECT_EQ(applied[1].at("/spec/teeth"), 12);
  EXPECT_EQ(applied[1].at("/spec/note"), "yes");
  EXPECT_EQ(applied[2].at("/data/a"), "1");
  // Once more: nothing changes.
  const auto again = run(apply_manifest(kinds, manifest, {}, ns()));
  EXPECT_EQ(again[2].resource_version(), applied[2].resource_version());
  EXPECT_THROW(run(apply_manifest(kinds, "{apiVersion: a/v1, kind: B, metadata: {name: c}}")),
               error);
}

}  // namespace
}  // namespace mizzen::kubernetes
