#include "inference/cpu/kernels/int8_table.hpp"

#include <immintrin.h>

namespace mizzen::inference::detail::cpu {
namespace {

// 64 bytes at once: two permutations of 128 entries each, and the index's highest bit chooses.
void look_up(const std::uint8_t* table, const std::uint8_t* x, std::size_t n, std::uint8_t* y) {
  const __m512i quarter[4] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                              _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)};
  for (std::size_t i = 0; i < n; i += 64) {
    const __mmask64 some = n - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - i)) - 1;
    const __m512i index = _mm512_maskz_loadu_epi8(some, x + i);
    const __m512i low = _mm512_permutex2var_epi8(quarter[0], index, quarter[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarter[2], index, quarter[3]);
    const __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    _mm512_mask_storeu_epi8(y + i, some, found);
  }
}

}  // namespace

extern const look_up_function avx512_vbmi_look_up;
constexpr look_up_function avx512_vbmi_look_up = look_up;

}  // namespace mizzen::inference::detail::cpu
