// Products, convolutions and attention of the emulated GPU: plain loops on the processor.
#pragma once

#include "cuda/schedule.hpp"

#include <cstdint>
#include <span>

namespace mizzen::cuda {

float from_half(std::uint16_t h);
std::uint16_t to_half(float f);

// False for a kernel, which is not computed here. Throws error where the step lies otherwise than
// the libraries of a GPU take it.
bool compute(const step& s, std::span<void* const> memory);

}  // namespace mizzen::cuda
