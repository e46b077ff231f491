// Operators whose speed does not matter, and types that the fast kernels lack.
//
// A plain operator is written once, over doubles: its kernel turns the inputs of any numeric type
// into doubles, and its outputs back. It stands in the registry behind the fast kernel of the same
// operator and takes the nodes that one refuses (op_registry::add_plain).
#pragma once

#include "inference/cpu/op_registry.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mizzen::inference::detail {

using integer = std::int64_t;

inline double real(integer v) noexcept { return static_cast<double>(v); }

// One input or output of a plain operator.
struct plain_tensor {
  double* data = nullptr;  // null when it is left out
  std::span<const integer> shape;
  integer count = 0;
  element_type type = element_type::undefined;

  bool present() const noexcept { return data != nullptr; }
  integer rank() const noexcept { return static_cast<integer>(shape.size()); }
  // Dimension i; negative ones count from the last.
  integer dim(integer i) const noexcept {
    return shape[static_cast<std::size_t>(i < 0 ? i + rank() : i)];
  }
  // Product of the dimensions [from, to).
  integer extent(integer from, integer to) const noexcept {
    integer product = 1;
    for (integer i = from; i < to; ++i) product *= dim(i);
    return product;
  }
  // An element that counts or points: checked to be a whole number in [low, high].
  // Throws error(out_of_range) naming `what`.
  integer number(integer i, integer low, integer high, std::string_view what) const;
};

// One run of a plain operator. Outputs hold anything before.
struct plain_run {
  static constexpr std::size_t most_inputs = 16;
  static constexpr std::size_t most_outputs = 8;

  const plain_tensor& in(std::size_t i) const noexcept { return inputs[i]; }
  const plain_tensor& out(std::size_t i) const noexcept { return outputs[i]; }

  std::array<plain_tensor, most_inputs> inputs;
  std::array<plain_tensor, most_outputs> outputs;
  double* workspace = nullptr;
  thread_pool& pool;
  const cancellation* cancel = nullptr;
};

// Asks whether the run is cancelled, about once for each million steps that are counted: for the
// loops of plain operators, of which a small model can demand hours. One per thread.
class patience {
 public:
  explicit patience(const plain_run& r) noexcept : cancel_(r.cancel) {}

  // Throws cancelled or deadline_exceeded.
  void spend(integer steps) {
    left_ -= steps;
    if (left_ > 0) return;
    left_ = steps_between;
    if (cancel_ != nullptr) cancel_->check("run of the model");
  }

 private:
  static constexpr integer steps_between = integer{1} << 20;

  const cancellation* cancel_;
  integer left_ = steps_between;
};

class plain_op {
 public:
  plain_op() = default;
  plain_op(const plain_op&) = delete;
  plain_op& operator=(const plain_op&) = delete;
  virtual ~plain_op() = default;

  // Doubles that run() needs beside inputs and outputs.
  virtual std::size_t workspace(const shape_context&) const { return 0; }
  virtual void run(const plain_run& r) const = 0;
};

// The kernel of a plain operator; post-ops of a float32 output included.
std::unique_ptr<kernel> make_plain_kernel(const compile_context& c, std::unique_ptr<plain_op> op);

template <class Op>
std::unique_ptr<kernel> compile_plain(const compile_context& c) {
  return make_plain_kernel(c, std::make_unique<Op>(c));
}

// The kernel that `definition` makes for float32, with half-width floats turned into floats before
// and back behind it; null if the node has no half-width floats.
std::unique_ptr<kernel> widen_halves(const compile_context& c, const op_definition& definition);

// Steps an index through all of a shape, the last dimension fastest; false after the last.
inline bool next_index(std::span<const integer> shape, integer* at) noexcept {
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (++at[d] < shape[d]) return true;
    at[d] = 0;
  }
  return false;
}

// Where a tensor that broadcasts to the whole has the element of the whole's index `at`.
inline integer broadcast_offset(const plain_tensor& t, const plain_tensor& whole,
                                const std::array<integer, max_rank>& at) noexcept {
  const std::size_t skip = whole.shape.size() - t.shape.size();
  integer flat = 0;
  for (std::size_t d = 0; d < t.shape.size(); ++d) {
    flat = flat * t.shape[d] + (t.shape[d] == 1 ? 0 : at[d + skip]);
  }
  return flat;
}

// [-rank, rank) counted from the front; error(invalid_argument) outside.
integer plain_axis(integer axis, integer rank);

// Registration, a function per file.
void register_plain_attention(op_registry& registry);
void register_plain_image(op_registry& registry);
void register_plain_linear(op_registry& registry);
void register_plain_loss(op_registry& registry);
void register_plain_norm(op_registry& registry);
void register_plain_pointwise(op_registry& registry);
void register_plain_quantised(op_registry& registry);
void register_plain_random(op_registry& registry);
void register_plain_recurrent(op_registry& registry);
void register_plain_signal(op_registry& registry);
void register_plain_window(op_registry& registry);
void register_bits(op_registry& registry);
void register_scatter(op_registry& registry);
void register_tfidf(op_registry& registry);

}  // namespace mizzen::inference::detail
