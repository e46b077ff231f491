#include "tracking/checksum.hpp"

#include "core/base64.hpp"

#include <array>
#include <cstring>
#include <span>
#include <zlib.h>

namespace mizzen::tracking::detail {
namespace {

// CRC-64/NVME, bit reversed: eight tables, so that eight bytes are one step.
using crc64_tables = std::array<std::array<std::uint64_t, 256>, 8>;
constexpr crc64_tables make_crc64_tables() {
  crc64_tables tables{};
  for (std::uint64_t i = 0; i < 256; ++i) {
    std::uint64_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1) != 0 ? crc >> 1 ^ 0x9a6c9329ac4bc9b5U : crc >> 1;
    }
    tables[0][i] = crc;
  }
  for (std::size_t t = 1; t < 8; ++t) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint64_t before = tables[t - 1][i];
      tables[t][i] = before >> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
constexpr crc64_tables tables = make_crc64_tables();

std::uint64_t crc64nvme(std::string_view bytes, std::uint64_t before) noexcept {
  std::uint64_t crc = ~before;
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      word |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][word >> (8 * i) & 0xff];
  }
  for (const char c : bytes)
    crc = crc >> 8 ^ tables[0][(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

std::string big_endian(std::uint64_t value, std::size_t size) {
  std::string bytes;
  for (std::size_t i = size; i-- > 0;) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

}  // namespace

checksum::checksum(kind of) : kind_(of) {
  if (kind_ == kind::sha256) sha_.emplace();
}

void checksum::update(std::string_view bytes) {
  switch (kind_) {
    case kind::crc32:
      crc_ = crc32_z(crc_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
      return;
    case kind::crc32c:
      crc_ = crc32c(std::as_bytes(std::span(bytes)), static_cast<std::uint32_t>(crc_));
      return;
    case kind::crc64nvme:
      crc_ = crc64nvme(bytes, crc_);
      return;
    case kind::sha256:
      sha_->update(bytes);
  }
}

std::string checksum::base64() {
  using mizzen::detail::base64_encode;
  if (sha_) return base64_encode(sha_->bytes());
  return base64_encode(big_endian(crc_, kind_ == kind::crc64nvme ? 8 : 4));
}

std::optional<promised_checksum> find_checksum(const http::headers& of) {
  using kind = checksum::kind;
  constexpr std::array<std::pair<std::string_view, kind>, 4> known = {
      {{"x-amz-checksum-crc64nvme", kind::crc64nvme},
       {"x-amz-checksum-crc32c", kind::crc32c},
       {"x-amz-checksum-crc32", kind::crc32},
       {"x-amz-checksum-sha256", kind::sha256}}};
  if (of.has_token("x-amz-checksum-type", "COMPOSITE")) return std::nullopt;
  for (const auto& [name, each] : known) {
    const std::string_view value = of.value(name);
    // "…-3" is a checksum of the checksums of three parts.
    if (!value.empty() && value.find('-') == std::string_view::npos) {
      return promised_checksum{each, std::string(value)};
    }
  }
  return std::nullopt;
}

}  // namespace mizzen::tracking::detail
