// How fast a list of pods is decoded, without a network: MB/s of the body and pods a second, for
// both encodings, with the body arriving in pieces of 16 KiB.
#include <mizzen/kubernetes/list.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <string_view>

using namespace mizzen::kubernetes;

namespace {

// A pod such as a Deployment makes, as the scheduler and the kubelet leave it.
core_v1::pod pod(int number) {
  const auto since = mizzen::kubernetes::time::parse("2026-11-22T08:43:00Z");
  const std::string name = "web-5b7ccf4d65-" + std::to_string(10'000 + number);
  const auto status = [&](const char* container) {
    return core_v1::container_status{
        .name = container,
        .state = {.running = core_v1::container_state_running{.started_at = since}},
        .ready = true,
        .image = "registry.example.com/team/web:1.2.3",
        .image_id = "registry.example.com/team/web@sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6",
        .container_id =
            "containerd://2f9bb6c2d1f04194d1247c6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6",
        .started = true};
  };
  const auto condition = [&](const char* type) {
    return core_v1::pod_condition{.type = type, .status = "True", .last_transition_time = since};
  };
  const core_v1::volume_mount token{.name = "kube-api-access-abcde",
                                    .read_only = true,
                                    .mount_path = "/var/run/secrets/kubernetes.io/serviceaccount"};
  const core_v1::container main{
      .name = "main",
      .image = "registry.example.com/team/web:1.2.3",
      .args = {"--port=8080", "--verbose"},
      .ports = {{.name = "http", .container_port = 8080, .protocol = "TCP"}},
      .env = {{.name = "MODE", .value = "production"}},
      .resources = {.limits = {{"cpu", "1"}, {"memory", "256Mi"}},
                    .requests = {{"cpu", "100m"}, {"memory", "128Mi"}}},
      .volume_mounts = {token},
      .readiness_probe =
          core_v1::probe{.http_get = core_v1::http_get_action{.path = "/ready", .port = "http"},
                         .period_seconds = 5},
      .termination_message_path = "/dev/termination-log",
      .termination_message_policy = "File",
      .image_pull_policy = "IfNotPresent"};
  core_v1::container sidecar = main;
  sidecar.name = "sidecar";
  sidecar.readiness_probe.reset();
  return {.metadata = {.name = name,
                       .generate_name = "web-5b7ccf4d65-",
                       .namespace_ = "default",
                       .uid = "0d8e1f00-3c5b-4b55-9d39-" + std::to_string(100'000'000'000 + number),
                       .resource_version = std::to_string(900'000 + number),
                       .creation_timestamp = since,
                       .labels = {{"app", "web"},
                                  {"pod-template-hash", "5b7ccf4d65"},
                                  {"tier", "front"}},
                       .owner_references = {{.api_version = "apps/v1",
                                             .kind = "ReplicaSet",
                                             .name = "web-5b7ccf4d65",
                                             .uid = "f3447641-1305-4ae0-8356-6b06223bdc13",
                                             .controller = true,
                                             .block_owner_deletion = true}}},
          .spec = {.volumes = {{.name = "cache", .empty_dir = core_v1::empty_dir_volume_source{}}},
                   .containers = {main, sidecar},
                   .restart_policy = "Always",
                   .termination_grace_period_seconds = 30,
                   .dns_policy = "ClusterFirst",
                   .service_account_name = "default",
                   .node_name = "node-" + std::to_string(number % 100),
                   .scheduler_name = "default-scheduler",
                   .tolerations = {{.operator_ = "Exists"}},
                   .priority = 0},
          .status = {.phase = "Running",
                     .conditions = {condition("Initialized"), condition("Ready"),
                                    condition("ContainersReady"), condition("PodScheduled")},
                     .host_ip = "10.0.0.1",
                     .pod_ip = "10.1.2.3",
                     .start_time = since,
                     .container_statuses = {status("main"), status("sidecar")},
                     .qos_class = "Burstable"}};
}

constexpr int count = 1'000;

std::string json_body() {
  list<core_v1::pod> pods;
  for (int i = 0; i < count; ++i) pods.items.push_back(pod(i));
  return to_json(pods);
}

std::string protobuf_body() {
  std::string items;
  for (int i = 0; i < count; ++i) {
    const std::string message = to_protobuf(pod(i));
    items += "\x12";  // field 2, length delimited
    std::size_t size = message.size();
    for (; size >= 0x80; size >>= 7) items += static_cast<char>(size | 0x80);
    items += static_cast<char>(size);
    items += message;
  }
  return write_protobuf_envelope("v1", "PodList", items);
}

void decode(benchmark::State& state, body_encoding encoding, const std::string& body) {
  for (auto _ : state) {
    list_decoder<core_v1::pod> decoder(encoding);
    std::vector<core_v1::pod> pods;
    pods.reserve(count);
    for (std::size_t at = 0; at < body.size(); at += 16'384) {
      decoder.feed(std::string_view(body).substr(at, 16'384));
      while (auto next = decoder.next()) pods.push_back(std::move(*next));
    }
    decoder.finish();
    if (pods.size() != count) state.SkipWithError("items are missing");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
  state.SetItemsProcessed(state.iterations() * count);
}

void decode_json(benchmark::State& state) {
  static const std::string body = json_body();
  decode(state, body_encoding::json, body);
}
void decode_protobuf(benchmark::State& state) {
  static const std::string body = protobuf_body();
  decode(state, body_encoding::protobuf, body);
}
void encode_json(benchmark::State& state) {
  const core_v1::pod object = pod(0);
  std::size_t bytes = 0;
  for (auto _ : state) bytes += to_json(object).size();
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
void encode_protobuf(benchmark::State& state) {
  const core_v1::pod object = pod(0);
  std::size_t bytes = 0;
  for (auto _ : state) bytes += to_protobuf(object).size();
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

}  // namespace

BENCHMARK(decode_json);
BENCHMARK(decode_protobuf);
BENCHMARK(encode_json);
BENCHMARK(encode_protobuf);
BENCHMARK_MAIN();
