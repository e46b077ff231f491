// Traces in an embedded store. That MLflow reads them is checked by mlflow_rest_test.py.
#include "in_child.hpp"
#include "temporary_folder.hpp"
#include "tracking/trace_content.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace mizzen::tracking {
namespace {

using test::in_child;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class traces : public testing::Test {
 protected:
  std::vector<std::string> search(const std::string& filter,
                                  const std::vector<std::string>& order_by = {}) {
    std::vector<std::string> names;
    for (const trace_info& info : client_.search_traces({.filter = filter, .order_by = order_by})) {
      names.push_back(info.name);
    }
    return names;
  }

  // A trace of one span that began at a time (milliseconds) and took as many.
  trace made(const std::string& name, std::int64_t start, std::int64_t took) {
    trace whole;
    whole.info.id = "tr-" + random_hex_id();
    whole.info.experiment_id = client_.get_or_create_experiment("made").id;
    whole.info.name = name;
    whole.info.state = trace_state::ok;
    whole.info.request_time = start;
    whole.info.duration = took;
    whole.spans.push_back({.id = "00000000000000ff",
                           .name = name + " root",
                           .type = "CHAIN",
                           .status = span_status::ok,
                           .start_time = start * 1'000'000,
                           .end_time = (start + took) * 1'000'000});
    return whole;
  }

  temporary_folder folder_;
  std::string db_ = folder_.file("mlflow.db");
  std::mutex mutex_;
  std::vector<std::string> reported_;
  client client_{client_options{.uri = db_, .log = logger([this](const log_record& record) {
                                              const std::scoped_lock lock(mutex_);
                                              reported_.emplace_back(record.message);
                                            })}};
};

TEST_F(traces, hold_spans_within_spans) {
  std::string id;
  {
    auto root = client_.start_trace("answer", {.experiment = "assistant",
                                               .type = "CHAIN",
                                               .session = "s1",
                                               .user = "ann",
                                               .client_request_id = "r-7",
                                               .metadata = {{"k", "v"}},
                                               .tags = {{"team", "mizzen"}}});
    id = root.trace_id();
    EXPECT_THAT(id, testing::MatchesRegex("tr-[0-9a-f]{32}"));
    root.set_inputs({{"question", "wie spät?"}});
    {
      auto child = root.start_span("search", "RETRIEVER");
      EXPECT_EQ(child.trace_id(), id);
      child.set_attribute("top_k", 3);
      child.set_attribute("mlflow.llm.model", "m1");
      child.add_event("hit", {{"score", 0.5}});
      child.add_event("none");
      child.add_link("tr-0123456789abcdef0123456789abcdef", "0123456789abcdef");
      child.set_outputs({"a", 1, nullptr, true});
      EXPECT_ERROR(errc::not_found, id, client_.get_trace(id));  // not before the root has ended
    }
    root.set_outputs("late");
    root.end();
    EXPECT_ERROR(errc::failed_precondition, "answer", root.end());
    EXPECT_ERROR(errc::failed_precondition, "answer", root.start_span("more"));
  }
  const trace whole = client_.get_trace(id);
  EXPECT_EQ(whole.info.name, "answer");
  EXPECT_EQ(whole.info.state, trace_state::ok);
  EXPECT_EQ(whole.info.client_request_id, "r-7");
  EXPECT_EQ(whole.info.experiment_id, client_.find_experiment("assistant")->id);
  EXPECT_EQ(whole.info.request_preview, R"({"question": "wie spät?"})");
  EXPECT_EQ(whole.info.response_preview, R"("late")");
  EXPECT_EQ(whole.info.metadata.at("mlflow.trace.session"), "s1");
  EXPECT_EQ(whole.info.metadata.at("mlflow.trace.user"), "ann");
  EXPECT_EQ(whole.info.metadata.at("k"), "v");
  EXPECT_EQ(whole.info.tags.at("team"), "mizzen");
  ASSERT_EQ(whole.spans.size(), 2U);
  const span_record& root = whole.spans[0];
  const span_record& child = whole.spans[1];
  EXPECT_EQ(root.parent_id, "");
  EXPECT_EQ(root.type, "CHAIN");
  EXPECT_EQ(root.status, span_status::ok);
  EXPECT_EQ(root.inputs, R"({"question": "wie spät?"})");
  EXPECT_EQ(whole.info.request_time, root.start_time / 1'000'000);
  EXPECT_EQ(*whole.info.duration, *root.end_time / 1'000'000 - root.start_time / 1'000'000);
  EXPECT_EQ(child.parent_id, root.id);
  EXPECT_EQ(child.type, "RETRIEVER");
  EXPECT_EQ(child.outputs, R"(["a", 1, null, true])");
  EXPECT_THAT(child.attributes,
              ElementsAre(Pair("mlflow.llm.model", R"("m1")"), Pair("top_k", "3")));
  ASSERT_EQ(child.events.size(), 2U);
  EXPECT_EQ(child.events[0].name, "hit");
  EXPECT_THAT(child.events[0].attributes, ElementsAre(Pair("score", "0.5")));
  EXPECT_GE(child.events[0].time, child.start_time);
  ASSERT_EQ(child.links.size(), 1U);
  EXPECT_EQ(child.links[0].span_id, "0123456789abcdef");
  EXPECT_GE(child.start_time, root.start_time);
  EXPECT_LE(*child.end_time, *root.end_time);
}

TEST_F(traces, are_written_when_their_last_span_ends) {
  auto root = client_.start_trace("outer");
  const std::string id = root.trace_id();
  {
    auto late = root.start_span("late");
    root.end();
    EXPECT_ERROR(errc::not_found, id, client_.get_trace(id));
  }
  EXPECT_EQ(client_.get_trace(id).spans.size(), 2U);
}

TEST_F(traces, end_as_errors_when_an_exception_leaves_them) {
  std::string id;
  try {
    auto root = client_.start_trace("fails");
    id = root.trace_id();
    auto child = root.start_span("step");
    throw std::runtime_error("oh");
  } catch (const std::runtime_error&) {  // NOLINT(bugprone-empty-catch): meant to end the spans
  }
  const trace whole = client_.get_trace(id);
  EXPECT_EQ(whole.info.state, trace_state::error);
  ASSERT_EQ(whole.spans.size(), 2U);
  for (const span_record& span : whole.spans) EXPECT_EQ(span.status, span_status::error);
  auto chosen = client_.start_trace("chosen");
  chosen.set_status(span_status::error, "said so");
  chosen.end();
  EXPECT_EQ(client_.get_trace(chosen.trace_id()).spans[0].status_message, "said so");
}

TEST_F(traces, take_spans_of_many_threads) {
  auto root = client_.start_trace("parallel");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&root] {
      for (int k = 0; k < 25; ++k) root.start_span("step").set_attribute("k", k);
    });
  }
  for (std::thread& thread : threads) thread.join();
  root.end();
  EXPECT_EQ(client_.get_trace(root.trace_id()).spans.size(), 101U);
}

TEST_F(traces, that_cannot_be_written_are_reported) {
  {
    auto root = client_.start_trace("lost", {.experiment = "gone"});
    client_.delete_experiment(client_.find_experiment("gone")->id);
    auto other = client_.start_trace("lost too", {.experiment = "gone too"});
    client_.delete_experiment(client_.find_experiment("gone too")->id);
    EXPECT_ERROR(errc::failed_precondition, "experiment", other.end());
  }
  EXPECT_THAT(reported_, ElementsAre("a trace could not be written"));
}

TEST_F(traces, are_dead_in_a_child_process) {
  auto root = client_.start_trace("parent's");
  EXPECT_TRUE(in_child([&] {
    const auto failure = error_of([&] { root.end(); });
    return failure && failure->code() == errc::failed_precondition;
  }));
  root.end();
  EXPECT_EQ(client_.get_trace(root.trace_id()).spans.size(), 1U);
}

TEST_F(traces, logged_again_are_there_once) {
  trace whole = made("once", 1000, 5);
  client_.log_trace(whole);
  client_.log_trace(whole);
  whole.spans[0].name = "renamed";
  whole.spans.push_back({.id = "00000000000000aa",
                         .parent_id = "00000000000000ff",
                         .name = "child",
                         .start_time = 1'001'000'000});
  whole.info.tags["more"] = "1";
  client_.log_trace(whole);
  const trace seen = client_.get_trace(whole.info.id);
  ASSERT_EQ(seen.spans.size(), 2U);
  EXPECT_EQ(seen.spans[0].name, "renamed");
  EXPECT_FALSE(seen.spans[1].end_time);
  EXPECT_EQ(seen.info.tags.at("more"), "1");
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM trace_info"), "1");
}

TEST_F(traces, keep_token_counts_and_costs_where_mlflow_has_them) {
  trace whole = made("priced", 1000, 5);
  whole.info.metadata["mlflow.trace.tokenUsage"] = R"({"output_tokens": 4, "input_tokens": 3})";
  whole.info.metadata["mlflow.trace.cost"] = R"({"total_cost": 0.25})";
  whole.spans[0].attributes["mlflow.llm.cost"] = R"({"input_cost": 0.5})";
  whole.spans[0].attributes["mlflow.llm.model"] = R"("m1")";
  client_.log_trace(whole);
  EXPECT_EQ(sql(db_, "SELECT input_tokens + output_tokens + total_cost FROM trace_info"), "7.25");
  EXPECT_EQ(sql(db_, "SELECT input_cost || model_name FROM spans"), "0.5m1");
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM trace_request_metadata WHERE key LIKE '%cost'"), "0");
  const string_map metadata = client_.get_trace_info(whole.info.id).metadata;
  EXPECT_EQ(metadata.at("mlflow.trace.tokenUsage"), R"({"input_tokens": 3, "output_tokens": 4})");
  EXPECT_EQ(metadata.at("mlflow.trace.cost"), R"({"total_cost": 0.25})");
}

TEST_F(traces, add_up_the_tokens_of_their_spans) {
  trace whole = made("added", 1000, 5);
  const auto add = [&](const char* id, const char* parent, const char* usage) {
    span_record span{.id = id, .parent_id = parent, .start_time = 1'000'000'000};
    if (usage != nullptr) span.attributes["mlflow.chat.tokenUsage"] = usage;
    whole.spans.push_back(std::move(span));
  };
  const std::string root = whole.spans[0].id;
  add("0000000000000001", root.c_str(), R"({"input_tokens": 1, "total_tokens": 2})");
  add("0000000000000002", "0000000000000001", R"({"input_tokens": 1})");  // in the one above
  add("0000000000000003", root.c_str(), nullptr);
  add("0000000000000004", "0000000000000003", R"({"input_tokens": 10, "what": 3})");
  add("0000000000000005", "0000000000000003", "5");
  client_.log_trace(whole);
  EXPECT_EQ(client_.get_trace_info(whole.info.id).metadata.at("mlflow.trace.tokenUsage"),
            R"({"input_tokens": 11, "total_tokens": 2})");
}

TEST_F(traces, are_refused_when_they_make_no_sense) {
  const auto refused = [&](const char* subject, const std::function<void(trace&)>& spoil) {
    trace whole = made("bad", 1000, 5);
    spoil(whole);
    EXPECT_ERROR(errc::invalid_argument, subject, client_.log_trace(whole));
  };
  refused("trace.id", [](trace& t) { t.info.id = "tr-1"; });
  refused("experiment", [](trace& t) { t.info.experiment_id = "x"; });
  refused("trace.spans[0].id", [](trace& t) { t.spans[0].id = "0000000000000000"; });
  refused("trace.spans[0].parent_id", [](trace& t) { t.spans[0].parent_id = "00000000000000fe"; });
  refused("trace.spans[1].id", [](trace& t) { t.spans.push_back(t.spans[0]); });
  refused("trace.spans[1].parent_id", [](trace& t) {
    t.spans.push_back(t.spans[0]);
    t.spans[1].id[0] = '1';
  });
  refused("trace.spans[0].inputs", [](trace& t) { t.spans[0].inputs = "no json"; });
  refused("trace.spans[0].inputs",
          [](trace& t) { t.spans[0].inputs = std::string(101, '[') + std::string(101, ']'); });
  refused("trace.spans[0].attributes.a", [](trace& t) { t.spans[0].attributes["a"] = ""; });
  refused("span.attribute.key", [](trace& t) { t.spans[0].attributes["mlflow.spanType"] = "1"; });
  refused("trace.spans[0].end_time", [](trace& t) { t.spans[0].end_time = 1; });
  refused("trace.spans[0].name", [](trace& t) { t.spans[0].name = "\xff"; });
  refused("trace.client_request_id",
          [](trace& t) { t.info.client_request_id = std::string(51, 'x'); });
  refused("trace.tag", [](trace& t) { t.info.tags["\n"] = "x"; });
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM trace_info"), "0");
  auto span = client_.start_trace("good");
  EXPECT_ERROR(errc::invalid_argument, "span.inputs", span.set_inputs("\xff"));
  EXPECT_ERROR(errc::invalid_argument, "event.attributes", span.add_event("e", 1));
}

TEST_F(traces, are_found) {
  trace slow = made("slow", 1000, 500);
  slow.info.tags["team"] = "a";
  slow.info.metadata["mlflow.sourceRun"] = "r1";
  slow.spans[0].inputs = R"({"q": "Größe 50%"})";
  trace fast = made("fast", 2000, 5);
  fast.info.state = trace_state::error;
  fast.info.tags["team"] = "b";
  fast.info.metadata["mlflow.trace.session"] = "s";
  fast.spans.push_back({.id = "00000000000000aa",
                        .parent_id = "00000000000000ff",
                        .name = "tool",
                        .type = "TOOL",
                        .status = span_status::error,
                        .start_time = 2'001'000'000,
                        .end_time = 2'002'000'000});
  trace last = made("last", 3000, 50);
  last.info.client_request_id = "c3";
  for (const trace& one : {slow, fast, last}) client_.log_trace(one);

  EXPECT_THAT(search(""), ElementsAre("last", "fast", "slow"));
  EXPECT_THAT(search("status = 'ERROR'"), ElementsAre("fast"));
  EXPECT_THAT(search("trace.status IN ('ERROR', 'IN_PROGRESS')"), ElementsAre("fast"));
  EXPECT_THAT(search("timestamp >= 2000 AND attributes.execution_time_ms < 10"),
              ElementsAre("fast"));
  EXPECT_THAT(search("end_time_ms = 3050"), ElementsAre("last"));
  EXPECT_THAT(search("name LIKE '%st'"), ElementsAre("last", "fast"));
  EXPECT_THAT(search("tags.`mlflow.traceName` = 'fast'"), ElementsAre("fast"));
  EXPECT_THAT(search("run_id = 'r1'"), ElementsAre("slow"));
  EXPECT_THAT(search("run_id IS NULL"), ElementsAre("last", "fast"));
  EXPECT_THAT(search("tags.team != 'a'"), ElementsAre("fast"));
  EXPECT_THAT(search("tags.team IS NULL"), ElementsAre("last"));
  EXPECT_THAT(search("metadata.`mlflow.trace.session` = 's'"), ElementsAre("fast"));
  EXPECT_THAT(search("metadata.nothing IS NOT NULL"), IsEmpty());
  EXPECT_THAT(search("client_request_id = 'c3'"), ElementsAre("last"));
  EXPECT_THAT(search("request_id NOT IN ('" + last.info.id + "')"), ElementsAre("fast", "slow"));
  EXPECT_THAT(search("trace.text LIKE '%Größe 50%'"), ElementsAre("slow"));
  EXPECT_THAT(search("attributes.text ILIKE '%TOOL%' and timestamp_ms > 1500"),
              ElementsAre("fast"));
  EXPECT_THAT(search("span.type = 'TOOL' AND span.status = 'ERROR'"), ElementsAre("fast"));
  EXPECT_THAT(search("span.type = 'CHAIN' AND span.status = 'ERROR'"), IsEmpty());
  EXPECT_THAT(search("span.name IN ('slow root', 'tool')"), ElementsAre("fast", "slow"));

  EXPECT_THAT(search("", {"execution_time_ms DESC"}), ElementsAre("slow", "last", "fast"));
  EXPECT_THAT(search("", {"tags.team"}), ElementsAre("slow", "fast", "last"));
  EXPECT_THAT(search("", {"name ASC"}), ElementsAre("fast", "last", "slow"));
  EXPECT_THAT(search("", {"metadata.`mlflow.trace.session`", "timestamp ASC"}),
              ElementsAre("fast", "slow", "last"));

  const auto first = client_.search_traces({.max_results = 2});
  ASSERT_EQ(first.size(), 2U);
  const auto second =
      client_.search_traces({.max_results = 2, .page_token = first.next_page_token});
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].id, slow.info.id);
  EXPECT_THAT(client_.search_traces({.experiment_ids = {"0"}}), IsEmpty());

  for (const char* bad :
       {"text LIKE 'x'", "trace.text = 'x'", "status > 'OK'", "timestamp = '1'", "span.size = '1'",
        "feedback.good = '1'", "metrics.a = 1", "name IN ('a')", "run_id = 5", "status IS NULL",
        "prompt = 'a/1'", "metadata.`mlflow.trace.cost` = 'x'"}) {
    EXPECT_ERROR(errc::invalid_argument, "filter", search(bad));
  }
  for (const char* bad : {"text", "end_time", "span.name", "feedback.x", "status down"}) {
    EXPECT_ERROR(errc::invalid_argument, "order_by[0]", search("", {bad}));
  }
  EXPECT_ERROR(errc::invalid_argument, "max_results", client_.search_traces({.max_results = 501}));
}

TEST_F(traces, are_tagged_and_deleted) {
  std::vector<trace> all = {made("a", 1000, 1), made("b", 2000, 1), made("c", 3000, 1)};
  for (const trace& one : all) client_.log_trace(one);
  const std::string experiment = all[0].info.experiment_id;
  const std::string& id = all[0].info.id;
  client_.set_trace_tag(id, "k", "v");
  client_.set_trace_tag(id, "k", "w");
  client_.set_trace_tag(id, "mlflow.traceName", "renamed");
  EXPECT_EQ(client_.get_trace_info(id).tags.at("k"), "w");
  EXPECT_EQ(client_.get_trace_info(id).name, "renamed");
  client_.delete_trace_tag(id, "k");
  client_.delete_trace_tag(id, "mlflow.traceName");
  EXPECT_FALSE(client_.get_trace_info(id).tags.contains("k"));
  EXPECT_EQ(client_.get_trace_info(id).name, "");
  EXPECT_ERROR(errc::not_found, "tag 'k'", client_.delete_trace_tag(id, "k"));
  const std::string nobody = "tr-" + std::string(32, 'a');
  EXPECT_ERROR(errc::not_found, nobody, client_.set_trace_tag(nobody, "k", "v"));

  const std::vector<std::string> ids = {id, nobody};
  EXPECT_EQ(client_.delete_traces("0", ids), 0U);  // of another experiment
  EXPECT_EQ(client_.delete_traces(experiment, ids), 1U);
  EXPECT_ERROR(errc::not_found, id, client_.get_trace(id));
  EXPECT_EQ(client_.delete_traces_until(experiment, 3000, 1), 1U);
  EXPECT_THAT(search(""), ElementsAre("c"));
  EXPECT_EQ(client_.delete_traces_until(experiment, 2999), 0U);
  EXPECT_EQ(sql(db_, "SELECT count(*) FROM spans"), "1");
  EXPECT_EQ(sql(db_, "SELECT count(DISTINCT request_id) FROM trace_tags"), "1");
}

TEST_F(traces, whose_spans_are_in_files_say_so) {
  const trace whole = made("elsewhere", 1000, 1);
  client_.log_trace(whole);
  sql(db_, "UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = 'mlflow.trace.spansLocation'");
  EXPECT_EQ(client_.get_trace_info(whole.info.id).name, "elsewhere");
  EXPECT_ERROR(errc::unimplemented, whole.info.id, client_.get_trace(whole.info.id));
  EXPECT_ERROR(errc::failed_precondition, whole.info.id, client_.log_trace(whole));
}

TEST_F(traces, with_damaged_spans_are_data_loss) {
  const trace whole = made("damaged", 1000, 1);
  client_.log_trace(whole);
  for (const char* content : {"", "[]", "{}", "{\"span_id\": 5}", "{\"span_id\": \"!!!\"}"}) {
    sql(db_, "UPDATE spans SET content = '" + std::string(content) + "'");
    EXPECT_ERROR(errc::data_loss, "answer.", client_.get_trace(whole.info.id));
  }
}

TEST(trace_content, is_what_mlflow_stores) {
  const span_record span{.id = "00f067aa0ba902b7",
                         .parent_id = "00f067aa0ba902b8",
                         .name = "s",
                         .type = "LLM",
                         .status = span_status::error,
                         .status_message = "no",
                         .start_time = 1,
                         .end_time = 2,
                         .inputs = R"({"a": 1})",
                         .attributes = {{"k", "[1, 2]"}},
                         .events = {{"e", 3, {{"x", "1"}}}},
                         .links = {}};
  const std::string id = "tr-4bf92f3577b34da6a3ce929d0e0e4736";
  const std::string content = detail::stored_span(span, id);
  EXPECT_EQ(content, R"({"attributes": {"k": "[1, 2]", "mlflow.spanInputs": "{\"a\": 1}", )"
                     R"("mlflow.spanType": "\"LLM\"", "mlflow.traceRequestId": )"
                     R"("\"tr-4bf92f3577b34da6a3ce929d0e0e4736\""}, "end_time_unix_nano": 2, )"
                     R"("events": [{"attributes": {"x": 1}, "name": "e", "time_unix_nano": 3}], )"
                     R"("links": [], "name": "s", "parent_span_id": "APBnqgupArg=", )"
                     R"("span_id": "APBnqgupArc=", "start_time_unix_nano": 1, )"
                     R"("status": {"code": "STATUS_CODE_ERROR", "message": "no"}, )"
                     R"("trace_id": "S/kvNXezTaajzpKdDg5HNg=="})");
  const span_record again = detail::read_stored_span(content);
  EXPECT_EQ(again.parent_id, span.parent_id);
  EXPECT_EQ(again.type, "LLM");
  EXPECT_EQ(again.inputs, span.inputs);
  EXPECT_EQ(again.attributes, span.attributes);
  EXPECT_EQ(again.events[0].attributes, span.events[0].attributes);
  EXPECT_EQ(again.status_message, "no");
}

TEST(trace_content, goes_to_otlp_as_protobuf) {
  span_record span{.id = "00f067aa0ba902b7", .name = "s", .start_time = 1};
  span.attributes = {{"k", "[-1, true]"}};
  const std::string message = detail::otlp_span(span, "tr-4bf92f3577b34da6a3ce929d0e0e4736");
  using namespace std::string_literals;
  const std::string trace_id =
      "\x0a\x10\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36"s;
  const std::string span_id = "\x12\x08\x00\xf0\x67\xaa\x0b\xa9\x02\xb7"s;
  const std::string start = "\x39\x01\x00\x00\x00\x00\x00\x00\x00"s;
  EXPECT_THAT(message, testing::StartsWith(trace_id + span_id + "\x2a\x01s" + start));
  const std::string minus_one = "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s;
  EXPECT_THAT(message, HasSubstr("\x4a\x18\x0a\x01k\x12\x13\x2a\x11\x0a\x0b"s + minus_one +
                                 "\x0a\x02\x10\x01"s));
  EXPECT_THAT(message, testing::EndsWith("\x7a\x02\x18\x00"s));  // the status
}

TEST(trace_content, is_read_from_answers) {
  json answer = json::parse(R"({"span_id": "APBnqgupArc=", "name": "s", "start_time_unix_nano": "1",
      "attributes": [{"key": "large", "value": {"int_value": "9223372036854775807"}},
        {"key": "all", "value": {"kvlist_value": {"values": [
          {"key": "a", "value": {"array_value": {"values": [
            {"double_value": 0.5}, {"string_value": "x"}, {}, {"bool_value": true}]}}}]}}}]})");
  const span_record span = detail::read_otlp_span(answer);
  EXPECT_EQ(span.id, "00f067aa0ba902b7");
  EXPECT_EQ(span.type, "UNKNOWN");
  EXPECT_EQ(span.attributes, (json_texts{{"all", R"({"a": [0.5, "x", null, true]})"},
                                         {"large", "9223372036854775807"}}));
  for (const char* bad : {R"({"value": {"intValue": "x"}})", R"({"value": {"stringValue": 5}})",
                          R"({"value": {"what": 1}})", R"({"value": 5})", "5"}) {
    answer["attributes"] = json::array({json::parse(bad)});
    EXPECT_ERROR(errc::data_loss, "answer.", detail::read_otlp_span(answer));
  }
}

TEST(trace_content, shortens_previews_by_characters) {
  const auto times = [](std::size_t count, const char* text) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i) all += text;
    return all;
  };
  EXPECT_EQ(detail::preview_of(times(1000, "é")), times(1000, "é"));
  EXPECT_EQ(detail::preview_of(times(1001, "é")), times(997, "é") + "...");
}

}  // namespace
}  // namespace mizzen::tracking
