// Which vector instructions the processor has.
#pragma once

#include <string_view>

namespace mizzen::inference::detail::cpu {

// In ascending order: a processor that has one level has those before it.
enum class isa {
  generic,  // what the compiler's base target offers (SSE2 on x86-64)
  avx2,     // AVX2, FMA, F16C
  avx512,   // AVX-512 F, BW, DQ, VL (and avx2)
};

// The highest level that the processor has and the operating system saves the registers of.
isa detect_isa() noexcept;

// Whether a processor of the level avx512 also sums products of bytes (AVX-512 VNNI).
bool has_avx512_vnni() noexcept;

// Whether it permutes bytes as well (AVX512_VBMI).
bool has_avx512_vbmi() noexcept;

// Whether it multiplies pairs of bfloat16 (AVX512_BF16).
bool has_avx512_bf16() noexcept;

// Whether it multiplies tiles of bfloat16 (AMX_BF16, beside AVX-512), and the operating system has
// given this process the use of the registers, which is asked of it here.
bool has_amx_bf16() noexcept;

std::string_view to_string(isa level) noexcept;

}  // namespace mizzen::inference::detail::cpu
