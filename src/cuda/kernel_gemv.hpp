// Products of few rows or of one column, as one kernel of our own with all that follows them.
#pragma once

#include "cuda/kernel_writer.hpp"

#include <vector>

namespace mizzen::cuda {

// Whether it is such a product, which is better not left to a library.
bool is_gemv(const gemm_step& g) noexcept;

// The product as an expression. One product at most is in an expression that is computed.
expression_ptr gemv_product(gemm_step g);

// As map_kernel, of an expression with a product.
kernel_step gemv_kernel(const expression_ptr& e, const view& out,
                        const std::vector<buffer>& buffers);

}  // namespace mizzen::cuda
