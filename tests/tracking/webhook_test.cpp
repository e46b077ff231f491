// Webhooks that an embedded store keeps. That a server calls them is checked by
// mlflow_rest_test.py.
#include "temporary_folder.hpp"

#include <mizzen/tracking.hpp>

#include <gmock/gmock.h>

namespace mizzen::tracking {
namespace {

using testing::ElementsAre;

class webhooks : public testing::Test {
 protected:
  temporary_folder folder_;
  client client_{client_options{.uri = folder_.file("mlflow.db")}};
  const webhook_options good_ = {.name = "ci",
                                 .url = "https://ci.example/hook",
                                 .events = {"model_version.created", "registered_model.created"},
                                 .description = "builds"};
};

TEST_F(webhooks, are_kept) {
  const webhook made = client_.create_webhook(good_);
  EXPECT_EQ(made.name, "ci");
  EXPECT_EQ(made.status, webhook_status::active);
  EXPECT_GT(made.creation_time, 0);
  EXPECT_THAT(made.events, ElementsAre("model_version.created", "registered_model.created"));
  webhook_options other = good_;
  other.name = "other";
  const webhook second = client_.create_webhook(other);
  const auto first = client_.list_webhooks(1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].id, second.id);
  const auto rest = client_.list_webhooks(1, first.next_page_token);
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].id, made.id);
  EXPECT_EQ(rest.next_page_token, "");

  const webhook changed = client_.update_webhook(made.id, {.events = {{"model_version_tag.set"}},
                                                           .description = "",
                                                           .status = webhook_status::disabled});
  EXPECT_EQ(changed.name, "ci");
  EXPECT_EQ(changed.description, "");
  EXPECT_EQ(changed.status, webhook_status::disabled);
  EXPECT_THAT(changed.events, ElementsAre("model_version_tag.set"));
  client_.delete_webhook(made.id);
  EXPECT_ERROR(errc::not_found, made.id, client_.get_webhook(made.id));
  EXPECT_ERROR(errc::not_found, made.id, client_.update_webhook(made.id, {}));
  EXPECT_ERROR(errc::not_found, made.id, client_.delete_webhook(made.id));
  EXPECT_EQ(client_.list_webhooks().size(), 1U);
}

TEST_F(webhooks, are_checked) {
  const auto refused = [&](errc code, const char* subject, auto&& spoil) {
    webhook_options options = good_;
    spoil(options);
    EXPECT_ERROR(code, subject, client_.create_webhook(options));
  };
  refused(errc::invalid_argument, "webhook.name", [](auto& o) { o.name = ""; });
  refused(errc::invalid_argument, "webhook.name", [](auto& o) { o.name = "-x"; });
  refused(errc::invalid_argument, "webhook.name", [](auto& o) { o.name = std::string(64, 'a'); });
  refused(errc::invalid_argument, "webhook.url", [](auto& o) { o.url = "file:///etc/passwd"; });
  refused(errc::invalid_argument, "webhook.events", [](auto& o) { o.events.clear(); });
  refused(errc::invalid_argument, "webhook.events", [](auto& o) { o.events = {"model.made"}; });
  refused(errc::invalid_argument, "webhook.events",
          [](auto& o) { o.events.push_back(o.events[0]); });
  refused(errc::unimplemented, "webhook.secret", [](auto& o) { o.secret = "s"; });
  const webhook made = client_.create_webhook(good_);
  EXPECT_ERROR(errc::unimplemented, made.id, client_.test_webhook(made.id));
  EXPECT_ERROR(errc::unimplemented, "webhook.secret",
               client_.update_webhook(made.id, {.secret = "s"}));
  EXPECT_ERROR(errc::invalid_argument, "max_results", client_.list_webhooks(1001));
}

}  // namespace
}  // namespace mizzen::tracking
