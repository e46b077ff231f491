#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/dynamic_object.hpp>
#include <mizzen/kubernetes/manifest.hpp>
#include <mizzen/kubernetes/table.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mizzen::kubernetes {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::SizeIs;

TEST(DynamicObjectTest, HasWhatEveryKindHas) {
  resource_info info;
  info.group = "example.com";
  info.version = "v1";
  info.kind = "Widget";
  dynamic_object object(info, "a", "space");
  object["spec"]["size"] = 3;
  object.set_label("app", "web");
  object.set_annotation("note", "n");
  EXPECT_EQ(object.api_version(), "example.com/v1");
  EXPECT_EQ(object.kind(), "Widget");
  EXPECT_EQ(object.name(), "a");
  EXPECT_EQ(object.namespace_(), "space");
  EXPECT_EQ(object.uid(), "");
  EXPECT_EQ(object.label("app"), "web");
  EXPECT_EQ(object.label("none"), "");
  EXPECT_THAT(object.annotations(), ElementsAre(Pair("note", "n")));
  EXPECT_EQ(object.at("/spec/size"), 3);
  EXPECT_TRUE(object.at("/spec/none/x").is_null());
  EXPECT_THROW(object.at("spec"), error);
  EXPECT_EQ(from_json<dynamic_object>(to_json(object)), object);
}

TEST(DynamicObjectTest, WrongTypesReadAsAbsent) {
  const dynamic_object object(json{{"kind", 5}, {"metadata", {{"name", nullptr}, {"labels", 1}}}});
  EXPECT_EQ(object.kind(), "");
  EXPECT_EQ(object.name(), "");
  EXPECT_THAT(object.labels(), SizeIs(0));
  EXPECT_EQ(object.generation(), 0);
  EXPECT_THROW(dynamic_object(json::array()), error);
  EXPECT_THROW(from_json<dynamic_object>("[1]"), error);
  EXPECT_THROW(from_json<dynamic_object>("{"), error);
}

TEST(ManifestTest, DocumentsAndListsAreTakenApart) {
  const auto objects = parse_manifest(
      "---\n# nothing but a comment\n---\n"
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
      "data: {quoted: 'yes', number: \"1.0\", plain: text}\n"
      "---\n"
      "apiVersion: v1\nkind: List\nitems:\n"
      "- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n"
      "- {apiVersion: v1, kind: Pod, metadata: {name: c}, spec: {on: yes, port: 80}}\n"
      "...\n---\n"
      R"({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "d"}})"
      "\n");
  ASSERT_THAT(objects, SizeIs(4));
  EXPECT_EQ(objects[0]["data"]["quoted"], "yes");
  EXPECT_EQ(objects[0]["data"]["number"], "1.0");
  EXPECT_EQ(objects[1].name(), "b");
  EXPECT_EQ(objects[2].at("/spec/port"), 80);
  EXPECT_EQ(objects[3].kind(), "Secret");
}

TEST(ManifestTest, DamagedOnesSayWhere) {
  const auto failure = [](std::string_view text) -> std::string {
    try {
      parse_manifest(text, "file.yaml");
    } catch (const error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(failure("apiVersion: v1\nkind: [\n"), HasSubstr("file.yaml:"));
  EXPECT_THAT(failure("apiVersion: v1\nkind: A\nkind: B\n"), HasSubstr("'kind' is there twice"));
  EXPECT_THAT(failure("apiVersion: v1\nkind: A\n---\n- 1\n"), HasSubstr("file.yaml[1]"));
  EXPECT_THAT(failure("a: b\n"), HasSubstr("no apiVersion or no kind"));
  EXPECT_THAT(failure("apiVersion: v1\nkind: List\nitems: [1]\n"), HasSubstr("[0].items[0]"));
  // An anchor ends with its document.
  EXPECT_THAT(failure("apiVersion: v1\nkind: &k A\n---\napiVersion: v1\nkind: *k\n"),
              HasSubstr("file.yaml"));
}

TEST(TableTest, IsReadAndPrinted) {
  const table read = parse_table(
      R"({"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"9"},"columnDefinitions":[
        {"name":"Name","type":"string","format":"name","priority":0},{"name":"Ready","type":"string"},
        {"name":"IP","type":"string","priority":1}],
        "rows":[{"cells":["web","1/1","10.0.0.1"],"object":{"metadata":{"name":"web"}}},{"cells":["a-long-name",2,null]}]})");
  EXPECT_EQ(read.resource_version, "9");
  ASSERT_THAT(read.rows, SizeIs(2));
  EXPECT_EQ(read.rows[0].object["metadata"]["name"], "web");
  EXPECT_EQ(read.text(),
            "NAME          READY\n"
            "web           1/1\n"
            "a-long-name   2\n");
  EXPECT_THAT(read.text(true), HasSubstr("<none>"));
}

TEST(TableTest, DamagedOnesAreErrors) {
  for (const char* text :
       {"", "[]", "{}", R"({"kind":"PodList"})", R"({"kind":"Table","rows":{}})",
        R"({"kind":"Table","rows":[1]})", R"({"kind":"Table","rows":[{"cells":[1]}]})",
        R"({"kind":"Table","columnDefinitions":[{"name":1}]})"}) {
    EXPECT_THROW(parse_table(text), error) << text;
  }
}

}  // namespace
}  // namespace mizzen::kubernetes
