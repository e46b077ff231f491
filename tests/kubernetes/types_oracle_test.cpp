// The fixtures that k8s.io/api ships, one of each kind with every field filled, in both encodings:
// what Go wrote is read, and written again as it was. They lie in the Go module cache once the
// cluster of the tests has been built.
#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/kubernetes/types/all.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

using namespace mizzen;
using namespace mizzen::kubernetes;
namespace fs = std::filesystem;

namespace {

fs::path fixtures() {
  const char* const cache = std::getenv("GOMODCACHE");
  const char* const path = std::getenv("GOPATH");
  const char* const home = std::getenv("HOME");
  fs::path modules = cache != nullptr  ? fs::path(cache)
                     : path != nullptr ? fs::path(path) / "pkg/mod"
                                       : fs::path(home != nullptr ? home : "/") / "go/pkg/mod";
  return modules / "k8s.io/api@v0.36.3/testdata/HEAD";
}

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// What null says is absent.
void drop_nulls(json& value) {
  if (value.is_array()) {
    for (json& each : value) drop_nulls(each);
  }
  if (!value.is_object()) return;
  for (auto at = value.begin(); at != value.end();) {
    drop_nulls(*at);
    at = at->is_null() ? value.erase(at) : std::next(at);
  }
}

json normal(const std::string& text) {
  json value = json::parse(text);
  drop_nulls(value);
  return value;
}

struct kind_codec {
  std::function<std::string(const std::string&)> json_to_json;
  std::function<std::string(const std::string&)> json_to_protobuf;
  std::function<std::string(const std::string&)> protobuf_to_json;
  bool protobuf = true;
};

template <typename K>
kind_codec codec_of(bool protobuf = true) {
  return {[](const std::string& text) { return to_json(from_json<K>(text)); },
          [](const std::string& text) { return to_protobuf_envelope(from_json<K>(text)); },
          [](const std::string& body) { return to_json(from_protobuf_envelope<K>(body)); },
          protobuf};
}

// By the names of the fixtures: "apps.v1.Deployment".
std::map<std::string, kind_codec> codecs() {
  std::map<std::string, kind_codec> all;
  const auto add = [&all]<typename K>(const K*) {
    const resource_info& info = resource_of<K>();
    const std::string group = info.group.empty() ? "core" : info.group;
    all[group + '.' + info.version + '.' + info.kind] = codec_of<K>(info.protobuf);
  };
#define MIZZEN_ADD(kind) add(static_cast<const kind*>(nullptr));
  MIZZEN_KUBERNETES_KINDS(MIZZEN_ADD)
#undef MIZZEN_ADD
  all["core.v1.Binding"] = codec_of<core_v1::binding>();
  all["core.v1.Status"] = codec_of<meta_v1::status>();
  all["core.v1.DeleteOptions"] = codec_of<meta_v1::delete_options>();
  all["autoscaling.v1.Scale"] = codec_of<autoscaling_v1::scale>();
  all["policy.v1.Eviction"] = codec_of<policy_v1::eviction>();
  all["authentication.k8s.io.v1.TokenRequest"] = codec_of<authentication_v1::token_request>();
  return all;
}

}  // namespace

TEST(types_oracle, every_fixture_comes_back_as_it_was) {
  if (!fs::exists(fixtures())) GTEST_SKIP() << "k8s.io/api is not in the Go module cache";
  std::size_t count = 0;
  for (const auto& [name, each] : codecs()) {
    const fs::path file = fixtures() / (name + ".json");
    if (!fs::exists(file)) {
      // Fixtures exist for what k8s.io/api holds; the other two groups are in modules of their own.
      EXPECT_TRUE(name.starts_with("apiextensions") || name.starts_with("apiregistration")) << name;
      continue;
    }
    SCOPED_TRACE(name);
    ++count;
    const std::string text = read(file);
    const std::string body = read(fs::path(file).replace_extension(".pb"));
    const json expected = normal(text);
    try {
      EXPECT_EQ(json::diff(expected, normal(each.json_to_json(text))), json::array());
      ASSERT_TRUE(each.protobuf);
      EXPECT_EQ(json::diff(expected, normal(each.protobuf_to_json(body))), json::array());
      // Protobuf out of JSON also shows that no member was unknown.
      EXPECT_EQ(json::diff(expected, normal(each.protobuf_to_json(each.json_to_protobuf(text)))),
                json::array());
    } catch (const error& problem) {
      ADD_FAILURE() << problem.what();
    }
  }
  EXPECT_GE(count, 60U);
}

TEST(types_oracle, damaged_fixtures_are_plain_errors) {
  if (!fs::exists(fixtures())) GTEST_SKIP() << "k8s.io/api is not in the Go module cache";
  const auto all = codecs();
  for (const char* name : {"core.v1.Pod", "batch.v1.CronJob", "resource.k8s.io.v1.ResourceSlice"}) {
    SCOPED_TRACE(name);
    const kind_codec& each = all.at(name);
    const std::string text = read(fixtures() / (std::string(name) + ".json"));
    const std::string body = read(fixtures() / (std::string(name) + ".pb"));
    const std::size_t last = text.find_last_not_of(" \n");
    for (std::size_t size = 0; size <= last; size += 1 + size / 97) {
      EXPECT_THROW(each.json_to_json(text.substr(0, size)), error) << size;
    }
    for (std::size_t at = 0; at < body.size(); at += 1 + at / 97) {
      std::string damaged = body;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
      for (const std::string& bytes : {damaged, body.substr(0, at)}) {
        try {
          each.protobuf_to_json(bytes);
        } catch (const error&) {  // as it should be; some damage is in the text of a string
        }
      }
    }
  }
}
