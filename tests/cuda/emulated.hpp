// A gpu that is the processor: generated kernels are compiled as C++, products and convolutions are
// plain loops. Slow, and as exact as the kernels are.
#pragma once

#include "cuda/gpu.hpp"

#include <memory>

namespace mizzen::cuda {

std::unique_ptr<gpu> make_emulated_gpu();

}  // namespace mizzen::cuda
