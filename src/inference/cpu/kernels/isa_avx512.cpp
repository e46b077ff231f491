#include "inference/cpu/kernels/dot_avx512.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/simd_avx512.hpp"
#include "inference/cpu/kernels/vector_int8.inc.hpp"
#include "inference/cpu/kernels/vector_kernels.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const kernel_table avx512_kernels;
constexpr kernel_table avx512_kernels = make_table(isa::avx512);

extern const int8_table avx512_int8;
constexpr int8_table avx512_int8 = make_int8_table("avx512");

}  // namespace mizzen::inference::detail::cpu
