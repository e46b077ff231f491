// Scaled dot-product attention of floats, head by head: the scores never leave the cache.
#pragma once

#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>

namespace mizzen::inference::detail::cpu {

// Rows of all heads side by side, or laid out by head: strides in elements. The columns of a row
// within a head are adjacent.
struct head_rows {
  const float* data = nullptr;
  std::size_t batch = 0;
  std::size_t head = 0;
  std::size_t row = 0;
};

// Y = softmax(scale Q K^T + mask) V for each head of each batch.
struct attention_problem {
  std::size_t batch = 1;
  std::size_t heads = 1;
  std::size_t queries = 0;
  std::size_t keys = 0;
  std::size_t depth = 0;  // columns of a head of Q and K
  std::size_t width = 0;  // of V and Y
  float scale = 1;
  head_rows q, k, v;
  head_rows mask;            // rows of `keys` numbers, by query; data null: none
  std::size_t mask_key = 1;  // from one key to the next: 0 or 1
  float* y = nullptr;
  std::size_t y_batch = 0;
  std::size_t y_head = 0;
  std::size_t y_row = 0;
};

// Floats of scratch memory that attention() needs with so many threads.
std::size_t attention_scratch(const kernel_table& kernels, const attention_problem& problem,
                              unsigned threads);

// scratch holds attention_scratch(kernels, problem, pool.size()) floats. Y must not overlap the
// rest. Without keys Y is 0. Allocates nothing.
void attention(const kernel_table& kernels, thread_pool& pool, const attention_problem& problem,
               float* scratch);

}  // namespace mizzen::inference::detail::cpu
