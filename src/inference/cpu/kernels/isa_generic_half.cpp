#include "inference/cpu/kernels/half_generic.hpp"
#include "inference/cpu/kernels/vector_half.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const half_table generic_half;
constexpr half_table generic_half = make_half_table("generic");

}  // namespace mizzen::inference::detail::cpu
