// CRC-32C (Castagnoli; RFC 3720 B.4), the checksum of the write-ahead log and of TensorBoard's
// event files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mizzen::tracking::detail {

// Of the bytes, or of what `before` is the checksum of and the bytes after it. Uses the CPU's
// instruction where it has one.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

// As above by table. Exposed for tests.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace mizzen::tracking::detail
