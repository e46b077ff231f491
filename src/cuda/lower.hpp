// From a part to its schedule: which buffers, views and steps its nodes become.
#pragma once

#include "cuda/kernel_text.hpp"
#include "cuda/schedule.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mizzen::cuda {

enum class arithmetic : std::uint8_t { float32 = 0, tf32 = 1, float16 = 2 };

// What the GPU at hand can do.
struct target {
  int capability = 75;  // 90: 9.0
  // Whether it computes such attention in one step; none: never.
  std::function<bool(const attention_step&)> takes = {};
  bool has_float8() const noexcept { return capability >= 89; }
};

// An input of integers whose elements must lie in [low, high]: looked at before a run.
struct index_check {
  std::size_t input = 0;
  std::int64_t low = 0, high = 0;
  std::string node;
};

struct lowered {
  schedule plan;
  std::vector<index_check> checks;
};

// Throws error(unimplemented) naming the node.
lowered lower(const part& p, arithmetic math, const target& on);

// Whether lower() takes the node in any graph with these types, whatever dimensions are not known.
bool can_lower(const part& p, const node& n);

// The state of a lowering under way, for the operators.
//
// A value is a view once something has computed it. Until then it may be an expression, or a
// product or convolution whose bias and activation may still come: those are only kept back where
// exactly one node uses the value.
class lowering {
 public:
  lowering(const part& p, arithmetic math, const target& on);
  lowered run();

  const part& from() const noexcept { return p_; }
  const dims& shape(value_id v) const { return *p_.values[v].shape; }
  element_type type(value_id v) const { return p_.values[v].type; }
  // What values of the part's type are kept as.
  element_type storage(element_type t) const {
    return t == element_type::float32 && math_ == arithmetic::float16 ? element_type::float16 : t;
  }
  bool tf32() const noexcept { return math_ == arithmetic::tf32; }
  const target& on() const noexcept { return on_; }
  // How many nodes and outputs of the part use a value.
  std::size_t uses(value_id v) const { return uses_[v]; }
  // The node that makes it; null: none in the part.
  const node* producer(value_id v) const { return producers_[v]; }
  const std::vector<buffer>& buffers() const noexcept { return out_.plan.buffers; }

  // The value in memory, in whatever layout.
  view in_memory(value_id v);
  // Of a type, and for which fits() is true; else a copy in this order of dimensions.
  view in_memory_as(value_id v, element_type type, const std::function<bool(const view&)>& fits,
                    const std::vector<std::size_t>& order = {});
  // A value of bytes: the elements of the view and this number. What only operators on bytes use
  // (see is_of_bytes()) lies moved by -128 if it is uint8: products take int8 alone. The order is
  // for a value that is not in memory yet.
  struct bytes {
    view where;
    int moved = 0;
  };
  bytes in_bytes(value_id v, const std::vector<std::size_t>& order = {});
  bool is_of_bytes(value_id v) const { return of_bytes_[v]; }

  // The value as part of an expression of the shape, broadcast as in ONNX: its own expression where
  // it has one for just this use, else what loads it.
  expression_ptr read(value_id v, const dims& shape);

  void set(value_id v, view where) { forms_[v] = std::move(where); }
  // Kept back, or computed at once where several want it.
  void set(value_id v, expression_ptr e);
  // Computed by each of its users anew: for what costs no more than to load it.
  void set_each_time(value_id v, expression_ptr e) {
    forms_[v] = std::move(e);
    each_time_[v] = true;
  }
  // One that is computed each time may be rearranged before it is: the same elements elsewhere are
  // the expression over views that lie so. False, and nothing done, for others and where a view
  // does not allow it.
  bool rearrange(value_id from, value_id to,
                 const std::function<std::optional<view>(const view&)>& as);
  bool is_pending(value_id v) const { return std::holds_alternative<expression_ptr>(forms_[v]); }
  void set(value_id v, gemm_step g) { forms_[v] = std::move(g); }
  void set(value_id v, conv_step c) { forms_[v] = std::move(c); }

  // The step that the value waits for and to which its one user may add; null: none.
  gemm_step* pending_gemm(value_id v);
  conv_step* pending_conv(value_id v);
  // Makes the step of one value that of its user.
  void hand_on(value_id from, value_id to) { forms_[to] = std::move(forms_[from]); }

  // A new dense temporary.
  view allocate(const dims& shape, element_type type, const std::vector<std::size_t>& order = {});
  void add(std::variant<kernel_step, gemm_step, conv_step, attention_step> s);
  void copy(const view& from, const view& to);
  void check(index_check c) { out_.checks.push_back(std::move(c)); }
  // The number of a part's input; nullopt for other values.
  std::optional<std::size_t> input_number(value_id v) const;

  [[noreturn]] void unsupported(std::string_view what) const;

 private:
  using form = std::variant<std::monostate, view, expression_ptr, gemm_step, conv_step>;

  view compute(value_id v, const expression_ptr& e, const view& to);
  // All products but the first are computed, and loaded from there.
  expression_ptr with_one_product(const expression_ptr& e, const dims& shape,
                                  const expression*& kept);
  void finish(value_id v, std::size_t output);
  void split_setup();
  void find_inputs_read();

  void find_bytes();

  const part& p_;
  arithmetic math_;
  target on_;
  lowered out_;
  std::vector<form> forms_;
  std::vector<std::size_t> uses_;                 // by value; outputs count as well
  std::vector<const node*> producers_;            // by value
  std::vector<bool> of_bytes_, each_time_;        // by value
  std::map<value_id, bytes> bytes_;               // of those, where they are in memory
  std::map<const void*, std::size_t> constants_;  // buffers
  const node* current_ = nullptr;
};

// One operator.
struct lowering_rule {
  bool (*supports)(const part&, const node&);
  void (*lower)(lowering&, const node&);
};
using rule_table = std::map<std::string_view, lowering_rule>;
void add_attention_rules(rule_table& table);
void add_elementwise_rules(rule_table& table);
void add_integer_rules(rule_table& table);
void add_data_rules(rule_table& table);
void add_index_rules(rule_table& table);
void add_product_rules(rule_table& table);
void add_quantised_rules(rule_table& table);
void add_conv_transpose_rules(rule_table& table);
void add_einsum_rules(rule_table& table);
void add_row_rules(rule_table& table);
void add_norm_rules(rule_table& table);
void add_recurrent_rules(rule_table& table);
void add_window_rules(rule_table& table);

// For the operators.

// The last two dimensions of a view as a matrix of the type, copied where it lies otherwise than a
// product takes it; columns: what is copied lies column by column.
gemm_step::matrix as_matrix(lowering& l, view v, element_type type, bool columns = false);

// Whether its first input is bytes that may lie as lowering::in_bytes() says.
bool takes_bytes(const node& n) noexcept;

bool is_float(element_type t) noexcept;
// A step for out = a · b, of [batch, rows, columns] each; out is dense and of the product's type.
void multiply(lowering& l, const view& a, const view& b, const view& out);
// Whether an element-wise operator computes integers here; then this does it.
bool computes_integers(const part& p, const node& n);
void compute_integers(lowering& l, const node& n);
// Whether the elements of the first input and of all outputs have a type that kernels can move.
bool moves_elements(const part& p, const node& n);
// Whether an input or output is there and of a float type.
bool float_in(const part& p, const node& n, std::size_t i);
bool float_out(const part& p, const node& n);
// a · b for each of the batches, which are the same in both: a new dense tensor of the type.
view multiply(lowering& l, const view& a, const view& b, element_type type);
// Strides that broadcast a view to a shape, as in ONNX.
view broadcast(const view& v, const dims& shape);
// The same elements in another shape without a copy; nullopt where the strides do not allow it.
std::optional<view> reshaped(const view& v, const dims& shape);
// The element of a view at coordinates, as text: "offset + c0 * stride + …".
std::string index_text(const view& v, const std::vector<std::string>& at);
// The axis in [0, rank).
std::size_t axis_of(std::int64_t axis, std::size_t rank);
// Dimensions of pictures in the order in which channels lie last: N, spatial…, C.
std::vector<std::size_t> channels_last_order(std::size_t rank);
bool is_channels_last(const view& v);
// Channels last, and aligned as cuDNN wants it.
bool is_picture(const view& v);

}  // namespace mizzen::cuda
