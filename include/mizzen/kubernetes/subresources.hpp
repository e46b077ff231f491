// What subresources take and give that is no object of its own.
#pragma once

#include <mizzen/core/cancellation.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace mizzen::kubernetes {

// autoscaling/v1 Scale.
struct scale {
  std::string name = {};
  std::string resource_version = {};
  std::int32_t replicas = 0;          // wanted
  std::int32_t current_replicas = 0;  // observed
  std::string selector = {};          // of the pods, as text
};

// authentication/v1 TokenRequest.
struct token_options {
  std::vector<std::string> audiences = {};  // empty: the API server's own
  std::chrono::seconds expires_in{3600};    // at least 10 minutes; the server may shorten it
  // The token dies with this object: kind Pod, Secret or Node of the same namespace.
  std::string bound_kind = {};
  std::string bound_name = {};
  std::string bound_uid = {};
  mizzen::cancellation cancel = {};
};

struct service_account_token {
  std::string token = {};
  std::chrono::system_clock::time_point expires = {};
};

}  // namespace mizzen::kubernetes
