#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/simd_avx2.hpp"
#include "inference/cpu/kernels/vector_kernels.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const kernel_table avx2_kernels;
constexpr kernel_table avx2_kernels = make_table(isa::avx2);

}  // namespace mizzen::inference::detail::cpu
