#include "inference/cpu/kernels/dot_generic.hpp"
#include "inference/cpu/kernels/simd_generic.hpp"
#include "inference/cpu/kernels/vector_int8.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const int8_table generic_int8;
constexpr int8_table generic_int8 = make_int8_table("generic");

}  // namespace mizzen::inference::detail::cpu
