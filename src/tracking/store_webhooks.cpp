// Webhooks as MLflow's tables keep them. Nobody calls them from here: that is a server's part.
#include "tracking/page_token.hpp"
#include "tracking/store.hpp"
#include "tracking/webhook.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/core/time.hpp>

namespace mizzen::tracking::detail {
namespace {

// MLflow encrypts it with a key of its server's (MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY).
void refuse_secret() {
  throw error(errc::unimplemented, "webhook.secret",
              "an embedded store keeps none; set it through the tracking server that will use it");
}

void require_change(connection& on, std::string_view id) {
  if (on.changes() > 0) return;
  throw error(errc::not_found, "webhook '" + std::string(id) + "'", "there is none in this store");
}

void put_events(connection& on, std::string_view id, const std::vector<std::string>& events) {
  for (const std::string& event : events) {
    const auto [entity, action] = split_event(event);
    on.prepare("INSERT INTO webhook_events (webhook_id, entity, action) VALUES (?1, ?2, ?3)")
        .bind(id, entity, action)
        .run();
  }
}

webhook read_webhook(connection& on, statement& row) {
  webhook held;
  held.id = row.text(0);
  held.name = row.text(1);
  held.url = row.text(2);
  held.description = row.text(3);
  held.status = read_webhook_status(row.text(4));
  held.creation_time = row.integer(5);
  held.last_update_time = row.integer(6);
  auto event = on.prepare(
      "SELECT entity || '.' || action FROM webhook_events WHERE webhook_id = ?1 ORDER BY entity, "
      "action");
  event.bind(held.id);
  while (event.step()) held.events.push_back(event.text(0));
  return held;
}

}  // namespace

webhook store::create_webhook(const webhook_options& options) {
  check_webhook(options);
  if (!options.secret.empty()) refuse_secret();
  const std::string id = random_uuid();
  writing([&](connection& on) {
    on.prepare(
          "INSERT INTO webhooks (webhook_id, name, description, url, status, creation_timestamp, "
          "last_updated_timestamp, workspace) VALUES (?1, ?2, nullif(?3, ''), ?4, ?5, ?6, ?6, "
          "'default')")
        .bind(id, options.name, options.description, options.url, to_string(options.status),
              unix_millis())
        .run();
    put_events(on, id, options.events);
  });
  return get_webhook(id);
}

webhook store::get_webhook(std::string_view id) {
  check_webhook_id(id);
  return reading([&](connection& on) {
    auto row = on.prepare(
        "SELECT webhook_id, name, url, description, status, creation_timestamp, "
        "last_updated_timestamp FROM webhooks WHERE workspace = 'default' AND webhook_id = ?1 AND "
        "deleted_timestamp IS NULL");
    if (!row.bind(id).step()) {
      throw error(errc::not_found, "webhook '" + std::string(id) + "'",
                  "there is none in this store");
    }
    return read_webhook(on, row);
  });
}

page<webhook> store::list_webhooks(std::size_t max_results, std::string_view page_token) {
  check_webhook_page(max_results);
  const std::int64_t offset = read_page_token(page_token);
  return reading([&](connection& on) {
    page<webhook> found;
    auto row = on.prepare(
        "SELECT webhook_id, name, url, description, status, creation_timestamp, "
        "last_updated_timestamp FROM webhooks WHERE workspace = 'default' AND deleted_timestamp IS "
        "NULL ORDER BY creation_timestamp DESC, rowid DESC LIMIT ?1 OFFSET ?2");
    row.bind(max_results + 1, offset);
    while (row.step()) {
      if (found.items.size() == max_results) {
        found.next_page_token = make_page_token(offset + static_cast<std::int64_t>(max_results));
        break;
      }
      found.items.push_back(read_webhook(on, row));
    }
    return found;
  });
}

webhook store::update_webhook(std::string_view id, const webhook_update& changes) {
  check_webhook_id(id);
  check_webhook(changes);
  if (changes.secret) refuse_secret();
  writing([&](connection& on) {
    std::optional<std::string_view> status;
    if (changes.status) status = to_string(*changes.status);
    on.prepare(
          "UPDATE webhooks SET name = ifnull(?2, name), url = ifnull(?3, url), description = "
          "ifnull(?4, description), status = ifnull(?5, status), last_updated_timestamp = ?6 WHERE "
          "workspace = 'default' AND webhook_id = ?1 AND deleted_timestamp IS NULL")
        .bind(id, changes.name, changes.url, changes.description, status, unix_millis())
        .run();
    require_change(on, id);
    if (!changes.events) return;
    on.prepare("DELETE FROM webhook_events WHERE webhook_id = ?1").bind(id).run();
    put_events(on, id, *changes.events);
  });
  return get_webhook(id);
}

void store::delete_webhook(std::string_view id) {
  check_webhook_id(id);
  writing([&](connection& on) {
    // MLflow keeps the row.
    on.prepare(
          "UPDATE webhooks SET deleted_timestamp = ?2, last_updated_timestamp = ?2 WHERE workspace "
          "= 'default' AND webhook_id = ?1 AND deleted_timestamp IS NULL")
        .bind(id, unix_millis())
        .run();
    require_change(on, id);
  });
}

webhook_test_result store::test_webhook(std::string_view id, std::string_view) {
  throw error(errc::unimplemented, "webhook '" + std::string(id) + "'",
              "an embedded store calls no webhooks; a tracking server does");
}

}  // namespace mizzen::tracking::detail
