#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/kernels/simd_generic.hpp"
#include "inference/cpu/kernels/vector_kernels.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const kernel_table generic_kernels;
constexpr kernel_table generic_kernels = make_table(isa::generic);

}  // namespace mizzen::inference::detail::cpu
