// Kernels as text: expressions over tensors, each computed for every element of a result. They are
// compiled for the GPU at hand when a part is, with all shapes and strides as constants.
#pragma once

#include "cuda/schedule.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::cuda {

// One number for each element of a shape: a float, or an integer of 64 bits. Immutable.
struct expression;
using expression_ptr = std::shared_ptr<const expression>;
struct expression {
  enum class kind : std::uint8_t { load, call, operation, product };
  kind what = kind::load;
  bool integer = false;

  view from;  // load: of the whole shape (broadcast by strides of 0)

  // call: the body of a function that returns the number at int coordinates c0, c1, …; it reads its
  // arguments as a0, a1, … by read(a0, index), or whole(a0, index) for integers.
  std::string body;
  std::vector<std::size_t> arguments;  // buffers

  // operation: text with the operands as $0, $1, …
  std::string text;
  std::vector<expression_ptr> operands;

  // product: element i of the product's result, in order of rows, where i is that of the element.
  std::shared_ptr<const gemm_step> of;

  std::size_t loads() const;  // of it and all its operands
  bool calls() const;         // whether any function is in it
  const expression* first_product() const;
};

// An integer where the view's type is one.
expression_ptr load(view from);
expression_ptr call(std::string body, std::vector<std::size_t> arguments, bool integer = false);
expression_ptr operation(std::string text, std::vector<expression_ptr> operands,
                         bool integer = false);

// The elements as integers, of bytes as well, which are floats elsewhere.
expression_ptr load_integer(view from);

// A number as text that is exactly that number.
std::string float_text(float v);
std::string integer_text(std::int64_t v);

// What all kernels begin with: types, conversions, reductions.
std::string_view prelude();

// Writes the expression to every element of the view.
kernel_step map_kernel(const expression_ptr& e, const view& out,
                       const std::vector<buffer>& buffers);

// One number from each row, or each element anew: rows are the elements that share the coordinates
// of all dimensions but the reduced ones.
struct row_operation {
  enum class kind : std::uint8_t {
    softmax,
    log_softmax,
    layer_norm,
    rms_norm,
    sum,
    mean,
    max,
    min,
    l1,
    l2,
    sum_square,
    log_sum,
    log_sum_exp,
    product,
    arg_max,  // of the first of several, or the last
    arg_min,
  };
  kind what = kind::softmax;
  std::vector<bool> reduced;  // by dimension
  float epsilon = 0;          // of a norm
  bool last = false;          // arg_max, arg_min
  std::int64_t of = 0;        // mean: of how many; 0: of the row's elements
  // Of a norm: what each element is multiplied by and what is added; null: nothing.
  expression_ptr scale, shift;
  bool keeps_shape() const noexcept { return what <= kind::rms_norm; }
};

// The shape is the expression's. out has it too, with strides of 0 for the reduced dimensions of an
// operation that does not keep the shape.
kernel_step row_kernel(const row_operation& operation, const dims& shape, const expression_ptr& e,
                       const view& out, const std::vector<buffer>& buffers);

}  // namespace mizzen::cuda
