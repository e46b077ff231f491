// What is behind a client, for the functions beside it.
#pragma once

#include "tracking/backend.hpp"
#include "tracking/drain.hpp"

#include <mizzen/tracking/client.hpp>

#include <memory>

namespace mizzen::tracking::detail {

struct client_parts {
  std::shared_ptr<detail::backend> backend;
  std::shared_ptr<drain> writer;

  static client_parts of(const client& one) { return {one.backend_, one.writer_}; }
};

}  // namespace mizzen::tracking::detail
