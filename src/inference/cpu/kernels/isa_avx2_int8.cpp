#include "inference/cpu/kernels/dot_avx2.hpp"
#include "inference/cpu/kernels/simd_avx2.hpp"
#include "inference/cpu/kernels/vector_int8.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const int8_table avx2_int8;
constexpr int8_table avx2_int8 = make_int8_table("avx2");

}  // namespace mizzen::inference::detail::cpu
