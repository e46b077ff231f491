#include "inference/cpu/kernels/dot_avx2.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/simd_avx2.hpp"
#include "inference/cpu/kernels/vector_int8.inc.hpp"
#include "inference/cpu/kernels/vector_kernels.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const kernel_table avx2_kernels;
constexpr kernel_table avx2_kernels = make_table(isa::avx2);

extern const int8_table avx2_int8;
constexpr int8_table avx2_int8 = make_int8_table("avx2");

}  // namespace mizzen::inference::detail::cpu
