#include "inference/cpu/kernels/half_avx512.hpp"
#include "inference/cpu/kernels/tiles_amx.hpp"
#include "inference/cpu/kernels/vector_tiles.inc.hpp"

namespace mizzen::inference::detail::cpu {

extern const half_table amx_half;
constexpr half_table amx_half = make_tile_table("amx_bf16");

}  // namespace mizzen::inference::detail::cpu
