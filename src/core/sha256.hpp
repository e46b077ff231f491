// SHA-256 (FIPS 180-4), by OpenSSL: for modules that link OpenSSL::Crypto, which core does not.
#pragma once

#include <mizzen/core/error.hpp>

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace mizzen::detail {

// Two lower-case digits for each byte.
inline std::string hex_digits(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

// Takes bytes piece by piece. Throws error(internal) if OpenSSL has no SHA-256.
class sha256 {
 public:
  sha256() : context_(EVP_MD_CTX_new()) {
    require(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  sha256& update(std::string_view bytes) {
    require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
    return *this;
  }

  // The 32 bytes; call this or hex() once.
  std::string bytes() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    require(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
    return {reinterpret_cast<const char*>(digest.data()), size};
  }

  std::string hex() { return hex_digits(bytes()); }

 private:
  static void require(bool ok) {
    if (!ok) throw error(errc::internal, "SHA-256", "OpenSSL refused to compute it");
  }

  struct free_context {
    void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, free_context> context_;
};

inline std::string sha256_hex(std::string_view bytes) { return sha256().update(bytes).hex(); }

}  // namespace mizzen::detail
