#include "inference/cpu/kernels/half_avx2.hpp"
#include "inference/cpu/kernels/vector_half.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const half_table avx2_half;
constexpr half_table avx2_half = make_half_table("avx2");

}  // namespace mizzen::inference::detail::cpu
