#include "inference/cpu/kernels/kernel_table.hpp"

#include <algorithm>

namespace mizzen::inference::detail::cpu {

extern const kernel_table generic_kernels;
#if defined(__x86_64__)
extern const kernel_table avx2_kernels;
extern const kernel_table avx512_kernels;
#endif

const kernel_table& kernels_for(isa level) noexcept {
#if defined(__x86_64__)
  switch (std::min(level, detect_isa())) {
    case isa::avx512:
      return avx512_kernels;
    case isa::avx2:
      return avx2_kernels;
    case isa::generic:
      break;
  }
#else
  static_cast<void>(level);
#endif
  return generic_kernels;
}

}  // namespace mizzen::inference::detail::cpu
