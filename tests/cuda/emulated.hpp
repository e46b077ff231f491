// A gpu that is the processor: generated kernels are compiled as C++, products and convolutions are
// plain loops. Slow, and as exact as the kernels are. The plug-in has two; each crashes a host that
// takes an address of its memory for one of its own, and does what is in a stream only when
// somebody waits for it.
//
// The plug-in shows tests what an application has from CUDA's runtime, by dlsym():
//   void* mizzen_emulated_stream_create(std::uint32_t device)
//   void mizzen_emulated_stream_destroy(void* stream)
//   void mizzen_emulated_stream_add(void* stream, void (*work)(void*), void* argument)
//   std::uint64_t mizzen_emulated_count(const char* what)   see test_stream.hpp
#pragma once

#include "cuda/gpu.hpp"

#include <memory>

namespace mizzen::cuda {

std::unique_ptr<gpu> make_emulated_gpu();

}  // namespace mizzen::cuda
