#include "inference/cpu/isa.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>

#include <unistd.h>
#endif
#endif

namespace mizzen::inference::detail::cpu {

#if defined(__x86_64__)
namespace {

// XCR0: the register states that the operating system saves on a context switch.
unsigned long long saved_states() noexcept {
  unsigned low = 0;
  unsigned high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32U) | low;
}

constexpr bool has(unsigned long long bits, unsigned long long wanted) {
  return (bits & wanted) == wanted;
}

// Bits: Intel SDM volume 2, CPUID leaves 1 and 7; volume 1, 13.3 (XCR0).
isa ask_processor() noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned fma = 1U << 12U;
  constexpr unsigned osxsave = 1U << 27U;
  constexpr unsigned avx = 1U << 28U;
  constexpr unsigned f16c = 1U << 29U;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !has(c, fma | osxsave | avx | f16c)) {
    return isa::generic;
  }
  constexpr unsigned xmm_ymm = 0x6;
  constexpr unsigned mask_zmm = 0xE0;
  const unsigned long long saved = saved_states();
  constexpr unsigned avx2 = 1U << 5U;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || !has(b, avx2) || !has(saved, xmm_ymm)) {
    return isa::generic;
  }
  constexpr unsigned avx512 = (1U << 16U) | (1U << 17U) | (1U << 30U) | (1U << 31U);  // F DQ BW VL
  return has(b, avx512) && has(saved, mask_zmm) ? isa::avx512 : isa::avx2;
}

// Of leaf 7's ECX.
bool has_beside_avx512(unsigned bit) noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return detect_isa() == isa::avx512 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
         has(c, 1U << bit);
}

bool ask_avx512_bf16() noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned avx512_bf16 = 1U << 5U;  // of leaf 7.1's EAX
  return detect_isa() == isa::avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
         has(a, avx512_bf16);
}

// Linux gives the registers of AMX, 8 KiB for each thread, to processes that ask for them. Source:
// the kernel's Documentation/arch/x86/xstate.rst.
bool may_use_tiles() noexcept {
#if defined(__linux__)
  constexpr long request_permission = 0x1023;
  constexpr long tile_data = 18;
  return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

bool ask_amx_bf16() noexcept {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned amx_tile_and_bf16 = (1U << 24U) | (1U << 22U);  // of leaf 7's EDX
  constexpr unsigned tile_states = 3U << 17U;
  return detect_isa() == isa::avx512 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
         has(d, amx_tile_and_bf16) && has(saved_states(), tile_states) && may_use_tiles();
}

}  // namespace

// Asked once: on a virtual machine the instruction takes tens of microseconds.
isa detect_isa() noexcept {
  static const isa level = ask_processor();
  return level;
}
bool has_avx512_vnni() noexcept {
  static const bool has_it = has_beside_avx512(11);
  return has_it;
}
bool has_avx512_vbmi() noexcept {
  static const bool has_it = has_beside_avx512(1);
  return has_it;
}
bool has_avx512_bf16() noexcept {
  static const bool has_it = ask_avx512_bf16();
  return has_it;
}
bool has_amx_bf16() noexcept {
  static const bool has_it = ask_amx_bf16();
  return has_it;
}
#else
isa detect_isa() noexcept { return isa::generic; }
bool has_avx512_vnni() noexcept { return false; }
bool has_avx512_vbmi() noexcept { return false; }
bool has_avx512_bf16() noexcept { return false; }
bool has_amx_bf16() noexcept { return false; }
#endif

std::string_view to_string(isa level) noexcept {
  switch (level) {
    case isa::avx2:
      return "avx2";
    case isa::avx512:
      return "avx512";
    case isa::generic:
      break;
  }
  return "generic";
}

}  // namespace mizzen::inference::detail::cpu
