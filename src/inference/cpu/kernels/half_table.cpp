#include "inference/cpu/kernels/half_table.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {

extern const half_table generic_half;
#if defined(__x86_64__)
extern const half_table avx2_half;
extern const half_table avx512_half;
#endif

namespace {

// In ascending order.
struct known_tables {
  known_tables() {
    all[count++] = &generic_half;
#if defined(__x86_64__)
    if (detect_isa() >= isa::avx2) all[count++] = &avx2_half;
    if (detect_isa() >= isa::avx512) all[count++] = &avx512_half;
#endif
  }

  std::array<const half_table*, 3> all{};
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

}  // namespace mizzen::inference::detail::cpu
