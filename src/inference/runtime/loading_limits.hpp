// What bounds the loading of a model.
#pragma once

#include <mizzen/core/cancellation.hpp>

#include <chrono>

namespace mizzen::inference::detail {

// Of one model, with all its subgraphs.
struct loading_limits {
  cancellation cancel = {};
  // How long constants may still be computed: a small model can demand hours.
  std::chrono::nanoseconds folding = std::chrono::seconds(10);

  void check() const { cancel.check("load of the model"); }
};

}  // namespace mizzen::inference::detail
