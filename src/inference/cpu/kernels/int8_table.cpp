#include "inference/cpu/kernels/int8_table.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {

extern const int8_table generic_int8;
#if defined(__x86_64__)
extern const int8_table avx2_int8;
extern const int8_table avx512_int8;
extern const int8_table avx512_vnni_int8;
#endif

namespace {

// In ascending order.
struct known_tables {
  known_tables() {
    all[count++] = &generic_int8;
#if defined(__x86_64__)
    if (detect_isa() >= isa::avx2) all[count++] = &avx2_int8;
    if (detect_isa() >= isa::avx512) all[count++] = &avx512_int8;
    if (has_avx512_vnni()) all[count++] = &avx512_vnni_int8;
#endif
  }
  std::array<const int8_table*, 4> all{};
  std::size_t count = 0;
};

const known_tables& known() noexcept {
  static const known_tables tables;
  return tables;
}

}  // namespace

const int8_table& best_int8() noexcept { return *known().all[known().count - 1]; }

std::span<const int8_table* const> int8_tables() noexcept {
  return {known().all.data(), known().count};
}

}  // namespace mizzen::inference::detail::cpu
