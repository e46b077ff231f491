#include "inference/cpu/kernels/half_generic.hpp"
#include "inference/cpu/kernels/tiles_emulated.hpp"
#include "inference/cpu/kernels/vector_tiles.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const half_table emulated_amx_half;
constexpr half_table emulated_amx_half = make_tile_table("amx_emulated");

}  // namespace mizzen::inference::detail::cpu
