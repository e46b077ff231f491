#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/list.hpp>
#include <mizzen/kubernetes/types/apps_v1.hpp>
#include <mizzen/kubernetes/types/batch_v1.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

using namespace mizzen;
using namespace mizzen::kubernetes;
using testing::HasSubstr;

namespace {

// The code, the subject and the message of the error that it throws.
template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const error& problem) {
    return std::string(to_string(problem.code())) + " | " + problem.what();
  }
  return "no error";
}

std::string pod_error(std::string_view text) {
  return error_of([text] { from_json<core_v1::pod>(text); });
}

core_v1::pod example() {
  core_v1::pod pod{
      .metadata = {.name = "web", .namespace_ = "shop", .labels = {{"b", "2"}, {"a", "1"}}},
      .spec = {
          .volumes = {{.name = "scratch", .empty_dir = core_v1::empty_dir_volume_source{}}},
          .containers = {{.name = "main",
                          .image = "nginx",
                          .ports = {{.name = "http", .container_port = 8080}},
                          .resources = {.limits = {{"memory", "1Gi"}, {"cpu", "500m"}}},
                          .readiness_probe = core_v1::probe{.http_get =
                                                                core_v1::http_get_action{
                                                                    .path = "/", .port = "http"}}}},
          .termination_grace_period_seconds = 0}};
  pod.metadata.creation_timestamp = kubernetes::time::parse("2026-11-22T08:43:00Z");
  return pod;
}

}  // namespace

TEST(types_json, writes_what_go_would) {
  EXPECT_EQ(to_json(example()),
            R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop",)"
            R"("creationTimestamp":"2026-11-22T08:43:00Z","labels":{"a":"1","b":"2"}},)"
            R"("spec":{"volumes":[{"name":"scratch","emptyDir":{}}],"containers":[{"name":"main",)"
            R"("image":"nginx","ports":[{"name":"http","containerPort":8080}],)"
            R"("resources":{"limits":{"cpu":"500m","memory":"1Gi"}},)"
            R"("readinessProbe":{"httpGet":{"path":"/","port":"http"}}}],)"
            R"("terminationGracePeriodSeconds":0}})");
}

TEST(types_json, comes_back_equal_in_both_encodings) {
  const core_v1::pod pod = example();
  EXPECT_EQ(from_json<core_v1::pod>(to_json(pod)), pod);
  EXPECT_EQ(from_protobuf<core_v1::pod>(to_protobuf(pod)), pod);
  EXPECT_EQ(from_protobuf_envelope<core_v1::pod>(to_protobuf_envelope(pod)), pod);
  EXPECT_EQ(from_json_value<core_v1::pod>(to_json_value(pod)), pod);
}

TEST(types_json, copies_are_deep) {
  const core_v1::pod pod = example();
  core_v1::pod copy = pod;
  copy.spec.containers[0].readiness_probe->http_get->path = "/other";
  EXPECT_NE(copy, pod);
  EXPECT_EQ(pod.spec.containers[0].readiness_probe->http_get->path, "/");
}

TEST(types_json, null_is_absent) {
  const auto pod = from_json<core_v1::pod>(
      R"({"metadata":{"name":null,"creationTimestamp":null,"labels":null,"ownerReferences":null},
          "spec":{"containers":null,"hostPID":null,"securityContext":null},"status":null})");
  EXPECT_EQ(pod, core_v1::pod{});
}

TEST(types_json, elements_and_values_that_are_null_are_zero_ones) {
  const auto pod = from_json<core_v1::pod>(
      R"({"metadata":{"labels":{"a":null},"finalizers":[null]},"spec":{"containers":[null]}})");
  EXPECT_EQ(pod.metadata.labels.at("a"), "");
  EXPECT_EQ(pod.metadata.finalizers, std::vector<std::string>{""});
  ASSERT_EQ(pod.spec.containers.size(), 1U);
  EXPECT_EQ(pod.spec.containers[0], core_v1::container{});
}

TEST(types_json, a_wrong_type_names_its_field) {
  EXPECT_THAT(pod_error(R"({"spec":{"containers":[{"image":5}]}})"),
              HasSubstr("invalid_argument | spec.containers[0].image: expected a string, found a "
                        "number (byte 32"));
  EXPECT_THAT(pod_error(R"({"metadata":{"labels":{"app.kubernetes.io/name":{}}}})"),
              HasSubstr("metadata.labels[app.kubernetes.io/name]: expected a string"));
  EXPECT_THAT(pod_error(R"({"spec":{"hostPID":"yes"}})"), HasSubstr("spec.hostPID: expected true"));
  EXPECT_THAT(pod_error(R"({"spec":{"priority":2147483648}})"),
              HasSubstr("spec.priority: the number 2147483648 does not fit"));
  EXPECT_THAT(pod_error(R"({"spec":{"priority":1.5}})"), HasSubstr("expected an integer"));
  EXPECT_THAT(pod_error(R"({"spec":{"containers":{}}})"),
              HasSubstr("spec.containers: expected an array, found an object"));
  EXPECT_THAT(pod_error(R"({"metadata":{"creationTimestamp":"yesterday"}})"),
              HasSubstr("metadata.creationTimestamp: \"yesterday\" is not a time"));
  EXPECT_THAT(pod_error(R"({"spec":{"overhead":{"cpu":"lots"}}})"),
              HasSubstr("spec.overhead.cpu: \"lots\" is not a quantity"));
  EXPECT_THAT(error_of([] { from_json<core_v1::secret>(R"({"data":{"a":"?"}})"); }),
              HasSubstr("data.a: the string is not base64"));
}

TEST(types_json, refuses_what_is_not_json) {
  for (const char* text : {"",
                           "{",
                           "}",
                           "[]",
                           "null",
                           "{}x",
                           R"({"metadata")",
                           R"({"metadata":{}},)",
                           R"({'a':1})",
                           R"({"metadata":{"name":"\x"}})",
                           R"({"metadata":{"name":"\ud800"}})",
                           "{\"a\":\"\n\"}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":\"\xed\xa0\x80\"}",
                           "{\"a\":01}",
                           R"({"a":1.})",
                           R"({"a":+1})",
                           R"({"a":tru})",
                           R"({"a":[1,]})",
                           R"({"a":{"b"}})",
                           "{\"metadata\":{\"name\":\"a\0b\"}}"}) {
    EXPECT_THAT(pod_error(text), HasSubstr("invalid_argument")) << text;
  }
}

TEST(types_json, a_member_given_twice_is_refused) {
  EXPECT_THAT(pod_error(R"({"metadata":{"name":"a","name":"b"}})"),
              HasSubstr("metadata.name: the member is there twice"));
  EXPECT_THAT(pod_error(R"({"metadata":{"labels":{"a":"b","a":"b"}}})"),
              HasSubstr("metadata.labels: a member is there twice"));
  EXPECT_THAT(pod_error(R"({"kind":"Pod","kind":"Pod"})"), HasSubstr("kind: the member is there"));
}

TEST(types_json, another_kind_is_refused) {
  EXPECT_THAT(pod_error(R"({"kind":"Node"})"), HasSubstr(R"(kind: expected "Pod", found "Node")"));
  EXPECT_THAT(pod_error(R"({"apiVersion":"v2"})"), HasSubstr("apiVersion: expected \"v1\""));
  EXPECT_NO_THROW(from_json<core_v1::pod>(R"({"kind":"Pod","apiVersion":"v1"})"));
}

TEST(types_json, nesting_is_bounded) {
  const auto nested = [](std::size_t depth) {
    return R"({"x":)" + std::string(depth, '[') + std::string(depth, ']') + '}';
  };
  EXPECT_NO_THROW(from_json<core_v1::pod>(nested(200)));
  EXPECT_THAT(pod_error(nested(100'000)), HasSubstr("x: the nesting is too deep"));
}

TEST(types_json, members_in_any_order) {
  const auto pod = from_json<core_v1::pod>(
      R"( {"status":{"phase":"Running"},"spec":{"nodeName":"n","containers":[{"image":"i","name":"c"}]},
          "metadata":{"labels":{"z":"1","a":"2","m":"3"},"name":"p"},"apiVersion":"v1","kind":"Pod"} )");
  EXPECT_EQ(pod.status.phase, "Running");
  EXPECT_EQ(pod.spec.containers[0].name, "c");
  EXPECT_EQ(pod.metadata.labels, (string_map<std::string>{{"a", "2"}, {"m", "3"}, {"z", "1"}}));
}

TEST(types_json, strings_survive) {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "é€😀";
  core_v1::config_map map{.data = {{"text", all}}, .binary_data = {{"raw", "\xff\xfe\0x"}}};
  EXPECT_EQ(from_json<core_v1::config_map>(to_json(map)), map);
  EXPECT_EQ(json::parse(to_json(map))["data"]["text"], all);
  EXPECT_EQ(
      from_json<core_v1::config_map>(R"({"data":{"a":"\u00e9\ud83d\ude00\/\b"}})").data.at("a"),
      "é😀/\b");
  map.data["text"] = "\xff";
  EXPECT_THAT(error_of([&] { to_json(map); }), HasSubstr("data_loss | data.text"));
}

TEST(types_unknown, json_members_are_kept_where_they_were) {
  const std::string text =
      R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","new":[1, {"x":null}]},)"
      R"("spec":{"containers":[{"name":"c","resources":{},"later":"é"}]},"top":1e400})";
  const auto pod = from_json<core_v1::pod>(text);
  EXPECT_EQ(pod.spec.containers[0].unknown.json_members()[0].second, "\"é\"");
  std::string expected = text;
  expected.erase(expected.find(R"("resources":{},)"), 15);  // an empty value is an absent one
  EXPECT_EQ(to_json(pod), expected);
  EXPECT_THAT(error_of([&] { to_protobuf(pod); }), HasSubstr("failed_precondition | top"));
}

TEST(types_unknown, protobuf_fields_are_kept_where_they_were) {
  // Field 100 in the metadata, in a container and in a volume's source (which Go embeds).
  const std::string extra = "\xa2\x06\x03new";
  const auto field = [](char number, const std::string& body) {
    return std::string{static_cast<char>(number << 3 | 2)} + static_cast<char>(body.size()) + body;
  };
  const std::string volume = field(1, "v") + field(2, field(2, "") + extra);
  const std::string message = field(1, field(1, "name") + extra) +
                              field(2, field(1, volume) + field(2, field(1, "c") + extra));
  const auto pod = from_protobuf<core_v1::pod>(message);
  EXPECT_EQ(pod.metadata.unknown.protobuf_fields(), extra);
  EXPECT_EQ(pod.spec.containers[0].unknown.protobuf_fields(), extra);
  EXPECT_EQ(pod.spec.volumes[0].unknown.protobuf_fields(), field(2, extra));
  EXPECT_TRUE(pod.spec.volumes[0].empty_dir);
  EXPECT_EQ(from_protobuf<core_v1::pod>(to_protobuf(pod)), pod);
  EXPECT_THAT(error_of([&] { to_json(pod); }), HasSubstr("failed_precondition | metadata"));
}

TEST(types_protobuf, damage_names_its_field) {
  const std::string good = to_protobuf(example());
  EXPECT_THAT(error_of([&] { from_protobuf<core_v1::pod>(good.substr(0, good.size() - 1)); }),
              HasSubstr("data_loss | "));
  EXPECT_THAT(error_of([] { from_protobuf<core_v1::pod>("\x0a\x02\x08\x01"); }),
              HasSubstr("data_loss | metadata.name: the field has another wire type"));
  EXPECT_THAT(error_of([] { from_protobuf<core_v1::pod>("\x0a\x80"); }), HasSubstr("cut short"));
  EXPECT_THAT(
      error_of([] { from_protobuf<core_v1::pod>("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"); }),
      HasSubstr("longer than 64 bits"));
  EXPECT_THAT(error_of([] { from_protobuf<core_v1::pod>(std::string_view("\0\0", 2)); }),
              HasSubstr("no field of protobuf"));
  EXPECT_THAT(error_of([] { from_protobuf_envelope<core_v1::pod>("{}"); }),
              HasSubstr("data_loss | envelope"));
  EXPECT_THAT(error_of([] {
                from_protobuf_envelope<core_v1::pod>(write_protobuf_envelope("v1", "Node", ""));
              }),
              HasSubstr("expected Pod of v1, found Node of v1"));
}

TEST(types_protobuf, zero_of_a_value_is_absent_and_zero_of_a_pointer_is_not) {
  // PodSpec: restartPolicy (3) is a value in Go, terminationGracePeriodSeconds (4) a pointer.
  const auto spec = from_protobuf<core_v1::pod_spec>(std::string_view("\x1a\0\x20\0", 4));
  EXPECT_EQ(spec.restart_policy, "");
  EXPECT_EQ(spec.termination_grace_period_seconds, 0);
  EXPECT_EQ(to_json(spec), R"({"containers":[],"terminationGracePeriodSeconds":0})");
}

TEST(types_protobuf, a_damaged_message_is_an_error_or_another_object) {
  const std::string good = to_protobuf(example());
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      try {
        const auto read = from_protobuf<core_v1::pod>(bad);
        EXPECT_EQ(from_protobuf<core_v1::pod>(to_protobuf(read)), read);
      } catch (const error&) {
      }
    }
  }
}

TEST(types_values, box) {
  box<core_v1::probe> empty;
  EXPECT_FALSE(empty);
  EXPECT_THAT(error_of([&] { empty->period_seconds = 1; }), HasSubstr("failed_precondition"));
  empty.or_emplace().period_seconds = 1;
  EXPECT_EQ(empty.or_emplace().period_seconds, 1);
  EXPECT_EQ(empty.emplace().period_seconds, 0);
  box<core_v1::probe> moved = std::move(empty);
  EXPECT_TRUE(moved);
  moved = moved;
  EXPECT_TRUE(moved);
  moved.reset();
  EXPECT_EQ(moved, box<core_v1::probe>());
}

TEST(types_values, string_map) {
  string_map<int> map{{"b", 2}, {"a", 1}, {"b", 3}};
  EXPECT_EQ(map.size(), 2U);
  EXPECT_EQ(map.at("b"), 2);
  map["c"] = 4;
  map["0"] = 5;
  EXPECT_FALSE(map.insert_or_assign("a", 9).second);
  EXPECT_FALSE(map.emplace("a", 1).second);
  std::string keys;
  for (const auto& [key, value] : map) keys += key + std::to_string(value);
  EXPECT_EQ(keys, "05a9b2c4");
  EXPECT_EQ(map.erase("a"), 1U);
  EXPECT_EQ(map.erase("a"), 0U);
  EXPECT_THAT(error_of([&] { map.at("a"); }), HasSubstr("not_found | a"));
}

TEST(types_values, time) {
  const auto text = [](const char* from) { return kubernetes::time::parse(from).to_string(); };
  EXPECT_EQ(text("2026-11-22T08:43:00Z"), "2026-11-22T08:43:00Z");
  EXPECT_EQ(text("2026-11-22T08:43:00.999+01:30"), "2026-11-22T07:13:00Z");
  EXPECT_EQ(text("2024-02-29T00:00:00Z"), "2024-02-29T00:00:00Z");
  EXPECT_EQ(text("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z");
  EXPECT_EQ(text("9999-12-31T23:59:59-00:00"), "9999-12-31T23:59:59Z");
  EXPECT_EQ(micro_time::parse("2026-11-22T08:43:00.1234567Z").to_string(),
            "2026-11-22T08:43:00.123456Z");
  EXPECT_EQ(micro_time::parse("1969-12-31T23:59:59.5Z").to_string(), "1969-12-31T23:59:59.500000Z");
  for (const char* bad : {"", "2026-11-22", "2026-02-29T00:00:00Z", "2026-11-22T24:00:00Z",
                          "2026-11-22T08:43:00", "2026-11-22T08:43:00.Z", "2026-11-22T08:43:00Zx",
                          "2026-11-22T08:43:60Z", "2026-11-22 08:43:00Z"}) {
    EXPECT_THAT(error_of([bad] { kubernetes::time::parse(bad); }), HasSubstr("invalid_argument"));
  }
  std::mt19937_64 random(7);
  for (int i = 0; i < 2'000; ++i) {
    const kubernetes::time at{std::chrono::sys_seconds(
        std::chrono::seconds(static_cast<std::int64_t>(random() % 253'402'300'800)))};
    EXPECT_EQ(kubernetes::time::parse(at.to_string()), at);
  }
}

TEST(types_values, int_or_string) {
  const kubernetes::int_or_string port = 80;
  const kubernetes::int_or_string share = "25%";
  EXPECT_EQ(port.number(), 80);
  EXPECT_EQ(share.text(), "25%");
  EXPECT_EQ(share.scaled(10, true), 3);
  EXPECT_EQ(share.scaled(10, false), 2);
  EXPECT_EQ(port.scaled(10, true), 80);
  EXPECT_THAT(error_of([&] { share.number(); }), HasSubstr("failed_precondition"));
  EXPECT_THAT(error_of([] { kubernetes::int_or_string("http").scaled(1, true); }),
              HasSubstr("invalid_argument"));
}

TEST(types_values, raw_json) {
  EXPECT_EQ(raw_json::of({{"a", 1}}).text, R"({"a":1})");
  EXPECT_TRUE(raw_json{}.value().is_null());
  apps_v1::controller_revision revision{.data = {"{\"broken\""}, .revision = 1};
  EXPECT_THAT(error_of([&] { to_json(revision); }), HasSubstr("data_loss | data"));
}

TEST(types_resource, of_a_kind) {
  const resource_info& jobs = resource_of<batch_v1::job>();
  EXPECT_EQ(jobs.api_version(), "batch/v1");
  EXPECT_EQ(jobs.plural, "jobs");
  EXPECT_TRUE(jobs.namespaced && jobs.protobuf && jobs.has_subresource("status"));
  EXPECT_THAT(jobs.verbs, testing::IsSupersetOf({"get", "list", "watch", "create", "update",
                                                 "patch", "delete", "deletecollection"}));
  EXPECT_EQ(jobs.path("a", "b", "status"), "/apis/batch/v1/namespaces/a/jobs/b/status");
  EXPECT_EQ(jobs.path(), "/apis/batch/v1/jobs");
  const resource_info& nodes = resource_of<core_v1::node>();
  EXPECT_EQ(nodes.path({}, "n 1"), "/api/v1/nodes/n%201");
  EXPECT_FALSE(nodes.namespaced);
  EXPECT_THROW(nodes.path("a"), error);
  EXPECT_THROW(jobs.path("a", ".."), error);
  EXPECT_THROW(jobs.path("a", "b/c"), error);
  EXPECT_THROW(jobs.path("a", "", "status"), error);
  EXPECT_EQ(resource_of<core_v1::namespace_>().path({}, "x", "finalize"),
            "/api/v1/namespaces/x/finalize");
}

TEST(types_list, reads_and_writes_a_whole_list) {
  list<core_v1::pod> pods{.metadata = {.resource_version = "7"}, .items = {example(), example()}};
  const std::string text = to_json(pods);
  EXPECT_THAT(
      text, HasSubstr(R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"})"));
  EXPECT_EQ(from_json<list<core_v1::pod>>(text), pods);
}
