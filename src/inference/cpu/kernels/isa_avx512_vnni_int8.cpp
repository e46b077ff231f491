#include "inference/cpu/kernels/dot_avx512_vnni.hpp"
#include "inference/cpu/kernels/simd_avx512.hpp"
#include "inference/cpu/kernels/vector_int8.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const int8_table avx512_vnni_int8;
constexpr int8_table avx512_vnni_int8 = make_int8_table("avx512_vnni");

}  // namespace mizzen::inference::detail::cpu
