// What a part becomes: buffers and the steps that fill them. Data only; the executor gives it
// memory, and a gpu runs it.
#pragma once

#include "cuda/part.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace mizzen::cuda {

enum class buffer_kind : std::uint8_t {
  input,      // the part's input `index`, dense
  output,     // the part's output `index`, dense
  constant,   // `data`, uploaded once per device
  temporary,  // in the arena
};

struct buffer {
  buffer_kind kind = buffer_kind::temporary;
  element_type type = element_type::undefined;
  std::int64_t count = 0;
  std::size_t index = 0;
  const void* data = nullptr;

  std::size_t bytes() const noexcept { return static_cast<std::size_t>(count) * size_of(type); }
};

// A tensor that lies in a buffer in any way that strides can say. Transpose, Slice, Split, Expand
// and most of Reshape are views, not steps.
struct view {
  std::size_t buffer = 0;
  element_type type = element_type::undefined;
  std::int64_t offset = 0;  // in elements
  dims shape, strides;      // of the same length; a stride may be 0 or negative

  friend bool operator==(const view&, const view&) = default;
};

// Strides of a dense tensor whose dimensions lie in this order, outermost first; empty: as they
// are.
dims dense_strides(const dims& shape, const std::vector<std::size_t>& order = {});

// Dimensions of a view from outermost to innermost by their strides; row-major where it says
// nothing (broadcast, one element).
std::vector<std::size_t> physical_order(const view& v);

bool is_dense(const view& v);  // row-major without gaps

// Whether it begins where cuDNN wants a tensor to: at 16 bytes of its buffer. Of less it has hardly
// an engine.
bool is_aligned(const view& v);

// A kernel of our own: its text, to be compiled for the GPU, and its arguments.
struct kernel_step {
  std::string source;                // defines one kernel named NAME, see kernel_text.hpp
  std::vector<std::size_t> buffers;  // pointers in order; the last is written
  std::uint32_t blocks = 0, threads = 0;
  // Whether threads of a block meet: at barriers, or passing values within a warp.
  bool meets = false;
};

enum class activation : std::uint8_t { none, relu, gelu_tanh };

// out[b] = activation(a[b] · b[b] + bias), each of [batch, rows, columns] by strides. Factors of
// int8 give int32, those of float8 give float32; both without bias and activation, with the columns
// of b contiguous, the rows of a as well.
struct gemm_step {
  struct matrix {
    std::size_t buffer = 0;
    std::int64_t offset = 0;
    std::int64_t batch_stride = 0;
    std::int64_t lead = 0;    // distance of rows, or of columns if transposed
    bool transposed = false;  // columns are contiguous
  };
  element_type type = element_type::undefined;
  element_type a_type = element_type::undefined, b_type = element_type::undefined;  // as type
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  matrix a, b, out;
  bool has_bias = false;  // one for each column
  std::size_t bias_buffer = 0;
  std::int64_t bias_offset = 0;
  activation act = activation::none;
  bool tf32 = false;

  element_type type_of_a() const noexcept {
    return a_type != element_type::undefined ? a_type : type;
  }
  element_type type_of_b() const noexcept {
    return b_type != element_type::undefined ? b_type : type;
  }
};

// out = activation(conv(x, w) + bias + residual), channels last. Source: ONNX Conv.
// transposed: ONNX ConvTranspose, without anything that follows; w is [in channels, out channels,
// kernel…], and pads, strides and dilations are those of the convolution from out to x.
struct conv_step {
  bool transposed = false;
  element_type type = element_type::undefined;
  view x, w, out;  // w: [out channels, in channels / groups, kernel…], channels last as well
  dims pads_begin, pads_end, strides, dilations;
  std::int64_t groups = 1;
  bool has_bias = false, has_residual = false;
  view bias;      // [out channels], of the type
  view residual;  // as out
  activation act = activation::none;
  bool tf32 = false;
};

// out = softmax(scale q·kᵀ + mask) · v over the keys, in one kernel that keeps no scores.
struct attention_step {
  element_type type = element_type::undefined;  // float16 or bfloat16
  // [batch, heads, rows, depth], the depth contiguous. k and v may have fewer heads than q: each is
  // of as many heads of q that follow each other.
  view q, k, v, out;
  bool has_mask = false;
  view mask;            // as the scores [batch, heads, queries, keys], broadcast by strides of 0
  bool causal = false;  // query i sees keys up to i
  float scale = 1;
};

struct step {
  std::variant<kernel_step, gemm_step, conv_step, attention_step> what;
  std::string node;  // whose work it does, for messages

  std::vector<std::size_t> reads() const;
  std::size_t writes() const;
};

struct schedule {
  std::vector<buffer> buffers;
  std::vector<step> setup;  // from constants alone: run once; what they write stays
  std::vector<step> steps;
  // Inputs that something reads; the others need not be uploaded.
  std::vector<bool> reads_input;
};

}  // namespace mizzen::cuda
