#include "inference/cpu/kernels/int8_table.hpp"

#include <array>

namespace mizzen::inference::detail::cpu {

extern const int8_table generic_int8;
#if defined(__x86_64__)
extern const int8_table avx2_int8;
extern const int8_table avx512_int8;
extern const int8_table avx512_vnni_int8;
extern const look_up_function avx512_vbmi_look_up;
#endif

namespace {

// In ascending order.
struct known_tables {
  known_tables() {
    all[count++] = &generic_int8;
#if defined(__x86_64__)
    if (detect_isa() >= isa::avx2) all[count++] = &avx2_int8;
    if (detect_isa() >= isa::avx512) all[count++] = &avx512_int8;
    if (!has_avx512_vnni()) return;
    all[count++] = &avx512_vnni_int8;
    if (!has_avx512_vbmi()) return;
    with_vbmi = avx512_vnni_int8;
    with_vbmi.name = "avx512_vbmi";
    with_vbmi.look_up = avx512_vbmi_look_up;
    all[count++] = &with_vbmi;
#endif
  }
  known_tables(const known_tables&) = delete;
  known_tables& operator=(const known_tables&) = delete;

  int8_table with_vbmi{};
  std::array<const int8_table*, 5> all{};
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
