#include "tracking/backend.hpp"

#include "tracking/store.hpp"

namespace mizzen::tracking::detail {

std::shared_ptr<backend> open_backend(const client_options& options) {
  return std::make_shared<store>(options);
}

}  // namespace mizzen::tracking::detail
