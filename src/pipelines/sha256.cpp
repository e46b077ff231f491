#include "pipelines/sha256.hpp"

#include <mizzen/core/error.hpp>

#include <openssl/evp.h>

#include <array>

namespace mizzen::pipelines::detail {
namespace {

void require(bool ok) {
  if (!ok) throw error(errc::internal, "SHA-256", "OpenSSL refused to compute it");
}

}  // namespace

void sha256::free_context::operator()(evp_md_ctx_st* context) const noexcept {
  EVP_MD_CTX_free(context);
}

sha256::sha256() : context_(EVP_MD_CTX_new()) {
  require(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

sha256& sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  return *this;
}

std::string sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  require(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += digits[digest[i] >> 4U];
    text += digits[digest[i] & 15U];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) { return sha256().update(bytes).hex(); }

}  // namespace mizzen::pipelines::detail
