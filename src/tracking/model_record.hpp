// Logged models with all that is known of them, for what carries them from one store to another.
#pragma once

#include <mizzen/tracking/types.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mizzen::tracking::detail {

// A point of a metric of a logged model, as a run measured it.
struct model_metric {
  metric point = {};
  std::string run_id = {};
  std::string dataset_name = {};
  std::string dataset_digest = {};
};

// All that is known of a logged model.
struct model_record {
  logged_model model = {};
  std::string status = "READY";  // LoggedModelStatus: PENDING, READY, UPLOAD_FAILED
  std::string status_message = {};
  std::string type = {};
  std::int64_t last_update_time = 0;
  string_map params = {};
  std::vector<model_metric> metrics = {};
};

// A logged model that a run made, or read.
struct model_use {
  std::string model_id = {};
  std::int64_t step = 0;
  bool made = true;
};

}  // namespace mizzen::tracking::detail
