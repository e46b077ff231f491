#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/discovery.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::kubernetes {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

api_resource make(std::string group, std::string version, std::string kind, std::string plural,
                  std::vector<std::string> short_names = {}) {
  api_resource made;
  made.info.group = std::move(group);
  made.info.version = std::move(version);
  made.info.kind = std::move(kind);
  made.singular = made.info.kind;
  for (char& c : made.singular) c = static_cast<char>(std::tolower(c));
  made.info.plural = std::move(plural);
  made.short_names = std::move(short_names);
  return made;
}

rest_mapper sample() {
  return rest_mapper(
      {make("", "v1", "Pod", "pods", {"po"}), make("", "v1", "Event", "events", {"ev"}),
       make("apps", "v1", "Deployment", "deployments", {"deploy"}),
       make("apps", "v1beta1", "Deployment", "deployments", {"deploy"}),
       make("events.k8s.io", "v1", "Event", "events", {"ev"}),
       make("metrics.k8s.io", "v1beta1", "PodMetrics", "pods"),
       make("a.example.com", "v1", "Widget", "widgets", {"w"}),
       make("b.example.com", "v1", "Widget", "widgets"), make("c.example.com", "v1", "W", "ws")},
      {"down.example.com/v1"});
}

TEST(RestMapperTest, EveryWayToSayIt) {
  const rest_mapper mapper = sample();
  for (const char* name :
       {"deployments", "deployment", "Deployment", "DEPLOYMENT", "deploy", "deployments.apps",
        "deploy.apps", "Deployment.v1.apps", "apps/v1/Deployment"}) {
    const api_resource& found = mapper.find(name);
    EXPECT_EQ(found.info.kind, "Deployment") << name;
    EXPECT_EQ(found.info.version, "v1") << name;
  }
  EXPECT_EQ(mapper.find("deployments.v1beta1.apps").info.version, "v1beta1");
  EXPECT_EQ(mapper.find("widgets.a.example.com").info.group, "a.example.com");
  EXPECT_EQ(mapper.find("widgets.v1.b.example.com").info.group, "b.example.com");
  EXPECT_EQ(mapper.find("v1/Pod").info.kind, "Pod");
  EXPECT_EQ(mapper.find("pods.v1.").info.kind, "Pod");
  EXPECT_EQ(mapper.find_kind("apps/v1beta1", "Deployment")->info.version, "v1beta1");
  EXPECT_EQ(mapper.find_kind("v1", "Pod")->info.plural, "pods");
  EXPECT_EQ(mapper.find_kind("v1", "Deployment"), nullptr);
  EXPECT_EQ(mapper.find_kind("apps/", "Deployment"), nullptr);
}

TEST(RestMapperTest, TheCoreGroupAndTheWholeNameGoFirst) {
  const rest_mapper mapper = sample();
  EXPECT_EQ(mapper.find("events").info.group, "");
  EXPECT_EQ(mapper.find("pods").info.group, "");
  EXPECT_EQ(mapper.find("pods.metrics.k8s.io").info.kind, "PodMetrics");
  // "w" is a kind of one group and a short name in another.
  EXPECT_EQ(mapper.find("w").info.group, "c.example.com");
}

error failure_of(const rest_mapper& mapper, std::string_view name) {
  try {
    mapper.find(name);
  } catch (const error& e) {
    return e;
  }
  return {errc::internal, "test", "nothing was thrown"};
}

TEST(RestMapperTest, AmbiguousAndUnknownNamesListCandidates) {
  const rest_mapper mapper = sample();
  const error ambiguous = failure_of(mapper, "widgets");
  EXPECT_EQ(ambiguous.code(), errc::invalid_argument);
  EXPECT_THAT(ambiguous.what(),
              AllOf(HasSubstr("widgets.a.example.com"), HasSubstr("widgets.b.example.com")));
  const error unknown = failure_of(mapper, "deploymants");
  EXPECT_EQ(unknown.code(), errc::not_found);
  EXPECT_THAT(unknown.what(),
              AllOf(HasSubstr("deployments.apps"), HasSubstr("down.example.com/v1")));
  EXPECT_EQ(failure_of(mapper, "deployments.batch").code(), errc::not_found);
  EXPECT_EQ(failure_of(mapper, "").code(), errc::invalid_argument);
  EXPECT_EQ(failure_of(mapper, "...").code(), errc::not_found);
  EXPECT_EQ(failure_of(mapper, "//").code(), errc::not_found);
  EXPECT_EQ(failure_of(mapper, std::string(5000, 'a')).code(), errc::invalid_argument);
}

TEST(DiscoveryTest, AggregatedListsAreRead) {
  std::vector<api_resource> all;
  std::vector<std::string> unavailable;
  detail::read_aggregated_discovery(
      R"({"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[
        {"metadata":{"name":"apps","creationTimestamp":null},"versions":[
          {"version":"v1","freshness":"Current","resources":[
            {"resource":"deployments","responseKind":{"group":"apps","version":"v1","kind":"Deployment"},
             "scope":"Namespaced","singularResource":"deployment","verbs":["get","list"],"shortNames":["deploy"],
             "categories":["all"],"subresources":[{"subresource":"scale","verbs":["get"]},{"subresource":"status"}]},
            {"resource":"ghosts","scope":"Cluster"}]},
          {"version":"v2","freshness":"Stale"}]},
        {"metadata":{},"versions":[{"version":"v1","resources":[
            {"resource":"nodes","responseKind":{"kind":"Node"},"scope":"Cluster","singularResource":"node"}]}]}]})",
      all, unavailable);
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].info.api_version(), "apps/v1");
  EXPECT_TRUE(all[0].info.namespaced);
  EXPECT_TRUE(all[0].info.has_subresource("scale"));
  EXPECT_THAT(all[0].info.verbs, ElementsAre("get", "list"));
  EXPECT_THAT(all[0].short_names, ElementsAre("deploy"));
  EXPECT_EQ(all[1].info.api_version(), "v1");
  EXPECT_FALSE(all[1].info.namespaced);
  EXPECT_THAT(unavailable, ElementsAre("apps/v2"));
}

TEST(DiscoveryTest, TheOlderFormIsReadToo) {
  std::vector<api_resource> all;
  detail::read_resource_list(
      R"({"kind":"APIResourceList","groupVersion":"apps/v1","resources":[
        {"name":"deployments/scale","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get"]},
        {"name":"deployments","singularName":"deployment","namespaced":true,"kind":"Deployment","verbs":["get"],"shortNames":["deploy"]}]})",
      all);
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].info.api_version(), "apps/v1");
  EXPECT_TRUE(all[0].info.has_subresource("scale"));
  EXPECT_THAT(detail::read_group_versions(R"({"kind":"APIVersions","versions":["v1"]})"),
              ElementsAre("v1"));
  EXPECT_THAT(
      detail::read_group_versions(
          R"({"groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1beta1"},{"groupVersion":"apps/v1"}],)"
          R"("preferredVersion":{"groupVersion":"apps/v1"}}]})"),
      ElementsAre("apps/v1", "apps/v1beta1"));
}

TEST(DiscoveryTest, DamagedAnswersAreErrors) {
  std::vector<api_resource> all;
  std::vector<std::string> unavailable;
  for (const char* text : {"", "[]", "nonsense", R"({"items":{}})", R"({"items":[1]})",
                           R"({"items":[{"versions":[{"version":1}]}]})",
                           R"({"items":[{"versions":[{"resources":[{"resource":[]}]}]}]})"}) {
    EXPECT_THROW(detail::read_aggregated_discovery(text, all, unavailable), error) << text;
  }
  EXPECT_THROW(detail::read_resource_list(R"({"resources":[{"name":1}]})", all), error);
  EXPECT_THROW(detail::read_version("{}"), error);
}

TEST(DiscoveryTest, VersionsOfProvidersHaveAPlus) {
  const server_version version = detail::read_version(
      R"({"major":"1","minor":"27+","gitVersion":"v1.27.3-gke.100","platform":"linux/amd64"})");
  EXPECT_EQ(version.major, 1);
  EXPECT_EQ(version.minor, 27);
  EXPECT_EQ(version.git_version, "v1.27.3-gke.100");
}

}  // namespace
}  // namespace mizzen::kubernetes
