// Webhooks of a tracking server (mlflow/protos/webhooks.proto).
#include "tracking/rest_backend.hpp"
#include "tracking/rest_messages.hpp"
#include "tracking/webhook.hpp"

#include <mizzen/core/json.hpp>
#include <mizzen/http/message.hpp>

#include <algorithm>
#include <string>

namespace mizzen::tracking::detail {
namespace {

constexpr std::string_view api = "/api/2.0/mlflow/webhooks";

std::string changed_case(std::string text, char first, char last, int by) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [&](char c) { return c >= first && c <= last ? static_cast<char>(c + by) : c; });
  return text;
}

json to_json(std::string_view event) {
  const auto [entity, action] = split_event(event);
  return {{"entity", changed_case(entity, 'a', 'z', 'A' - 'a')},
          {"action", changed_case(action, 'a', 'z', 'A' - 'a')}};
}

json to_json(const std::vector<std::string>& events) {
  json list = json::array();
  for (const std::string& event : events) list.push_back(to_json(std::string_view(event)));
  return list;
}

webhook read_webhook(const json& message) {
  webhook held;
  held.id = text_field(message, "webhook_id");
  held.name = text_field(message, "name");
  held.url = text_field(message, "url");
  for (const json& event : list_field(message, "events")) {
    held.events.push_back(changed_case(
        text_field(event, "entity") + "." + text_field(event, "action"), 'A', 'Z', 'a' - 'A'));
  }
  std::sort(held.events.begin(), held.events.end());
  held.description = text_field(message, "description");
  held.status = read_webhook_status(text_field(message, "status"));
  held.creation_time = integer_field(message, "creation_timestamp");
  held.last_update_time = integer_field(message, "last_updated_timestamp");
  return held;
}

std::string path_of(std::string_view id) {
  check_webhook_id(id);
  return std::string(api) + "/" + http::percent_encode(id);
}

}  // namespace

webhook rest_backend::create_webhook(const webhook_options& options) {
  check_webhook(options);
  json body = {{"name", options.name},
               {"url", options.url},
               {"events", to_json(options.events)},
               {"description", options.description},
               {"status", to_string(options.status)}};
  if (!options.secret.empty()) body["secret"] = options.secret;
  const json answer = server().send("POST", api, body, repeatable::no);
  return read_webhook(required_field(answer, "webhook"));
}

webhook rest_backend::get_webhook(std::string_view id) {
  return read_webhook(required_field(server().get(path_of(id)), "webhook"));
}

page<webhook> rest_backend::list_webhooks(std::size_t max_results, std::string_view page_token) {
  check_webhook_page(max_results);
  query_parameters query = {{"max_results", std::to_string(max_results)}};
  if (!page_token.empty()) query.emplace_back("page_token", page_token);
  const json answer = server().get(api, query);
  page<webhook> found{.next_page_token = text_field(answer, "next_page_token")};
  for (const json& one : list_field(answer, "webhooks")) found.items.push_back(read_webhook(one));
  return found;
}

webhook rest_backend::update_webhook(std::string_view id, const webhook_update& changes) {
  check_webhook(changes);
  json body = json::object();
  if (changes.name) body["name"] = *changes.name;
  if (changes.url) body["url"] = *changes.url;
  if (changes.events) body["events"] = to_json(*changes.events);
  if (changes.description) body["description"] = *changes.description;
  if (changes.secret) body["secret"] = *changes.secret;
  if (changes.status) body["status"] = to_string(*changes.status);
  const json answer = server().send("PATCH", path_of(id), body, repeatable::yes);
  return read_webhook(required_field(answer, "webhook"));
}

void rest_backend::delete_webhook(std::string_view id) {
  server().send("DELETE", path_of(id), json::object(), repeatable::no);
}

webhook_test_result rest_backend::test_webhook(std::string_view id, std::string_view event) {
  json body = json::object();
  if (!event.empty()) body["event"] = to_json(event);
  const json answer = server().send("POST", path_of(id) + "/test", body, repeatable::no);
  const json& result = required_field(answer, "result");
  return {flag_field(result, "success"), static_cast<int>(integer_field(result, "response_status")),
          text_field(result, "response_body"), text_field(result, "error_message")};
}

}  // namespace mizzen::tracking::detail
