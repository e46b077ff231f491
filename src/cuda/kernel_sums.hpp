// Sums over rows that are long, or whose neighbours in memory are of other rows.
#pragma once

#include "cuda/kernel_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mizzen::cuda {

// How rows of an expression are cut: into chunks, each summed by a block of its own; and where the
// elements of a row lie apart (`across`), a block has packs of neighbouring rows.
struct long_rows {
  dims shape;
  std::vector<bool> reduced;
  std::int64_t rows = 1, elements = 1;  // elements: of a row
  std::int64_t chunks = 1;
  bool pays = false;  // or a warp or block for each row does as well
  bool across = false;
  std::vector<loop> kept, inner;
  std::int64_t width = 1, lanes = 1, groups = 1;  // of packs; packs side by side in a block; blocks
  expression_ptr first;                           // the first element of each row

  // One number for each row, in the order of the kept dimensions, of the whole shape.
  view one_each(std::size_t buffer, element_type type, std::int64_t offset = 0) const;
};
long_rows plan_long_rows(const dims& shape, const std::vector<bool>& reduced,
                         const expression_ptr& e, const std::vector<buffer>& buffers);

// sum, mean, max, min, l1 or sum_square of each chunk.
struct chunk_operation {
  row_operation::kind what = row_operation::kind::sum;
  // Instead the sum of what the elements have more than the first of their row, and the sum of its
  // squares.
  bool moments = false;
};
bool has_chunks(row_operation::kind what) noexcept;

// out: for one chunk each row's result, finished (see one_each); for several, floats [chunks, rows]
// that are not; [2, chunks, rows] for moments.
kernel_step chunk_kernel(const long_rows& r, const chunk_operation& operation,
                         const expression_ptr& e, const view& out,
                         const std::vector<buffer>& buffers);

// From the chunks of moments each row's mean and 1 / sqrt(variance + epsilon): floats [2, rows].
kernel_step moments_kernel(const long_rows& r, float epsilon, std::size_t chunks, const view& out,
                           const std::vector<buffer>& buffers);

}  // namespace mizzen::cuda
