// Webhooks of the model registry: URLs that a tracking server calls when something happens there.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

enum class webhook_status { active, disabled };

// MLflow's spelling: "ACTIVE", "DISABLED".
std::string_view to_string(webhook_status status) noexcept;

// Events are named as MLflow names them, entity and action: "registered_model.created",
// "model_version.created", "model_version_tag.set", "model_version_tag.deleted",
// "model_version_alias.created", "model_version_alias.deleted", "prompt.created",
// "prompt_version.created", "prompt_tag.set", "prompt_tag.deleted", "prompt_version_tag.set",
// "prompt_version_tag.deleted", "prompt_alias.created", "prompt_alias.deleted",
// "budget_policy.exceeded".
struct webhook {
  std::string id = {};
  std::string name = {};
  std::string url = {};
  std::vector<std::string> events = {};
  std::string description = {};
  webhook_status status = webhook_status::active;
  std::int64_t creation_time = 0;
  std::int64_t last_update_time = 0;
};

struct webhook_options {
  // Letters, digits, '.', '_' and '-', at most 63, the first and the last a letter or digit.
  std::string name = {};
  std::string url = {};  // https:// unless the server allows others
  std::vector<std::string> events = {};
  std::string description = {};
  // Signs what is sent (X-MLflow-Signature); never given back by a server. Not in an embedded
  // store, where MLflow could not read it: error(unimplemented).
  std::string secret = {};
  webhook_status status = webhook_status::active;
};

// What is given replaces what was there.
struct webhook_update {
  std::optional<std::string> name = {};
  std::optional<std::string> url = {};
  std::optional<std::vector<std::string>> events = {};
  std::optional<std::string> description = {};
  std::optional<std::string> secret = {};
  std::optional<webhook_status> status = {};
};

// What came of a call that a server made to try a webhook out.
struct webhook_test_result {
  bool success = false;
  int response_status = 0;  // 0: there was no answer
  std::string response_body = {};
  std::string error_message = {};
};

}  // namespace mizzen::tracking
