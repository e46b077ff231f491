// Every verb against a real API server.
#include "cluster/cluster.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/client.hpp>
#include <mizzen/kubernetes/types/apps_v1.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/types/policy_v1.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Gt;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

client_options patient() {
  client_options options;
  options.timeout = 60s;
  options.field_manager = "test";
  return options;
}

resource_info widgets(std::string version = "v1") {
  resource_info info;
  info.group = "mizzen.test";
  info.version = std::move(version);
  info.kind = "Widget";
  info.plural = "widgets";
  return info;
}

class ApiTest : public test::cluster_test {
 protected:
  void SetUp() override {
    test::cluster_test::SetUp();
    if (IsSkipped()) return;
    connect(patient());
  }

  void connect(client_options options) {
    k8s.emplace(config::from_file(cluster().kubeconfig()), std::move(options));
  }
  template <class T>
  T run(boost::asio::awaitable<T> what) {
    return k8s->run(std::move(what));
  }
  // What a call is refused with.
  template <class Call>
  status_error refused(Call call) {
    try {
      call();
    } catch (const status_error& e) {
      return e;
    }
    ADD_FAILURE() << "it was not refused";
    return {"", 0, {}};
  }

  template <class K>
  api<K> of() {
    return api<K>(k8s->client(), ns());
  }
  api<dynamic_object> of_widgets(std::string version = "v1") {
    return {k8s->client(), widgets(std::move(version)), ns()};
  }
  static core_v1::config_map map(std::string name, std::string value = "1") {
    core_v1::config_map made;
    made.metadata.name = std::move(name);
    made.metadata.labels["app"] = "test";
    made.data["key"] = std::move(value);
    return made;
  }
  // A pod that no scheduler looks at.
  static core_v1::pod pod(std::string name) {
    core_v1::pod made;
    made.metadata.name = std::move(name);
    made.metadata.labels["app"] = "test";
    made.spec.scheduler_name = "none";
    made.spec.containers.push_back({.name = "main", .image = "none"});
    return made;
  }
  dynamic_object widget(std::string name, int size, std::string version = "v1") {
    dynamic_object made(widgets(std::move(version)), std::move(name), ns());
    made["spec"]["size"] = size;
    return made;
  }
  // Asks again until it holds.
  template <class Condition>
  bool eventually(Condition condition) {
    for (const deadline until = deadline::after(60s); !until.expired();) {
      if (condition()) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  }

  std::optional<blocking> k8s;
};

TEST_F(ApiTest, AnObjectsLife) {
  const auto maps = of<core_v1::config_map>();
  const core_v1::config_map made = run(maps.create(map("a")));
  EXPECT_EQ(made.metadata.namespace_, ns());
  EXPECT_THAT(made.metadata.uid, Not(IsEmpty()));
  EXPECT_EQ(run(maps.get("a")), made);
  EXPECT_TRUE(is_already_exists(refused([&] { run(maps.create(map("a"))); })));
  EXPECT_EQ(run(maps.create_or_get(map("a", "2"))).data.at("key"), "1");

  core_v1::config_map changed = made;
  changed.data["key"] = "2";
  const core_v1::config_map replaced = run(maps.replace(changed));
  EXPECT_EQ(replaced.data.at("key"), "2");
  EXPECT_NE(replaced.metadata.resource_version, made.metadata.resource_version);
  changed.data["key"] = "3";
  EXPECT_TRUE(is_conflict(refused([&] { run(maps.replace(changed)); })));

  EXPECT_EQ(run(maps.modify("a", [](auto& each) { each.data["more"] = "x"; })).data.size(), 2U);
  EXPECT_EQ(run(maps.find("a"))->data.at("more"), "x");
  EXPECT_FALSE(run(maps.find("none")));
  const auto missing = refused([&] { run(maps.get("none")); });
  EXPECT_TRUE(is_not_found(missing));
  EXPECT_EQ(missing.status().details.name, "none");
  EXPECT_EQ(missing.status().details.kind, "configmaps");

  EXPECT_TRUE(is_conflict(refused([&] { run(maps.remove("a", {.uid = "another"})); })));
  EXPECT_TRUE(run(maps.find("a")));
  const auto gone = run(maps.remove("a", {.uid = made.metadata.uid}));
  ASSERT_TRUE(gone.status);
  EXPECT_TRUE(gone.status->success());
  EXPECT_EQ(gone.status->details.uid, made.metadata.uid);
  EXPECT_TRUE(is_not_found(refused([&] { run(maps.remove("a")); })));
}

TEST_F(ApiTest, ModifyStartsOverOnAConflict) {
  const auto maps = of<core_v1::config_map>();
  run(maps.create(map("a")));
  int calls = 0;
  const auto after = run(maps.modify("a", [&](core_v1::config_map& each) {
    // Somebody else is quicker, the first time.
    if (++calls == 1) {
      blocking other(config::from_file(cluster().kubeconfig()), patient());
      other.run(api<core_v1::config_map>(other.client(), ns())
                    .patch("a", patch::merge({{"data", {{"other", "x"}}}})));
    }
    each.data["mine"] = "y";
  }));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(after.data.at("other"), "x");
  EXPECT_EQ(after.data.at("mine"), "y");
}

TEST_F(ApiTest, ADryRunStoresNothing) {
  const auto maps = of<core_v1::config_map>();
  EXPECT_THAT(run(maps.create(map("a"), {.dry_run = true})).metadata.uid, Not(IsEmpty()));
  EXPECT_FALSE(run(maps.find("a")));
  run(maps.create(map("a")));
  run(maps.patch("a", patch::merge({{"data", {{"key", "2"}}}}), {.dry_run = true}));
  json wish = {{"metadata", {{"name", "a"}}}, {"data", {{"other", "2"}}}};
  run(maps.apply(wish, {.dry_run = true}));
  run(maps.remove("a", {.dry_run = true}));
  EXPECT_EQ(run(maps.get("a")).data, map("a").data);
}

TEST_F(ApiTest, PatchesOfEachType) {
  const auto pods = of<core_v1::pod>();
  run(pods.create(pod("a")));
  json merge = {{"metadata", {{"labels", {{"app", nullptr}, {"x", "1"}}}}}};
  EXPECT_THAT(run(pods.patch("a", patch::merge(merge))).metadata.labels, SizeIs(1));
  const json operations = json::parse(
      R"([{"op":"test","path":"/metadata/labels/x","value":"1"},{"op":"replace","path":"/metadata/labels/x","value":"2"}])");
  EXPECT_EQ(run(pods.patch("a", patch::json(operations))).metadata.labels.at("x"), "2");
  EXPECT_TRUE(is_invalid(refused([&] { run(pods.patch("a", patch::json(operations))); })));
  // By name of the container, which only this type knows.
  json strategic = json::parse(R"({"spec":{"containers":[{"name":"main","image":"other"}]}})");
  const auto patched = run(pods.patch("a", patch::strategic(strategic)));
  ASSERT_THAT(patched.spec.containers, SizeIs(1));
  EXPECT_EQ(patched.spec.containers[0].image, "other");
}

TEST_F(ApiTest, ApplyKeepsTrackOfWhoOwnsWhat) {
  const auto maps = of<core_v1::config_map>();
  core_v1::config_map mine = map("a");
  mine.data["extra"] = "x";
  run(maps.apply(mine, {.field_manager = "first"}));
  // The same field with another value: a conflict that names manager and field.
  json other = {{"metadata", {{"name", "a"}}}, {"data", {{"key", "2"}}}};
  const auto conflict = refused([&] { run(maps.apply(other, {.field_manager = "second"})); });
  EXPECT_TRUE(is_conflict(conflict));
  ASSERT_THAT(conflict.conflicts(), SizeIs(1));
  EXPECT_THAT(conflict.conflicts()[0].message, HasSubstr("first"));
  EXPECT_EQ(conflict.conflicts()[0].field, ".data.key");
  EXPECT_EQ(run(maps.apply(other, {.force = true, .field_manager = "second"})).data.at("key"), "2");
  // What is no longer wished for goes.
  core_v1::config_map less = map("a");
  less.data.erase("key");
  const auto after = run(maps.apply(less, {.field_manager = "first"}));
  EXPECT_FALSE(after.data.contains("extra"));
  EXPECT_EQ(after.data.at("key"), "2");
}

TEST_F(ApiTest, TypedObjectsApplyAsTheyAre) {
  const auto deployments = of<apps_v1::deployment>();
  apps_v1::deployment wish;
  wish.metadata.name = "web";
  wish.spec.replicas = 0;
  wish.spec.selector.emplace().match_labels["app"] = "web";
  wish.spec.template_.metadata.labels["app"] = "web";
  wish.spec.template_.spec.containers.push_back({.name = "main", .image = "none"});
  const auto first = run(deployments.apply(wish));
  const auto again = run(deployments.apply(wish));
  EXPECT_EQ(first.metadata.generation, again.metadata.generation);
  EXPECT_EQ(again.spec.replicas, 0);
}

TEST_F(ApiTest, FieldsThatTheServerDoesNotKnow) {
  std::vector<std::string> heard;
  client_options options = patient();
  options.on_warning = [&](const warning& each) { heard.push_back(each.text); };
  connect(options);
  const api<dynamic_object> maps(k8s->client(), resource_of<core_v1::config_map>(), ns());
  dynamic_object odd(maps.resource(), "a");
  odd["bogus"] = 1;
  const auto strict =
      refused([&] { run(maps.create(odd, {.validation = field_validation::strict})); });
  EXPECT_TRUE(is_bad_request(strict));
  EXPECT_THAT(strict.what(), HasSubstr("bogus"));
  run(maps.create(odd, {.dry_run = true, .validation = field_validation::ignore}));
  EXPECT_THAT(heard, IsEmpty());
  run(maps.create(odd, {.dry_run = true, .validation = field_validation::warn}));
  EXPECT_THAT(heard, ElementsAre(HasSubstr("bogus")));
}

TEST_F(ApiTest, WarningsAboutOldVersionsAndOddNames) {
  std::vector<std::string> heard;
  client_options options = patient();
  options.on_warning = [&](const warning& each) { heard.push_back(each.text); };
  connect(options);
  run(of_widgets("v1beta1").create(widget("old", 2, "v1beta1")));
  EXPECT_THAT(heard, Contains(HasSubstr("v1beta1 Widget is deprecated")));
  heard.clear();
  run(of<core_v1::pod>().create(pod("with.dots"), {.dry_run = true}));
  EXPECT_THAT(heard, Contains(HasSubstr("metadata.name")));
}

TEST_F(ApiTest, InvalidObjectsNameEachField) {
  core_v1::pod bad = pod("a");
  bad.spec.containers.push_back({.name = "Main_"});
  const auto e = refused([&] { run(of<core_v1::pod>().create(bad)); });
  EXPECT_TRUE(is_invalid(e));
  EXPECT_THAT(e.causes(),
              Contains(testing::Field(&status_cause::field, "spec.containers[1].name")));
  EXPECT_EQ(e.status().details.kind, "Pod");
}

TEST_F(ApiTest, SelectorsMetadataAndTables) {
  const auto maps = of<core_v1::config_map>();
  for (const char* name : {"a", "b", "c"}) run(maps.create(map(name, name)));
  run(maps.patch("c", patch::merge({{"metadata", {{"labels", {{"app", "other"}}}}}})));

  EXPECT_THAT(run(maps.list({.label_selector = selector{}.equals("app", "test").text()})).items,
              SizeIs(2));
  EXPECT_THAT(run(maps.list({.label_selector = selector{}.in("app", {"other", "x"}).text()})).items,
              SizeIs(1));
  EXPECT_THAT(
      run(maps.list({.field_selector = field_selector{}.equals("metadata.name", "b").text()}))
          .items,
      SizeIs(1));
  EXPECT_TRUE(is_bad_request(refused([&] { run(maps.list({.label_selector = "==="})); })));

  const auto all = run(maps.list());
  const auto metadata = run(maps.metadata().list());
  ASSERT_EQ(metadata.items.size(), all.items.size());
  for (std::size_t i = 0; i < all.items.size(); ++i) {
    EXPECT_EQ(metadata.items[i].metadata, all.items[i].metadata);
  }
  EXPECT_EQ(run(maps.metadata().get("a")).metadata.name, "a");
  const auto relabelled =
      run(maps.metadata().patch("a", patch::merge({{"metadata", {{"labels", {{"new", "1"}}}}}})));
  EXPECT_EQ(relabelled.metadata.labels.at("new"), "1");

  const table printed = run(maps.table({.label_selector = "app"}));
  ASSERT_THAT(printed.columns, Not(IsEmpty()));
  EXPECT_EQ(printed.columns[0].name, "Name");
  ASSERT_THAT(printed.rows, SizeIs(3));
  EXPECT_EQ(printed.rows[0].cells[0], "a");
  EXPECT_EQ(printed.rows[0].object["metadata"]["name"], "a");

  run(maps.remove_collection({.label_selector = "app=test"}));
  EXPECT_FALSE(run(maps.find("a")));
  EXPECT_TRUE(run(maps.find("c")));
}

TEST_F(ApiTest, BothEncodingsSayTheSame) {
  run(of<core_v1::pod>().create(pod("a")));
  const auto binary = run(of<core_v1::pod>().get("a"));
  // No handle may outlive the event loop, which connect() replaces.
  std::optional<api<core_v1::node>> nodes(k8s->client());
  const auto binary_nodes = run(nodes->list({.encoding = encoding::protobuf}));
  const auto text_nodes = run(nodes->list({.encoding = encoding::json}));
  ASSERT_THAT(binary_nodes.items, SizeIs(Gt(3U)));
  EXPECT_EQ(binary_nodes.items.size(), text_nodes.items.size());
  nodes.reset();
  client_options options = patient();
  options.encoding = encoding::json;
  connect(options);
  EXPECT_EQ(run(of<core_v1::pod>().get("a")), binary);
  run(of<core_v1::pod>().create(pod("b")));
  const error e = [&] {
    try {
      run(of_widgets().list({.encoding = encoding::protobuf}));
    } catch (const error& caught) {
      return caught;
    }
    return error(errc::internal, "test", "nothing was thrown");
  }();
  EXPECT_EQ(e.code(), errc::invalid_argument);
}

TEST_F(ApiTest, TwelveHundredObjectsInPages) {
  constexpr int workers = 4;
  constexpr int each_makes = 300;
  const std::string space = ns();
  std::vector<std::thread> makers;
  std::atomic<int> failures = 0;
  for (int worker = 0; worker < workers; ++worker) {
    makers.emplace_back([&, worker] {
      try {
        blocking own(config::from_file(cluster().kubeconfig()), patient());
        const api<core_v1::config_map> maps(own.client(), space);
        for (int i = 0; i < each_makes; ++i) {
          own.run(maps.create(map("map-" + std::to_string(worker * each_makes + i))));
        }
      } catch (const std::exception& e) {
        ++failures;
        ADD_FAILURE() << e.what();
      }
    });
  }
  for (std::thread& each : makers) each.join();
  ASSERT_EQ(failures, 0);

  const auto maps = of<core_v1::config_map>();
  auto pages = maps.pages({.label_selector = "app=test", .limit = 250});
  std::set<std::string> names;
  std::string version;
  int count = 0;
  while (const auto page = run(pages.next())) {
    ++count;
    EXPECT_LE(page->items.size(), 250U);
    if (count == 1) version = page->metadata.resource_version;
    EXPECT_EQ(page->metadata.resource_version, version);  // one consistent snapshot
    for (const auto& each : page->items) EXPECT_TRUE(names.insert(each.metadata.name).second);
  }
  EXPECT_EQ(count, 5);
  EXPECT_THAT(names, SizeIs(1200));
  EXPECT_FALSE(run(pages.next()));

  const auto all = run(maps.list_all({.label_selector = "app=test"}));
  EXPECT_THAT(all.items, SizeIs(1200));
  EXPECT_EQ(all.metadata.continue_, "");
  const auto at_version =
      run(maps.list({.resource_version = version, .match = version_match::exact}));
  EXPECT_EQ(at_version.metadata.resource_version, version);
  const auto cached = run(maps.list({.resource_version = "0"}));
  EXPECT_THAT(cached.items, SizeIs(Gt(0U)));
}

TEST_F(ApiTest, NamesOf253CharactersAndOddOnes) {
  const auto maps = of<core_v1::config_map>();
  const std::string longest(253, 'a');
  run(maps.create(map(longest)));
  EXPECT_EQ(run(maps.get(longest)).metadata.name, longest);
  EXPECT_TRUE(is_invalid(refused([&] { run(maps.create(map(std::string(254, 'a')))); })));
  EXPECT_TRUE(is_not_found(refused([&] { run(maps.get(std::string(2000, 'a'))); })));
  EXPECT_TRUE(is_not_found(refused([&] { run(maps.get("a b?x=y#z ä")); })));
  run(maps.remove(longest));
  // Roles may have names that need escaping.
  resource_info roles;
  roles.group = "rbac.authorization.k8s.io";
  roles.version = "v1";
  roles.kind = "Role";
  roles.plural = "roles";
  const api<dynamic_object> on(k8s->client(), roles, ns());
  const std::string odd = "a:b c?d#e&f=g+ä";
  run(on.create(dynamic_object(roles, odd, ns())));
  EXPECT_EQ(run(on.get(odd)).name(), odd);
  run(on.remove(odd));
  EXPECT_FALSE(run(on.find(odd)));
}

TEST_F(ApiTest, EvictionRespectsADisruptionBudget) {
  const auto pods = of<core_v1::pod>();
  core_v1::pod made = pod("guarded");
  run(pods.create(made));
  // As a scheduler does; kwok then runs it.
  run(pods.bind("guarded", "fake-0"));
  EXPECT_EQ(run(pods.get("guarded")).spec.node_name, "fake-0");
  policy_v1::pod_disruption_budget budget;
  budget.metadata.name = "budget";
  budget.spec.min_available.emplace(1);
  budget.spec.selector.emplace().match_labels["app"] = "test";
  const auto budgets = of<policy_v1::pod_disruption_budget>();
  run(budgets.create(budget));
  ASSERT_TRUE(eventually([&] {
    const auto now = run(budgets.get("budget"));
    return now.status.observed_generation == now.metadata.generation &&
           now.status.current_healthy == 1;
  }));
  const auto e = refused([&] { run(pods.evict("guarded")); });
  EXPECT_TRUE(is_too_many_requests(e));
  EXPECT_TRUE(has_cause(e, "DisruptionBudget"));
  EXPECT_TRUE(run(pods.find("guarded")));
  run(budgets.remove("budget"));
  run(pods.evict("guarded", {.grace_period = 0s}));
  EXPECT_TRUE(eventually([&] { return !run(pods.find("guarded")); }));
}

TEST_F(ApiTest, Scale) {
  const auto things = of_widgets();
  run(things.create(widget("a", 2)));
  scale now = run(things.get_scale("a"));
  EXPECT_EQ(now.name, "a");
  EXPECT_EQ(now.replicas, 1);
  EXPECT_EQ(run(things.scale_to("a", 5)).replicas, 5);
  EXPECT_EQ(run(things.get("a")).at("/spec/replicas"), 5);
  now.replicas = 7;
  EXPECT_TRUE(is_conflict(refused([&] { run(things.replace_scale(now)); })));
  now.resource_version.clear();
  EXPECT_EQ(run(things.replace_scale(now)).replicas, 7);
}

TEST_F(ApiTest, TokensOfServiceAccounts) {
  core_v1::service_account account;
  account.metadata.name = "robot";
  const auto accounts = of<core_v1::service_account>();
  run(accounts.create(account));
  const auto token = run(accounts.create_token("robot", {.expires_in = 1h}));
  EXPECT_GT(token.expires, std::chrono::system_clock::now() + 30min);
  config cluster_config = config::from_file(cluster().kubeconfig());
  cluster_config.user = {};
  cluster_config.user.token = token.token;
  blocking robot(cluster_config, patient());
  const auto e = refused([&] { robot.run(api<core_v1::node>(robot.client()).list()); });
  EXPECT_TRUE(is_forbidden(e));
  EXPECT_THAT(e.what(), HasSubstr("system:serviceaccount:" + ns() + ":robot"));
}

TEST_F(ApiTest, UsersWithoutRightsAreToldSo) {
  blocking nobody(config::from_file(cluster().kubeconfig(test::cluster::user::nobody)), patient());
  const api<core_v1::secret> secrets(nobody.client(), ns());
  const auto e = refused([&] { nobody.run(secrets.list()); });
  EXPECT_TRUE(is_forbidden(e));
  EXPECT_EQ(e.code(), errc::permission_denied);
  EXPECT_EQ(e.status().details.kind, "secrets");
  config wrong = config::from_file(cluster().kubeconfig());
  wrong.user = {};
  wrong.user.token = "wrong";
  blocking stranger(wrong, patient());
  EXPECT_TRUE(is_unauthorized(
      refused([&] { stranger.run(api<core_v1::secret>(stranger.client(), ns()).list()); })));
  // The administrator may act as others.
  config as_jane = config::from_file(cluster().kubeconfig());
  as_jane.impersonate.user = "jane";
  as_jane.impersonate.groups = {"a group", "another"};
  as_jane.impersonate.extra["example.com/Scopes"] = {"x", "y"};
  blocking jane(as_jane, patient());
  const auto of_jane = refused([&] { jane.run(api<core_v1::secret>(jane.client(), ns()).list()); });
  EXPECT_THAT(of_jane.what(), HasSubstr("\"jane\""));
}

TEST_F(ApiTest, CustomResources) {
  const auto things = of_widgets();
  dynamic_object made = widget("a", 2);
  made["spec"]["free"] =
      json::parse(R"({"deep":{"list":[1,2.5,null,"x"],"big":9007199254740993}})");
  made["spec"]["limit"] = "10Gi";
  dynamic_object stored = run(things.create(made));
  EXPECT_EQ(stored["spec"]["free"], made["spec"]["free"]);
  stored.set_label("x", "1");
  stored = run(things.replace(stored));
  EXPECT_EQ(stored.label("x"), "1");
  EXPECT_EQ(stored.generation(), 1);
  // The status is a world of its own.
  json phase = {{"status", {{"phase", "Ready"}}}};
  run(things.patch("a", patch::merge(phase)));
  EXPECT_TRUE(run(things.get("a")).at("/status/phase").is_null());
  EXPECT_EQ(run(things.patch_status("a", patch::merge(phase))).at("/status/phase"), "Ready");
  dynamic_object with_status = run(things.get_status("a"));
  with_status["status"]["phase"] = "Gone";
  with_status["spec"]["size"] = 100;
  const auto after = run(things.replace_status(with_status));
  EXPECT_EQ(after.at("/status/phase"), "Gone");
  EXPECT_EQ(after.at("/spec/size"), 2);
  json applied = {{"metadata", {{"name", "a"}}}, {"status", {{"replicas", 3}}}};
  EXPECT_EQ(run(things.apply_status(applied)).at("/status/replicas"), 3);
  // By their own rules, and not by strategic merge.
  dynamic_object uneven = widget("b", 3);
  uneven["spec"]["colour"] = "even";
  EXPECT_THAT(refused([&] { run(things.create(uneven)); }).what(), HasSubstr("even size"));
  EXPECT_TRUE(is_unsupported_media_type(
      refused([&] { run(things.patch("a", patch::strategic({{"spec", {{"size", 4}}}}))); })));
  EXPECT_THAT(run(things.list({.field_selector = "spec.colour=even"})).items, IsEmpty());
  EXPECT_EQ(run(things.metadata().get("a")).metadata.name, "a");
  const table printed = run(things.table());
  EXPECT_EQ(printed.columns.at(1).name, "Size");
  EXPECT_EQ(printed.rows.at(0).cells.at(1), 2);
}

TEST_F(ApiTest, DeletesThatTakeTheirTime) {
  const auto things = of_widgets();
  dynamic_object made = widget("a", 2);
  made.metadata()["finalizers"] = {"mizzen.test/hold"};
  run(things.create(made));
  const auto first = run(things.remove("a", {.propagate = propagation::foreground}));
  ASSERT_TRUE(first.object);
  EXPECT_TRUE(first.object->being_deleted());
  EXPECT_TRUE(run(things.find("a")));
  run(things.patch("a", patch::merge({{"metadata", {{"finalizers", nullptr}}}})));
  EXPECT_FALSE(run(things.find("a")));
}

class ExpiryTest : public test::cluster_test {};

TEST_F(ExpiryTest, AnExpiredContinueTokenSaysHowToGoOn) {
  // The API server has etcd forget old versions, every second.
  test::private_cluster_options options;
  options.flags = "--etcd-compaction-interval=1s";
  const test::private_cluster own(options);
  blocking k8s(config::from_file(own.kubeconfig()), patient());
  const api<core_v1::config_map> maps(k8s.client(), "default");
  for (int i = 0; i < 4; ++i) {
    core_v1::config_map made;
    made.metadata.name = "map-" + std::to_string(i);
    k8s.run(maps.create(made));
  }
  const auto first = k8s.run(maps.list({.limit = 2}));
  ASSERT_THAT(first.metadata.continue_, Not(IsEmpty()));
  std::optional<status_error> expired;
  for (const deadline until = deadline::after(60s); !expired && !until.expired();) {
    try {
      k8s.run(maps.list({.limit = 2, .continue_token = first.metadata.continue_}));
      // Compaction goes up to the version of one interval ago: there have to be newer ones.
      k8s.run(
          maps.patch("map-0", patch::merge({{"data", {{"now", std::to_string(std::rand())}}}})));
      std::this_thread::sleep_for(200ms);
    } catch (const status_error& e) {
      expired.emplace(e);
    }
  }
  ASSERT_TRUE(expired);
  EXPECT_TRUE(is_resource_expired(*expired));
  EXPECT_EQ(expired->http_status(), 410);
  // With the token that came along the rest is there, of another version.
  ASSERT_THAT(expired->status().continue_token, Not(IsEmpty()));
  const auto rest =
      k8s.run(maps.list({.limit = 500, .continue_token = expired->status().continue_token}));
  EXPECT_THAT(rest.items, SizeIs(testing::Ge(2U)));
}

}  // namespace
}  // namespace mizzen::kubernetes
