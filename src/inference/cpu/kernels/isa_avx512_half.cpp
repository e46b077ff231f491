#include "inference/cpu/kernels/half_avx512.hpp"
#include "inference/cpu/kernels/vector_half.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const half_table avx512_half;
constexpr half_table avx512_half = make_half_table("avx512");

}  // namespace mizzen::inference::detail::cpu
