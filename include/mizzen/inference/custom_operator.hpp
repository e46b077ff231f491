// Operators that an application brings to the models that it loads.
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/inference/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mizzen::inference {

namespace detail {
struct custom_access;
struct custom_call;
struct custom_inference;
struct node;
}  // namespace detail

// The node of a model that calls a custom operator. Valid during the call that it is given to.
//
// A getter of an attribute gives the fallback where the node has none of that name, and throws
// error(invalid_argument) naming it where it has another type.
class custom_node {
 public:
  std::string_view name() const noexcept;  // often empty
  std::int64_t version() const noexcept;   // of the operator's domain, as the model imports it
  std::size_t inputs() const noexcept;     // trailing ones that are left out do not count
  std::size_t outputs() const noexcept;    // likewise
  bool has_input(std::size_t i) const noexcept;     // false: optional, and left out
  bool wants_output(std::size_t i) const noexcept;  // false: nobody uses it

  bool has_attribute(std::string_view name) const noexcept;
  std::int64_t get_int(std::string_view name, std::int64_t fallback) const;
  float get_float(std::string_view name, float fallback) const;
  std::string get_string(std::string_view name, std::string_view fallback) const;
  std::vector<std::int64_t> get_ints(std::string_view name,
                                     std::vector<std::int64_t> fallback = {}) const;
  std::vector<float> get_floats(std::string_view name) const;         // empty when absent
  std::vector<std::string> get_strings(std::string_view name) const;  // empty when absent
  const tensor* get_tensor(std::string_view name) const;              // null when absent

  // Throws error(invalid_argument) naming the node: for what the operator does not take.
  [[noreturn]] void fail(std::string_view message) const;

 protected:
  friend struct detail::custom_access;
  explicit custom_node(const detail::node& n) noexcept : node_(&n) {}
  const detail::node* node_;
};

// What a shape function works on. It is called while the model is loaded, when the dimensions that
// the inputs' shapes leave open are unknown (-1), and again for each new set of input shapes, when
// all are numbers. An output's dimension that follows from an unknown one must be -1 too.
class custom_shapes : public custom_node {
 public:
  // undefined for an input that is left out.
  element_type input_type(std::size_t i) const noexcept;
  // nullopt while not even the rank is known, and for an input that is left out.
  const std::optional<shape_type>& input_shape(std::size_t i) const;
  // The value of an input, for shapes that hang on one; null while it is not known: then leave the
  // shape unknown, and the engine sees to it that it is called again when there is one. Valid
  // during the call.
  const tensor* input_value(std::size_t i) const;

  // Every output that the node wants must be set. Throws error(out_of_range) for an output that
  // the operator lacks.
  void set_output(std::size_t i, element_type type, std::optional<shape_type> shape = std::nullopt);

 private:
  friend struct detail::custom_access;
  custom_shapes(const detail::node& n, detail::custom_inference& state) noexcept
      : custom_node(n), state_(&state) {}
  detail::custom_inference* state_;
};

// A dense row-major array in one call of a compute function: the engine's memory, or the caller's.
// Aligned for its type, not more. Not present where an optional input is left out or nobody wants
// the output.
template <bool writable>
class basic_operand {
  template <class T>
  using element = std::conditional_t<writable, T, const T>;

 public:
  bool present() const noexcept { return type_ != element_type::undefined; }
  element_type type() const noexcept { return type_; }
  std::span<const std::int64_t> shape() const noexcept { return shape_; }
  std::size_t size() const noexcept { return count_; }  // elements: the product of the shape

  // Throws error(invalid_argument) if T is not its type.
  template <tensor_element T>
  std::span<element<T>> data() const {
    if (type_ != element_type_of<T>()) wrong_type(element_type_of<T>());
    return {static_cast<element<T>*>(data_), count_};
  }
  // Of any type but string, which throws error(invalid_argument).
  std::span<element<std::byte>> bytes() const {
    return {static_cast<element<std::byte>*>(data_), byte_size(type_, count_)};
  }

 private:
  friend struct detail::custom_access;
  [[noreturn]] void wrong_type(element_type wanted) const;

  element_type type_ = element_type::undefined;
  std::span<const std::int64_t> shape_;
  std::size_t count_ = 0;
  element<void>* data_ = nullptr;
};
extern template class basic_operand<false>;
extern template class basic_operand<true>;
using custom_input = basic_operand<false>;
using custom_output = basic_operand<true>;

// One call of a compute function.
class custom_run : public custom_node {
 public:
  custom_input input(std::size_t i) const;
  // Output i as the shape function told it, its content unspecified.
  custom_output output(std::size_t i) const;
  // Of an operator with data_dependent: makes the output, once; zeros, empty strings. Throws
  // error(invalid_argument) for what contradicts the shape function, error(resource_exhausted)
  // beyond session_options::memory_limit.
  custom_output make_output(std::size_t i, element_type type, shape_type shape) const;

  // Calls fn(begin, end) on the session's threads until [0, count) is covered, in pieces of at
  // least grain. What fn throws is thrown again here.
  template <class Fn>
  void parallel_for(std::size_t count, std::size_t grain, Fn&& fn) const {
    using function = std::remove_reference_t<Fn>;
    share(count, grain, const_cast<void*>(static_cast<const volatile void*>(std::addressof(fn))),
          [](void* context, std::size_t begin, std::size_t end) {
            (*static_cast<function*>(context))(begin, end);
          });
  }

  // Of the run; ask it now and then in what takes long.
  const cancellation& cancel() const noexcept;

 private:
  friend struct detail::custom_access;
  custom_run(const detail::node& n, const detail::custom_call& call) noexcept
      : custom_node(n), call_(&call) {}
  void share(std::size_t count, std::size_t grain, void* context,
             void (*fn)(void*, std::size_t, std::size_t)) const;
  const detail::custom_call* call_;
};

// An operator: what it is called in models, the shapes it makes, and how it computes them. Given to
// a session in session_options::operators; a model's own function of that name gives way to it.
//
//   custom_operator clamp{.domain = "com.example", .name = "Clamp", .compute = [](custom_run& run)
//   {
//     const float most = run.get_float("most", 1.0F);
//     std::ranges::transform(run.input(0).data<float>(), run.output(0).data<float>().begin(),
//                            [most](float x) { return std::min(x, most); });
//   }};
//   auto session = session::load("model.onnx", {.operators = {clamp}});
//
// The functions are called from several threads at once where a session runs on several. An
// exception of theirs ends the load or the run as an error that names the node: an error with its
// code, any other exception with errc::unknown. A node whose outputs nobody uses is not called; one
// with constant inputs is not computed ahead.
struct custom_operator {
  std::string domain;  // as in the model; "mizzen" and its subdomains are reserved
  std::string name;
  std::int64_t first_version = 1;  // of the domain's operator set
  std::int64_t last_version = std::numeric_limits<std::int64_t>::max();

  // Number of inputs and outputs that a node may have; those before least_inputs must be there.
  std::size_t least_inputs = 1;
  std::size_t most_inputs = 64;
  std::size_t most_outputs = 1;

  // Sets types and shapes of the outputs. Null: each output is like input 0.
  std::function<void(custom_shapes&)> shapes = nullptr;

  // Computes the outputs. Of compute and prepare, one must be there.
  std::function<void(custom_run&)> compute = nullptr;

  // Instead of compute: called once for each node when the model is loaded, gives the function that
  // computes that node. A place to read attributes and make tables of them.
  std::function<std::function<void(custom_run&)>(const custom_node&)> prepare = nullptr;

  // Only computing tells shapes that the shape function leaves open: compute calls make_output()
  // for every output that the node wants. The model then runs in stages (session::run()).
  bool data_dependent = false;
};

}  // namespace mizzen::inference
