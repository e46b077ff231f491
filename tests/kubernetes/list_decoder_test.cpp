#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/watch_decoder.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace mizzen;
using namespace mizzen::kubernetes;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

core_v1::config_map item(const std::string& name) {
  return {.metadata = {.name = name}, .data = {{"text", "\\\"]}{[,\\"}, {"empty", ""}}};
}

std::string field(char number, const std::string& body) {
  std::string size;
  std::size_t left = body.size();
  for (; left >= 0x80; left >>= 7) size += static_cast<char>(left | 0x80);
  size += static_cast<char>(left);
  return std::string{static_cast<char>(number << 3 | 2)} + size + body;
}

std::string json_list() {
  return R"( {"kind":"ConfigMapList" , "metadata":{"resourceVersion":"9"},"items":[)" +
         to_json(item("a")) + " ,\n" + to_json(item("b")) + R"(],"apiVersion":"v1","more":[1]} )";
}

std::string protobuf_list() {
  const std::string metadata = to_protobuf(meta_v1::list_meta{.resource_version = "9"});
  return write_protobuf_envelope(
      "v1", "ConfigMapList",
      field(1, metadata) + field(2, to_protobuf(item("a"))) + field(2, to_protobuf(item("b"))));
}

struct outcome {
  std::vector<std::string> names;
  std::string resource_version;
  std::string kind;
};

// Fed in pieces of a size.
outcome decode(body_encoding encoding, std::string_view body, std::size_t piece,
               decoder_limits limits = {}) {
  list_decoder<core_v1::config_map> decoder(encoding, limits);
  outcome result;
  for (std::size_t at = 0; at < body.size(); at += piece) {
    decoder.feed(body.substr(at, piece));
    while (auto next = decoder.next()) {
      if (!next->metadata.name.empty()) {
        EXPECT_EQ(*next, item(next->metadata.name));
      }
      result.names.push_back(next->metadata.name);
    }
  }
  decoder.finish();
  result.resource_version = decoder.metadata().resource_version;
  result.kind = decoder.raw().kind();
  return result;
}

template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const error& problem) {
    return std::string(to_string(problem.code())) + " | " + problem.what();
  }
  return "no error";
}

std::string json_error(std::string_view body, decoder_limits limits = {}) {
  return error_of([&] { decode(body_encoding::json, body, body.size() + 1, limits); });
}

}  // namespace

TEST(list_decoder, takes_pieces_of_any_size) {
  for (const auto& [encoding, body] : {std::pair{body_encoding::json, json_list()},
                                       std::pair{body_encoding::protobuf, protobuf_list()}}) {
    for (std::size_t piece = 1; piece <= body.size(); ++piece) {
      const outcome result = decode(encoding, body, piece);
      ASSERT_THAT(result.names, ElementsAre("a", "b")) << piece;
      EXPECT_EQ(result.resource_version, "9");
      EXPECT_EQ(result.kind, "ConfigMapList");
    }
  }
}

TEST(list_decoder, an_item_is_there_before_the_list_has_ended) {
  for (const auto& [encoding, body] : {std::pair{body_encoding::json, json_list()},
                                       std::pair{body_encoding::protobuf, protobuf_list()}}) {
    list_decoder<core_v1::config_map> decoder(encoding);
    decoder.feed(std::string_view(body).substr(0, body.size() / 2 + 20));
    EXPECT_EQ(decoder.next()->metadata.name, "a");
    EXPECT_FALSE(decoder.next());
    EXPECT_THAT(error_of([&] { decoder.finish(); }),
                HasSubstr("data_loss | items[1]: the list is"));
  }
}

TEST(list_decoder, cut_anywhere_it_is_an_error) {
  for (const auto& [encoding, body] : {std::pair{body_encoding::json, json_list()},
                                       std::pair{body_encoding::protobuf, protobuf_list()}}) {
    const std::size_t whole = body.find_last_not_of(' ') + 1;
    for (std::size_t size = 0; size < whole; ++size) {
      EXPECT_THAT(error_of([&] { decode(encoding, body.substr(0, size), 7); }),
                  HasSubstr("data_loss"))
          << size;
    }
  }
}

TEST(list_decoder, empty_lists) {
  EXPECT_TRUE(decode(body_encoding::json, R"({"items":[]})", 1).names.empty());
  EXPECT_TRUE(decode(body_encoding::json, R"({"items":null,"metadata":null})", 1).names.empty());
  EXPECT_TRUE(decode(body_encoding::protobuf, write_protobuf_envelope("v1", "PodList", ""), 1)
                  .names.empty());
}

TEST(list_decoder, names_what_is_wrong) {
  EXPECT_THAT(json_error(R"({"kind":"Status"})"), HasSubstr("this is no list but a Status"));
  EXPECT_THAT(json_error(R"({"items":[{"data":5}]})"),
              HasSubstr("items[0].data: expected an object"));
  EXPECT_THAT(json_error(R"({"items":[{}{}]})"), HasSubstr("expected ',' or ']'"));
  EXPECT_THAT(json_error(R"({"items":[{},]})"), HasSubstr("items[1]"));
  EXPECT_THAT(json_error(R"({"items":[],})"), HasSubstr("expected the name of a member"));
  EXPECT_THAT(json_error(R"({"items":[],"items":[]})"),
              HasSubstr("items: the member is there twice"));
  EXPECT_THAT(json_error(R"({"items":{}})"), HasSubstr("items: expected an array"));
  EXPECT_THAT(json_error(R"({"metadata":{"resourceVersion":1},"items":[]})"),
              HasSubstr("metadata.resourceVersion"));
  EXPECT_THAT(json_error(R"({"items":[]} x)"), HasSubstr("something follows"));
  EXPECT_THAT(json_error("<html>"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(json_error(R"({"items":[)" + std::string(1'000, '[')), HasSubstr("too deep"));
}

TEST(list_decoder, is_bounded) {
  const decoder_limits limits{.item_bytes = 100};
  EXPECT_THAT(json_error(R"({"items":[{"data":{"a":")" + std::string(200, 'x'), limits),
              HasSubstr("resource_exhausted | items[0]"));
  EXPECT_THAT(json_error(R"({"items":[)" + to_json(item("a")) + "," + to_json(item("b")) + "]}",
                         {.item_bytes = 150}),
              HasSubstr("no error"));
  const std::string body =
      write_protobuf_envelope("v1", "PodList", field(2, std::string(200, 'x')));
  EXPECT_THAT(error_of([&] { decode(body_encoding::protobuf, body, 1, limits); }),
              HasSubstr("resource_exhausted | items[0]"));
}

TEST(list_decoder, encodings_by_content_type) {
  EXPECT_EQ(body_encoding_of("application/json;charset=utf-8"), body_encoding::json);
  EXPECT_EQ(body_encoding_of("application/vnd.kubernetes.protobuf;stream=watch"),
            body_encoding::protobuf);
  EXPECT_EQ(body_encoding_of("Application/JSON"), body_encoding::json);
  EXPECT_EQ(body_encoding_of("text/plain"), std::nullopt);
  EXPECT_EQ(body_encoding_of(""), std::nullopt);
}

namespace {

std::string json_events() {
  return R"({"type":"ADDED","object":)" + to_json(item("a")) + "}\n" + R"({"object":)" +
         to_json(item("b")) + R"(, "type":"DELETED"})" + "\n" +
         R"({"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"12"}}})" +
         R"({"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410}})" +
         "\n";
}

std::string protobuf_event(const std::string& type, const std::string& envelope) {
  const std::string event = field(1, type) + field(2, field(1, envelope));
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(event.size() >> shift);
  return frame + event;
}

std::string protobuf_events() {
  return protobuf_event("ADDED", to_protobuf_envelope(item("a"))) +
         protobuf_event("DELETED", to_protobuf_envelope(item("b"))) +
         protobuf_event(
             "BOOKMARK",
             to_protobuf_envelope(core_v1::config_map{.metadata = {.resource_version = "12"}})) +
         protobuf_event("ERROR", to_protobuf_envelope(meta_v1::status{
                                     .status = "Failure", .reason = "Expired", .code = 410}));
}

}  // namespace

TEST(watch_decoder, takes_pieces_of_any_size) {
  for (const auto& [encoding, body] : {std::pair{body_encoding::json, json_events()},
                                       std::pair{body_encoding::protobuf, protobuf_events()}}) {
    for (std::size_t piece = 1; piece <= body.size(); piece += 1 + piece / 20) {
      watch_decoder<core_v1::config_map> decoder(encoding);
      std::vector<watch_event<core_v1::config_map>> events;
      for (std::size_t at = 0; at < body.size(); at += piece) {
        decoder.feed(std::string_view(body).substr(at, piece));
        while (auto event = decoder.next()) events.push_back(std::move(*event));
      }
      ASSERT_EQ(events.size(), 4U) << piece;
      EXPECT_EQ(events[0].type, watch_type::added);
      EXPECT_EQ(events[0].object, item("a"));
      EXPECT_EQ(events[1].type, watch_type::deleted);
      EXPECT_EQ(events[1].object, item("b"));
      EXPECT_EQ(events[2].type, watch_type::bookmark);
      EXPECT_EQ(events[2].object.metadata.resource_version, "12");
      EXPECT_EQ(events[3].type, watch_type::error);
      EXPECT_EQ(events[3].status->code, 410);
      EXPECT_FALSE(decoder.mid_event());
    }
  }
}

TEST(watch_decoder, knows_that_it_was_cut_in_an_event) {
  for (const auto& [encoding, body] : {std::pair{body_encoding::json, json_events()},
                                       std::pair{body_encoding::protobuf, protobuf_events()}}) {
    watch_decoder<core_v1::config_map> decoder(encoding);
    EXPECT_FALSE(decoder.mid_event());
    decoder.feed(std::string_view(body).substr(0, 20));
    EXPECT_FALSE(decoder.next());
    EXPECT_TRUE(decoder.mid_event());
  }
}

TEST(watch_decoder, names_what_is_wrong) {
  const auto json = [](std::string_view body, decoder_limits limits = {}) {
    return error_of([&] {
      watch_decoder<core_v1::config_map> decoder(body_encoding::json, limits);
      decoder.feed(body);
      while (decoder.next()) continue;
    });
  };
  EXPECT_THAT(json(R"({"type":"EXPLODED","object":{}})"),
              HasSubstr("data_loss | watch event 0: type: there is no event type \"EXPLODED\""));
  EXPECT_THAT(json(R"({"type":"ADDED"})"), HasSubstr("object: it is missing"));
  EXPECT_THAT(json(R"({"object":{}})"), HasSubstr("type: it is missing"));
  EXPECT_THAT(json(R"({"type":"ADDED","object":{"data":1}})"),
              HasSubstr("watch event 0: data: expected an object"));
  EXPECT_THAT(json("oops"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(
      json(R"({"type":"ADDED","object":{"a":")" + std::string(100, 'x'), {.item_bytes = 50}),
      HasSubstr("resource_exhausted"));
  const auto protobuf = [](std::string_view body) {
    return error_of([&] {
      watch_decoder<core_v1::config_map> decoder(body_encoding::protobuf);
      decoder.feed(body);
      while (decoder.next()) continue;
    });
  };
  EXPECT_THAT(protobuf("\xff\xff\xff\xff"), HasSubstr("resource_exhausted | watch event 0"));
  EXPECT_THAT(protobuf(std::string_view("\0\0\0\1\x0a", 5)),
              HasSubstr("data_loss | watch event 0"));
  EXPECT_THAT(protobuf(protobuf_event("ADDED", "{}")), HasSubstr("envelope"));
}
