// The rules of MLflow for webhooks (mlflow/entities/webhook.py, MLflow 3.17).
#pragma once

#include <mizzen/tracking/webhook.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {

// An event in two: {"model_version", "created"}. Throws error(invalid_argument) for one that MLflow
// does not know.
std::pair<std::string, std::string> split_event(std::string_view event);

// Throw error(invalid_argument), "webhook.<field>".
void check_webhook_name(std::string_view name);
void check_webhook_url(std::string_view url);
void check_webhook_events(const std::vector<std::string>& events);
void check_webhook(const webhook_options& options);
void check_webhook(const webhook_update& changes);
void check_webhook_id(std::string_view id);
// 1 to 1,000 of a page.
void check_webhook_page(std::size_t max_results);

// "DISABLED", or else active.
webhook_status read_webhook_status(std::string_view text) noexcept;

}  // namespace mizzen::tracking::detail
