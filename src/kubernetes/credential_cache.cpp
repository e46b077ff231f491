#include "kubernetes/credential_cache.hpp"

#include <utility>

namespace mizzen::kubernetes::detail {

bool credential_cache::put(exec_credential fresh) {
  refused_ = false;
  const bool differs = !current_ || current_->token != fresh.token ||
                       current_->certificate_pem != fresh.certificate_pem ||
                       current_->key_pem != fresh.key_pem;
  current_ = std::move(fresh);
  if (differs) ++generation_;
  return differs;
}

bool credential_cache::keep(wall_clock::time_point now) noexcept {
  if (!current_ || refused_) return false;
  return !current_->expires || now < *current_->expires;
}

}  // namespace mizzen::kubernetes::detail
