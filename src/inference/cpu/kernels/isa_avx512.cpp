#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/simd_avx512.hpp"
#include "inference/cpu/kernels/vector_kernels.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const kernel_table avx512_kernels;
constexpr kernel_table avx512_kernels = make_table(isa::avx512);

}  // namespace mizzen::inference::detail::cpu
