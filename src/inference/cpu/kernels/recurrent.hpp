// RNN, GRU and LSTM over packed weights: the inputs of all steps are projected by one matrix
// product; a step then multiplies the state and applies the gates.
#pragma once

#include "inference/cpu/kernels/aligned_buffer.hpp"
#include "inference/cpu/kernels/gemm.hpp"
#include "inference/cpu/kernels/kernel_table.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mizzen::inference::detail::cpu {

enum class recurrent_cell { rnn, gru, lstm };

// GRU's and LSTM's functions are the usual ones: sigmoid, tanh (and tanh of the cell).
struct recurrent_spec {
  recurrent_cell cell = recurrent_cell::lstm;
  std::size_t directions = 1;
  bool reverse = false;              // of a single direction
  bool batch_first = false;          // ONNX layout = 1
  std::size_t input = 0;             // width of X
  std::size_t hidden = 0;            // at least 1
  float clip = 0;                    // bounds what goes into every function; 0: none
  bool coupled = false;              // LSTM: forget = 1 - input
  bool linear_before_reset = false;  // GRU
  unary_op functions[2] = {unary_op::tanh, unary_op::tanh};  // RNN, by direction

  std::size_t gates() const noexcept {
    return cell == recurrent_cell::lstm ? 4 : cell == recurrent_cell::gru ? 3 : 1;
  }
  std::size_t rows() const noexcept { return gates() * hidden; }
};

// The operands of one run, in the layouts of ONNX; null where there are none.
struct recurrent_call {
  std::size_t steps = 0;
  std::size_t batch = 0;
  const float* x = nullptr;
  const std::int32_t* lengths = nullptr;  // of each sequence, in [0, steps]
  const float* initial_h = nullptr;
  const float* initial_c = nullptr;
  float* y = nullptr;
  float* last_h = nullptr;
  float* last_c = nullptr;
};

class recurrent_network {
 public:
  // w, r, bias and peepholes as ONNX has them; the last two may be null. Nothing is kept of them.
  recurrent_network(const kernel_table& kernels, const recurrent_spec& spec, const float* w,
                    const float* r, const float* bias, const float* peepholes);

  bool batch_first() const noexcept { return spec_.batch_first; }

  // Floats that run() needs. Throws error(out_of_range) on overflow.
  std::size_t scratch(std::size_t steps, std::size_t batch, unsigned threads) const;

  // Threads take part where there are several directions or sequences. Allocates nothing.
  void run(thread_pool& pool, const recurrent_call& call, float* scratch) const;

 private:
  // A matrix of `columns` columns and `hidden` rows in panels of adjacent columns.
  struct panels {
    std::size_t columns = 0;
    aligned_floats data;
  };
  struct direction {
    packed_columns input;
    panels recurrent;  // of GRU the first two gates
    panels candidate;  // of GRU the third
    aligned_floats bias;
    aligned_floats candidate_bias;  // of GRU with linear_before_reset
    aligned_floats peepholes;
  };
  struct buffers {
    float* gates;   // [steps * batch][rows]
    float* h;       // [batch][hidden]
    float* cell;    // LSTM; [batch][hidden]
    float* before;  // GRU; [batch][hidden]
  };

  panels pack(const float* r, std::size_t columns) const;
  buffers buffers_of(std::size_t d, const recurrent_call& call, float* scratch) const;
  void project(thread_pool& pool, std::size_t d, const recurrent_call& call, float* to,
               float* scratch) const;
  // Sequences [first, last) from their first step to their last.
  void walk(std::size_t d, const recurrent_call& call, const buffers& b, std::size_t first,
            std::size_t last) const;
  void multiply(const panels& by, const float* a, std::size_t rows, float* c, std::size_t c_row,
                const float* bias) const;
  void step(std::size_t d, const buffers& b, float* gates, std::size_t stride, std::size_t first,
            std::size_t rows) const;

  const kernel_table& kernels_;
  recurrent_spec spec_;
  std::vector<direction> directions_;
};

}  // namespace mizzen::inference::detail::cpu
