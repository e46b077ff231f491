// SHA-256 (FIPS 180-4), by OpenSSL.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace mizzen::pipelines::detail {

// Takes bytes piece by piece. Throws error(internal) if OpenSSL has no SHA-256.
class sha256 {
 public:
  sha256();

  sha256& update(std::string_view bytes);

  // 64 hexadecimal digits; call once.
  std::string hex();

 private:
  struct free_context {
    void operator()(evp_md_ctx_st* context) const noexcept;
  };
  std::unique_ptr<evp_md_ctx_st, free_context> context_;
};

std::string sha256_hex(std::string_view bytes);

}  // namespace mizzen::pipelines::detail
