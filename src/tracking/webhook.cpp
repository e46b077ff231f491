#include "tracking/webhook.hpp"

#include "tracking/validate.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <array>
#include <set>

namespace mizzen::tracking::detail {
namespace {

constexpr std::array<std::string_view, 15> known_events = {"registered_model.created",
                                                           "model_version.created",
                                                           "model_version_tag.set",
                                                           "model_version_tag.deleted",
                                                           "model_version_alias.created",
                                                           "model_version_alias.deleted",
                                                           "prompt.created",
                                                           "prompt_version.created",
                                                           "prompt_tag.set",
                                                           "prompt_tag.deleted",
                                                           "prompt_version_tag.set",
                                                           "prompt_version_tag.deleted",
                                                           "prompt_alias.created",
                                                           "prompt_alias.deleted",
                                                           "budget_policy.exceeded"};

constexpr std::size_t description_length = 1000;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

[[noreturn]] void refuse(std::string_view field, std::string_view message) {
  throw error(errc::invalid_argument, field, message);
}

}  // namespace

std::pair<std::string, std::string> split_event(std::string_view event) {
  if (std::find(known_events.begin(), known_events.end(), event) == known_events.end()) {
    std::string known;
    for (const std::string_view one : known_events) {
      known += (known.empty() ? "" : ", ") + std::string(one);
    }
    refuse("webhook.events",
           "MLflow knows no event '" + std::string(event.substr(0, 80)) + "'; there are " + known);
  }
  const auto dot = event.find('.');
  return {std::string(event.substr(0, dot)), std::string(event.substr(dot + 1))};
}

void check_webhook_name(std::string_view name) {
  const bool fits = !name.empty() && name.size() <= 63 && is_alphanumeric(name.front()) &&
                    is_alphanumeric(name.back()) &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
                    });
  if (fits) return;
  refuse("webhook.name",
         "it is not 1 to 63 letters, digits, '.', '_' and '-', the first and the last of them a "
         "letter or digit");
}

void check_webhook_url(std::string_view url) {
  check_text("webhook.url", url, 500);
  if (!url.starts_with("https://") && !url.starts_with("http://")) {
    refuse("webhook.url", "it does not begin with https:// or http://");
  }
}

void check_webhook_events(const std::vector<std::string>& events) {
  if (events.empty()) refuse("webhook.events", "there are none; name at least one");
  std::set<std::string_view> seen;
  for (const std::string& event : events) {
    split_event(event);
    if (!seen.insert(event).second) refuse("webhook.events", "'" + event + "' is there twice");
  }
}

void check_webhook(const webhook_options& options) {
  check_webhook_name(options.name);
  check_webhook_url(options.url);
  check_webhook_events(options.events);
  check_text("webhook.description", options.description, description_length);
  check_text("webhook.secret", options.secret, description_length);
}

void check_webhook(const webhook_update& changes) {
  if (changes.name) check_webhook_name(*changes.name);
  if (changes.url) check_webhook_url(*changes.url);
  if (changes.events) check_webhook_events(*changes.events);
  if (changes.description) {
    check_text("webhook.description", *changes.description, description_length);
  }
  if (changes.secret) check_text("webhook.secret", *changes.secret, description_length);
}

void check_webhook_id(std::string_view id) {
  check_text("webhook.id", id, 256);
  if (id.empty()) refuse("webhook.id", "it is empty");
}

void check_webhook_page(std::size_t max_results) {
  if (max_results >= 1 && max_results <= 1000) return;
  refuse("max_results", "it is " + std::to_string(max_results) + "; a page has 1 to 1,000");
}

webhook_status read_webhook_status(std::string_view text) noexcept {
  return text == to_string(webhook_status::disabled) ? webhook_status::disabled
                                                     : webhook_status::active;
}

}  // namespace mizzen::tracking::detail

namespace mizzen::tracking {

std::string_view to_string(webhook_status status) noexcept {
  return status == webhook_status::disabled ? "DISABLED" : "ACTIVE";
}

}  // namespace mizzen::tracking
