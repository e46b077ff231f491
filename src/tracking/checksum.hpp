// The checksums that object stores keep with what they hold.
#pragma once

#include "core/sha256.hpp"
#include "tracking/crc32c.hpp"

#include <mizzen/http/message.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// One that S3 computes over whole objects.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
class checksum {
 public:
  enum class kind : std::uint8_t { crc32, crc32c, crc64nvme, sha256 };

  explicit checksum(kind of);

  void update(std::string_view bytes);

  // As S3 writes it: the big-endian bytes in base64. Call once.
  std::string base64();

 private:
  kind kind_;
  std::uint64_t crc_ = 0;
  std::optional<mizzen::detail::sha256> sha_;
};

// What an answer's header says of the body: a checksum of all of it. Nothing if there is none that
// we know, or only one of its parts.
struct promised_checksum {
  checksum::kind kind;
  std::string base64;
};
std::optional<promised_checksum> find_checksum(const http::headers& of);

}  // namespace mizzen::tracking::detail
