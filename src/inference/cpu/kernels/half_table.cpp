#include "inference/cpu/kernels/half_table.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {

extern const half_table generic_half;
extern const half_table emulated_amx_half;
#if defined(__x86_64__)
extern const half_table avx2_half;
extern const half_table avx512_half;
extern const half_table avx512_bf16_half;
extern const half_table amx_half;
#endif

namespace {

// In ascending order.
struct known_tables {
  known_tables() {
    all[count++] = &generic_half;
#if defined(__x86_64__)
    if (detect_isa() >= isa::avx2) all[count++] = &avx2_half;
    if (detect_isa() >= isa::avx512) all[count++] = &avx512_half;
    if (has_avx512_bf16()) all[count++] = &avx512_bf16_half;
    if (has_amx_bf16()) all[count++] = &amx_half;
#endif
  }

  std::array<const half_table*, 5> all{};
  std::size_t count = 0;
};

const known_tables& known() noexcept {
  static const known_tables tables;
  return tables;
}

}  // namespace

const half_table& best_halves() noexcept { return *known().all[known().count - 1]; }

std::span<const half_table* const> half_tables() noexcept {
  return {known().all.data(), known().count};
}

const half_table& emulated_amx() noexcept { return emulated_amx_half; }

}  // namespace mizzen::inference::detail::cpu
