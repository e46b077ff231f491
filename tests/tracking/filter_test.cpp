// The filter language without a store: what is read, and how errors name the place. That MLflow
// reads the same is for search_differential_test.py.
#include "tracking/filter.hpp"

#include "temporary_folder.hpp"
#include "tracking/page_token.hpp"
#include "tracking/python_list.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

#include <cmath>

namespace mizzen::tracking {
namespace {

using detail::clause;
using detail::comparator;
using detail::entity;
using detail::field_kind;
using testing::ElementsAre;

clause only(std::string_view text, entity of = entity::run) {
  const auto clauses = detail::parse_filter(of, text);
  EXPECT_EQ(clauses.size(), 1U) << text;
  return clauses.empty() ? clause{} : clauses.front();
}

std::string message(std::string_view text, entity of = entity::run) {
  const auto failure = error_of([&] { detail::parse_filter(of, text); });
  if (!failure) return "";
  EXPECT_EQ(failure->code(), errc::invalid_argument);
  EXPECT_EQ(failure->subject(), "filter");
  return failure->message();
}

TEST(filter, reads_keys_in_all_their_quotes) {
  for (const auto* text : {"params.a = 'v'", "param.`a`=\"v\"", "parameters.\"a\"\n=\t'v'",
                           "`params`.a = 'v'", "AND params.a = 'v' and"}) {
    const clause c = only(text);
    EXPECT_EQ(c.kind, field_kind::param) << text;
    EXPECT_EQ(c.key, "a") << text;
    EXPECT_EQ(std::get<std::string>(c.value), "v") << text;
  }
  EXPECT_EQ(only("tags.a.b.`c d` = ''").key, "a.b.`c d`");
  EXPECT_EQ(only("tags.`a.b` = ''").key, "a.b");
  EXPECT_EQ(only("metrics.1abc > 1").key, "1abc");
  EXPECT_EQ(only("metrics.日本 > 1").key, "日本");
  EXPECT_EQ(only("metrics.order > 1").key, "order");
  EXPECT_EQ(only("\"status\" = 'x'").key, "status");
  EXPECT_EQ(only("attr.Created > 5").key, "start_time");
}

TEST(filter, reads_operators_and_values) {
  EXPECT_EQ(std::get<double>(only("metrics.a>=-1.5").value), -1.5);
  EXPECT_TRUE(std::isinf(std::get<double>(only("metrics.a < 1e999").value)));
  EXPECT_EQ(std::get<std::int64_t>(only("start_time = 007").value), 7);
  EXPECT_EQ(only("tags.a ilike 'x%'").op, comparator::ilike);
  EXPECT_EQ(only("tags.a is not null").op, comparator::is_not_null);
  EXPECT_EQ(only("run_id NOT IN ('a')").op, comparator::not_in);
  EXPECT_EQ(std::get<std::vector<std::string>>(only(R"(run_id in ('a', "b", 'it\'s'))").value),
            (std::vector<std::string>{"a", "b", "it's"}));
  EXPECT_EQ(std::get<std::string>(only("tags.a = 'it''s'").value), "it''s");
  EXPECT_EQ(detail::parse_filter(entity::run, "metrics.a > 1 metrics.b < 2").size(), 2U);
  EXPECT_TRUE(detail::parse_filter(entity::run, "").empty());
  EXPECT_EQ(std::get<std::int64_t>(only("version_number = '3'", entity::model_version).value), 3);
  EXPECT_EQ(std::get<std::string>(only("tags.a = \"v\"", entity::logged_model).value), "\"v\"");
}

TEST(filter, names_the_place_and_what_is_allowed) {
  EXPECT_THAT(message("metrics.a > 1 OR tags.b = 'c'"),
              testing::AllOf(testing::HasSubstr("character 15"), testing::HasSubstr("'OR'"),
                             testing::HasSubstr("AND only")));
  EXPECT_THAT(message("metrics.a LIKE 'x'"), testing::HasSubstr("= != > >= < <="));
  EXPECT_THAT(message("nothing = 'x'"), testing::HasSubstr("run_id, run_name"));
  EXPECT_THAT(message("tags.é = 'ü' AND tags.a = b"), testing::HasSubstr("character 27"));
  EXPECT_THAT(message("tags.a = 'x"), testing::HasSubstr("never closed"));
}

TEST(filter, refuses_what_mlflow_refuses) {
  for (const auto* text : {" ",
                           "metrics.a",
                           "metrics.a >",
                           "metrics.a > 'x'",
                           "params.a = 5",
                           "params.from = 'x'",
                           "metrics.12a > 1",
                           "metrics.a-b > 1",
                           "metrics .a > 1",
                           "metrics.a > 0x10",
                           "metrics.a > 1;",
                           "(metrics.a > 1)",
                           "status IN ('x')",
                           "run_id IN ()",
                           "run_id = ('a')",
                           "start_time > 99999999999999999999",
                           "tags.a == 'x'",
                           "metrics.a IS NULL",
                           "tags.a IS NOT  NULL",
                           "params.a = 'x' run_id IN ('y')",
                           "params.a = 'x' -- y"}) {
    EXPECT_NE(message(text), "") << text;
  }
  EXPECT_NE(message("name like 'x'", entity::experiment), "");
  EXPECT_NE(message("`name` = 'x'", entity::registered_model), "");
  EXPECT_NE(message("tag.a = 'x'", entity::logged_model), "");
}

TEST(filter, is_bounded) {
  EXPECT_NE(message(std::string(detail::filter_length + 1, 'a')), "");
  std::string many = "status = 'a'";
  for (std::size_t i = 0; i < detail::filter_clauses; ++i) many += " AND status = 'a'";
  EXPECT_NE(message(many), "");
  EXPECT_NE(message("run_id IN " + std::string(1000, '(')), "");
  EXPECT_NE(message("tags.a = " + std::string(100'000, '\'') + "x"), "");
}

TEST(filter, reads_orders) {
  const auto term = detail::parse_order(entity::run, "metrics.`a b` DESC", 0);
  EXPECT_EQ(term.kind, field_kind::metric);
  EXPECT_EQ(term.key, "a b");
  EXPECT_FALSE(term.ascending);
  EXPECT_EQ(detail::parse_order(entity::run, "run_name", 0).key, "name");
  EXPECT_EQ(detail::parse_order(entity::registered_model, "timestamp desc", 0).key,
            "last_updated_time");
  for (const auto* text : {"", " start_time", "start_time DOWN", "datasets.name", "metrics. a DESC",
                           "start_time DESC NULLS LAST", "params.a, params.b"}) {
    EXPECT_ERROR(errc::invalid_argument, "order_by[3]", detail::parse_order(entity::run, text, 3));
  }
}

TEST(filter, quotes_for_a_filter) {
  EXPECT_EQ(only("tags." + quoted_key("a `b`") + " = " + quoted_text("it's")).key, "a `b`");
  EXPECT_ERROR(errc::invalid_argument, "filter.text", quoted_text("'\""));
  EXPECT_ERROR(errc::invalid_argument, "filter.text", quoted_text("a\\"));
}

TEST(page_token, is_mlflows) {
  EXPECT_EQ(detail::make_page_token(7), "eyJvZmZzZXQiOiA3fQ==");
  EXPECT_EQ(detail::read_page_token("eyJvZmZzZXQiOiA3fQ=="), 7);
  EXPECT_EQ(detail::read_page_token(""), 0);
  for (const auto* text : {"x", "eyJvZmZzZXQiOiAwfQ==", "bm9uZQ==", "[[["}) {
    EXPECT_ERROR(errc::invalid_argument, "page_token", detail::read_page_token(text));
  }
}

TEST(python_list, reads_what_python_reads) {
  const auto read = [](std::string_view text) { return detail::read_python_list(text, 5); };
  EXPECT_THAT(*read("('a' \"b\", r'\\n',)"), ElementsAre("ab", "\\n"));
  EXPECT_THAT(*read(R"(('\x41\u00e9\101\q'))"), ElementsAre("Aé"
                                                            "A\\q"));
  EXPECT_THAT(*read("(('a'))"), ElementsAre("a"));
  EXPECT_THAT(*read("(('a', 'b'))"), ElementsAre("a", "b"));
  for (const auto* text : {"('a', ('b', 'c'))", "(1)", "('a'", "('a' + 'b')", "('a',,)", "(b'a')",
                           "('\\xg')", "('a\nb')", "('1','2','3','4','5','6')"}) {
    EXPECT_FALSE(read(text)) << text;
  }
}

}  // namespace
}  // namespace mizzen::tracking
