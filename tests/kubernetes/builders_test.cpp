#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/builders.hpp>

#include <gtest/gtest.h>

#include <functional>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;

json parsed(const auto& object) { return json::parse(to_json(object)); }

TEST(Builders, AGpuJobIsOneExpression) {
  const auto object = job{"train"}
                          .in_namespace("ml")
                          .image("registry.test/train:3")
                          .command({"./train"})
                          .args({"--epochs", "3"})
                          .gpus(2)
                          .cpu("4", "8")
                          .memory("32Gi")
                          .env("RATE", "0.1")
                          .env_from_secret("TOKEN", "hub", "token")
                          .env_from_field("POD", "metadata.name")
                          .mount("/data", volumes::claim("training-data"), {.read_only = true})
                          .shared_memory("8Gi")
                          .tolerate("nvidia.com/gpu")
                          .node_selector("pool", "gpu")
                          .backoff_limit(2)
                          .active_deadline(1h)
                          .ttl(24h)
                          .build();
  const auto expected = json::parse(R"({
    "kind": "Job", "apiVersion": "batch/v1",
    "metadata": {"name": "train", "namespace": "ml"},
    "spec": {
      "activeDeadlineSeconds": 3600, "backoffLimit": 2, "ttlSecondsAfterFinished": 86400,
      "template": {"spec": {
        "restartPolicy": "Never",
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "volumes": [
          {"name": "training-data", "persistentVolumeClaim": {"claimName": "training-data"}},
          {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}],
        "containers": [{
          "name": "main", "image": "registry.test/train:3",
          "command": ["./train"], "args": ["--epochs", "3"],
          "env": [
            {"name": "RATE", "value": "0.1"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
          "resources": {
            "requests": {"cpu": "4", "memory": "32Gi"},
            "limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}},
          "volumeMounts": [
            {"name": "training-data", "mountPath": "/data", "readOnly": true},
            {"name": "shared-memory", "mountPath": "/dev/shm"}]}]}}}})");
  auto actual = parsed(object);
  for (auto* holder :
       {&actual, &actual["spec"]["template"]}) {  // empty structs are as good as none
    if (holder->contains("status") && (*holder)["status"].empty()) holder->erase("status");
    if (holder->contains("metadata") && (*holder)["metadata"].empty()) holder->erase("metadata");
  }
  EXPECT_EQ(actual, expected) << actual.dump(1);
}

TEST(Builders, IndexedJobsAndTheirPolicies) {
  const auto spec = job{"sweep"}
                        .image("a")
                        .indexed(8)
                        .backoff_limit_per_index(1)
                        .max_failed_indexes(3)
                        .fail_index_on_exit_codes({42, 3})
                        .ignore_disruptions()
                        .succeed_when("0,2-4", 2)
                        .build()
                        .spec;
  EXPECT_EQ(spec.completion_mode, "Indexed");
  EXPECT_EQ(spec.completions, 8);
  EXPECT_EQ(spec.parallelism, 8);
  ASSERT_EQ(spec.pod_failure_policy->rules.size(), 2u);
  EXPECT_EQ(spec.pod_failure_policy->rules[0].on_exit_codes->values,
            (std::vector<std::int32_t>{3, 42}));
  EXPECT_EQ(spec.pod_failure_policy->rules[1].on_pod_conditions[0].type, "DisruptionTarget");
  EXPECT_EQ(spec.success_policy->rules[0].succeeded_indexes, "0,2-4");
}

TEST(Builders, TpusTakeTheirNodes) {
  const auto spec = pod{"p"}.image("a").tpus(4, {"tpu-v5-lite-podslice", "2x4"}).build().spec;
  EXPECT_EQ(spec.node_selector.at("cloud.google.com/gke-tpu-topology"), "2x4");
  EXPECT_EQ(spec.node_selector.at("cloud.google.com/gke-tpu-accelerator"), "tpu-v5-lite-podslice");
  EXPECT_EQ(spec.containers[0].resources.limits.at("google.com/tpu"), quantity("4"));
}

TEST(Builders, SidecarsBringTheirVolumes) {
  const auto spec =
      job{"j"}
          .image("a")
          .mount("/data", volumes::empty_dir("scratch"))
          .init_container(container{"fetch"}.image("b").mount("/in", volumes::empty_dir("scratch")))
          .sidecar(container{"log"}.image("c").mount("/conf", volumes::config_map("log.conf")))
          .build()
          .spec.template_.spec;
  ASSERT_EQ(spec.init_containers.size(), 2u);
  EXPECT_FALSE(spec.init_containers[0].restart_policy);
  EXPECT_EQ(spec.init_containers[1].restart_policy, "Always");
  ASSERT_EQ(spec.volumes.size(), 2u);
  EXPECT_EQ(spec.volumes[1].name, "log-conf");
  EXPECT_EQ(spec.volumes[1].config_map->name, "log.conf");
}

TEST(Builders, ADeploymentSelectsItsPods) {
  auto builder = deployment{"web"}.image("a").port(80, "http").replicas(3).rolling("25%", 0);
  const auto object = builder.build();
  EXPECT_EQ(object.spec.selector->match_labels.at("app.kubernetes.io/name"), "web");
  EXPECT_EQ(object.spec.template_.metadata.labels.at("app.kubernetes.io/name"), "web");
  EXPECT_EQ(object.spec.strategy.rolling_update->max_surge, int_or_string("25%"));
  const auto other = builder.selects({{"app", "x"}}).build();
  EXPECT_FALSE(other.spec.template_.metadata.labels.contains("app.kubernetes.io/name"));
  EXPECT_EQ(other.spec.template_.metadata.labels.at("app"), "x");
}

TEST(Builders, ARegistrysSecretIsDockersConfiguration) {
  const auto object = secret{"hub"}.registry("registry.test", "me", "pass:word").build();
  EXPECT_EQ(object.type, "kubernetes.io/dockerconfigjson");
  const auto config = json::parse(object.data.at(".dockerconfigjson"));
  EXPECT_EQ(config["auths"]["registry.test"]["auth"], "bWU6cGFzczp3b3Jk");
}

// What is wrong, and the field that the error must name.
TEST(Validation, NamesTheField) {
  const auto good = [] { return job{"j"}.image("a"); };
  const struct {
    const char* field;
    std::function<void()> build;
  } cases[] = {
      {"metadata.name", [] { job{"Train"}.image("a").build(); }},
      {"metadata.name", [] { job{""}.image("a").build(); }},
      {"metadata.name", [] { job{std::string(64, 'a')}.image("a").build(); }},
      {"metadata.name", [] { job{"a.b"}.image("a").indexed(2).build(); }},
      {"metadata.namespace", [&] { good().in_namespace("a.b").build(); }},
      {"metadata.labels", [&] { good().label("a b", "c").build(); }},
      {"metadata.labels.a", [&] { good().label("a", "-").build(); }},
      {"spec.template.spec.containers", [] { job{"j"}.build(); }},
      {"spec.template.spec.containers[0].image", [] { job{"j"}.command({"a"}).build(); }},
      {"spec.template.spec.containers[0].resources.requests.cpu",
       [&] { good().cpu("2", "1").build(); }},
      {"spec.template.spec.containers[0].resources.limits.nvidia.com/gpu",
       [&] { good().limit("nvidia.com/gpu", "500m").build(); }},
      {"spec.template.spec.containers[0].resources.requests.nvidia.com/gpu",
       [&] { good().request("nvidia.com/gpu", "1").build(); }},
      {"spec.template.spec.containers[0].volumeMounts[0].name",
       [&] { good().mount("/a", "nothing").build(); }},
      {"spec.template.spec.containers[0].volumeMounts[0].mountPath",
       [&] { good().mount("a", volumes::empty_dir("a")).build(); }},
      {"spec.template.spec.containers[0].volumeMounts[1].mountPath",
       [&] { good().mount("/a", volumes::empty_dir("a")).mount("/a", "a").build(); }},
      {"spec.template.spec.containers[0].volumeMounts[0].subPath",
       [&] { good().mount("/a", volumes::empty_dir("a"), {.sub_path = "b/../.."}).build(); }},
      {"spec.template.spec.containers[1].name",
       [&] { good().also(container{"main"}.image("b")).build(); }},
      {"spec.template.spec.containers[0].env[0].name", [&] { good().env("A=B", "c").build(); }},
      {"spec.template.spec.containers[0].ports[0].containerPort",
       [&] { good().port(70000).build(); }},
      {"spec.template.spec.restartPolicy", [&] { good().restart_policy("Always").build(); }},
      {"spec.template.spec.tolerations[0].effect",
       [&] { good().tolerate("a", "b", "No").build(); }},
      {"spec.podFailurePolicy",
       [&] { good().restart_policy("OnFailure").ignore_disruptions().build(); }},
      {"spec.podFailurePolicy.rules[0].onExitCodes.values",
       [&] { good().fail_job_on_exit_codes({0, 1}).build(); }},
      {"spec.podFailurePolicy.rules[0].action",
       [&] { good().fail_index_on_exit_codes({1}).build(); }},
      {"spec.backoffLimitPerIndex", [&] { good().backoff_limit_per_index(1).build(); }},
      {"spec.successPolicy", [&] { good().succeed_when("0").build(); }},
      {"spec.activeDeadlineSeconds", [&] { good().active_deadline(0s).build(); }},
      {"ttl", [&] { good().ttl(100'000'000h).build(); }},
      {"spec.schedule", [] { cron_job{"c", "0 3 * *"}.image("a").build(); }},
      {"metadata.name", [] { cron_job{std::string(53, 'a'), "@daily"}.image("a").build(); }},
      {"volumes",
       [&] { good().mount("/a", volumes::empty_dir("v")).mount("/b", volumes::claim("v")); }},
      {"spec.template.metadata.labels",
       [] {
         auto builder = deployment{"d"}.image("a");
         builder.object().spec.template_.metadata.labels.clear();
         builder.build();
       }},
      {"spec.progressDeadlineSeconds",
       [] { deployment{"d"}.image("a").min_ready_seconds(10).progress_deadline(10).build(); }},
      {"spec.ports", [] { service{"s"}.build(); }},
      {"spec.ports[0].name", [] { service{"s"}.port(1).port(2).build(); }},
      {"data", [] { config_map{"c"}.set("a/b", "c").build(); }},
      {"data", [] { config_map{"c"}.set("a", std::string(2 << 20, 'x')).build(); }},
      {"spec.accessModes", [] { persistent_volume_claim{"c", "1Gi"}.access("Some").build(); }},
      {"spec.resources.requests.storage", [] { persistent_volume_claim{"c", "0"}.build(); }},
      {"spec.minReplicas",
       [] { horizontal_pod_autoscaler{"h"}.scales("Deployment", "d").between(3, 2).build(); }},
      {"spec", [] { pod_disruption_budget{"p"}.build(); }},
      {"spec.hard", [] { resource_quota{"q"}.build(); }},
      {"rules[0].verbs", [] { role{"r"}.allow({}, {"pods"}).build(); }},
      {"subjects[0].namespace", [] { role_binding{"b", "r"}.to_service_account("s", "").build(); }},
  };
  for (const auto& one : cases) {
    try {
      one.build();
      ADD_FAILURE() << "accepted: " << one.field;
    } catch (const error& failure) {
      EXPECT_EQ(failure.code() == errc::out_of_range ? errc::invalid_argument : failure.code(),
                errc::invalid_argument);
      EXPECT_EQ(failure.subject(), one.field) << failure.what();
    }
  }
}

TEST(Validation, KnowsTheNames) {
  EXPECT_TRUE(is_dns_label("a-1"));
  EXPECT_FALSE(is_dns_label("a."));
  EXPECT_FALSE(is_dns_label(std::string(64, 'a')));
  EXPECT_TRUE(is_dns_subdomain("a.b-c.d"));
  EXPECT_FALSE(is_dns_subdomain("a..b"));
  EXPECT_FALSE(is_dns_subdomain("a."));
  EXPECT_FALSE(is_dns_subdomain(""));
  EXPECT_TRUE(is_dns_subdomain(std::string(253, 'a')));
  EXPECT_FALSE(is_dns_subdomain(std::string(254, 'a')));
  EXPECT_TRUE(is_label_key("a.b/c_D.e"));
  EXPECT_FALSE(is_label_key("/c"));
  EXPECT_FALSE(is_label_key("a/b/c"));
  EXPECT_TRUE(is_label_value(""));
  EXPECT_FALSE(is_label_value("a b"));
}

}  // namespace
}  // namespace mizzen::kubernetes
