#include "tracking/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include <arm_acle.h>
#endif

namespace mizzen::tracking::detail {
namespace {

constexpr std::array<std::uint32_t, 256> table = [] {
  std::array<std::uint32_t, 256> made{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78U : 0);
    made[i] = value;
  }
  return made;
}();

std::uint32_t by_table(std::uint32_t crc, const std::byte* at, std::size_t size) noexcept {
  for (; size > 0; ++at, --size) {
    crc = table[(crc ^ static_cast<std::uint32_t>(*at)) & 0xffU] ^ (crc >> 8);
  }
  return crc;
}

[[maybe_unused]] std::uint64_t load_word(const std::byte* at) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

using implementation = std::uint32_t (*)(std::uint32_t, const std::byte*, std::size_t) noexcept;

#if defined(__x86_64__)
[[gnu::target("sse4.2")]] std::uint32_t by_instruction(std::uint32_t crc, const std::byte* at,
                                                       std::size_t size) noexcept {
  std::uint64_t wide = crc;
  for (; size >= 8; at += 8, size -= 8) wide = _mm_crc32_u64(wide, load_word(at));
  crc = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++at, --size) crc = _mm_crc32_u8(crc, static_cast<unsigned char>(*at));
  return crc;
}
implementation best() noexcept {
  return __builtin_cpu_supports("sse4.2") != 0 ? by_instruction : by_table;
}
#elif defined(__aarch64__) && defined(__linux__)
[[gnu::target("+crc")]] std::uint32_t by_instruction(std::uint32_t crc, const std::byte* at,
                                                     std::size_t size) noexcept {
  for (; size >= 8; at += 8, size -= 8) crc = __crc32cd(crc, load_word(at));
  for (; size > 0; ++at, --size) crc = __crc32cb(crc, static_cast<unsigned char>(*at));
  return crc;
}
implementation best() noexcept {
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0 ? by_instruction : by_table;
}
#else
implementation best() noexcept { return by_table; }
#endif

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  static const implementation chosen = best();
  return ~chosen(~before, bytes.data(), bytes.size());
}

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  return ~by_table(~before, bytes.data(), bytes.size());
}

}  // namespace mizzen::tracking::detail
