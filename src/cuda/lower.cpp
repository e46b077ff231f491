#include "cuda/lower.hpp"

#include "cuda/lower_attention.hpp"
#include "cuda/lower_shared_products.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <utility>

namespace mizzen::cuda {
namespace {

// More make a kernel slow to compile and its registers short.
constexpr std::size_t most_loads = 12;

const rule_table& rules() {
  static const rule_table table = [] {
    rule_table t;
    add_attention_rules(t);
    add_elementwise_rules(t);
    add_integer_rules(t);
    add_data_rules(t);
    add_index_rules(t);
    add_product_rules(t);
    add_quantised_rules(t);
    add_conv_transpose_rules(t);
    add_einsum_rules(t);
    add_row_rules(t);
    add_norm_rules(t);
    add_recurrent_rules(t);
    add_window_rules(t);
    return t;
  }();
  return table;
}

const lowering_rule* rule_of(const node& n) {
  if (!n.domain.empty()) return nullptr;
  const auto found = rules().find(n.op_type);
  return found == rules().end() ? nullptr : &found->second;
}

// The layout of a result: that of the first tensor of the same shape that it is made from.
const view* leading_view(const expression& e, const dims& shape) {
  if (e.what == expression::kind::load) {
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] > 1 && e.from.strides[d] <= 0) return nullptr;
    }
    return &e.from;
  }
  for (const auto& operand : e.operands) {
    if (const view* v = leading_view(*operand, shape)) return v;
  }
  return nullptr;
}

}  // namespace

bool is_float(element_type t) noexcept {
  return t == element_type::float32 || t == element_type::float16 || t == element_type::bfloat16;
}

bool float_in(const part& p, const node& n, std::size_t i) {
  return n.has_input(i) && is_float(p.values[n.inputs[i]].type);
}

bool float_out(const part& p, const node& n) {
  return n.outputs.size() == 1 && n.outputs[0] != no_value && is_float(p.values[n.outputs[0]].type);
}

view broadcast(const view& v, const dims& shape) {
  view out = v;
  out.shape = shape;
  out.strides.assign(shape.size(), 0);
  const std::size_t extra = shape.size() - v.shape.size();
  for (std::size_t d = 0; d < v.shape.size(); ++d) {
    if (v.shape[d] != 1) out.strides[d + extra] = v.strides[d];
  }
  return out;
}

std::optional<view> reshaped(const view& v, const dims& shape) {
  view out = v;
  out.shape = shape;
  out.strides.assign(shape.size(), 0);
  // Runs of old and new dimensions with the same product stand for each other; within such a run
  // the old ones must lie one in the other.
  std::size_t o = 0;
  std::size_t n = 0;
  while (o < v.shape.size() || n < shape.size()) {
    std::int64_t old_product = 1;
    std::int64_t new_product = 1;
    const std::size_t old_first = o;
    const std::size_t new_first = n;
    if (o < v.shape.size()) old_product = v.shape[o++];
    if (n < shape.size()) new_product = shape[n++];
    while (old_product != new_product) {
      if (old_product < new_product) {
        if (o == v.shape.size()) return std::nullopt;
        old_product *= v.shape[o++];
      } else {
        if (n == shape.size()) return std::nullopt;
        new_product *= shape[n++];
      }
    }
    std::int64_t inner = 1;                // stride of the innermost that moves
    std::optional<std::int64_t> expected;  // 0 outside a dimension that is repeated
    for (std::size_t i = o; i-- > old_first;) {
      if (v.shape[i] == 1) continue;
      if (!expected) {
        inner = v.strides[i];
      } else if (v.strides[i] != *expected) {
        return std::nullopt;
      }
      expected = v.strides[i] * v.shape[i];
    }
    std::int64_t stride = inner;
    for (std::size_t i = n; i-- > new_first;) {
      out.strides[i] = stride;
      stride *= shape[i];
    }
  }
  return out;
}

std::size_t axis_of(std::int64_t axis, std::size_t rank) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

std::vector<std::size_t> channels_last_order(std::size_t rank) {
  std::vector<std::size_t> order = {0};
  for (std::size_t d = 2; d < rank; ++d) order.push_back(d);
  order.push_back(1);
  return order;
}

bool is_channels_last(const view& v) {
  std::int64_t next = 1;
  const auto order = channels_last_order(v.shape.size());
  for (std::size_t i = order.size(); i-- > 0;) {
    if (v.shape[order[i]] == 1) continue;
    if (v.strides[order[i]] != next) return false;
    next *= v.shape[order[i]];
  }
  return true;
}

bool is_picture(const view& v) { return is_channels_last(v) && is_aligned(v); }

namespace {

using rearrangement = std::function<std::optional<view>(const view&)>;

// The expression over rearranged views; null where one does not allow it.
expression_ptr rearranged(const expression& e, const rearrangement& as) {
  if (e.what == expression::kind::load) {
    auto to = as(e.from);
    if (!to) return nullptr;
    auto made = std::make_shared<expression>(e);
    made->from = std::move(*to);
    return made;
  }
  if (e.what != expression::kind::operation) return nullptr;
  auto made = std::make_shared<expression>(e);
  for (expression_ptr& operand : made->operands) {
    operand = rearranged(*operand, as);
    if (!operand) return nullptr;
  }
  return made;
}

}  // namespace

bool lowering::rearrange(value_id from, value_id to, const rearrangement& as) {
  const auto* e = std::get_if<expression_ptr>(&forms_[from]);
  if (e == nullptr || !each_time_[from]) return false;
  expression_ptr made = rearranged(**e, as);
  if (!made) return false;
  // What it is made from may be anything by now: not more than once.
  if (uses_[to] == 1) {
    set_each_time(to, std::move(made));
  } else {
    set(to, std::move(made));
  }
  return true;
}

bool can_lower(const part& p, const node& n) {
  const lowering_rule* rule = rule_of(n);
  return rule != nullptr && rule->supports(p, n);
}

lowered lower(const part& p, arithmetic math, const target& on) {
  return lowering(p, math, on).run();
}

lowering::lowering(const part& p, arithmetic math, const target& on)
    : p_(p),
      math_(math),
      on_(on),
      forms_(p.values.size()),
      uses_(p.values.size(), 0),
      producers_(p.values.size(), nullptr),
      of_bytes_(p.values.size(), false),
      each_time_(p.values.size(), false) {
  for (const node& n : p.nodes) {
    for (const value_id v : n.inputs) {
      if (v != no_value) ++uses_[v];
    }
    for (const value_id v : n.outputs) {
      if (v != no_value) producers_[v] = &n;
    }
  }
  for (const value_id v : p.outputs) ++uses_[v];
  find_bytes();
}

void lowering::find_bytes() {
  for (std::size_t v = 0; v < of_bytes_.size(); ++v) {
    const element_type t = p_.values[v].type;
    of_bytes_[v] =
        producers_[v] != nullptr && (t == element_type::int8 || t == element_type::uint8);
  }
  for (const node& n : p_.nodes) {
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      if (n.has_input(i) && !(i == 0 && takes_bytes(n))) of_bytes_[n.inputs[i]] = false;
    }
  }
  for (const value_id v : p_.outputs) of_bytes_[v] = false;
}

void lowering::unsupported(std::string_view what) const {
  throw error(errc::unimplemented, current_ != nullptr ? describe(*current_) : "part", what);
}

lowered lowering::run() {
  auto& buffers = out_.plan.buffers;
  for (std::size_t i = 0; i < p_.inputs.size(); ++i) {
    const value_id v = p_.inputs[i];
    // One that the shapes hang on is a constant by now.
    if (p_.values[v].constant != nullptr || size_of(type(v)) == 0) continue;
    buffers.push_back({buffer_kind::input, type(v), count_of(shape(v)), i, nullptr});
    forms_[v] = view{buffers.size() - 1, type(v), 0, shape(v), dense_strides(shape(v))};
  }
  const attention_plan attention = find_attention(*this);
  const shared_products products = find_shared_products(*this, attention);
  for (const node& n : p_.nodes) {
    current_ = &n;
    if (attention.inner.contains(&n)) continue;
    if (const auto found = attention.ends.find(&n); found != attention.ends.end()) {
      lower_attention(*this, found->second);
      continue;
    }
    if (products.inner.contains(&n)) continue;
    if (const auto found = products.begins.find(&n); found != products.begins.end()) {
      lower_shared_product(*this, found->second);
      continue;
    }
    const lowering_rule* rule = rule_of(n);
    if (rule == nullptr || !rule->supports(p_, n)) {
      unsupported("the device does not compute it with these types or attributes");
    }
    rule->lower(*this, n);
  }
  current_ = nullptr;
  for (std::size_t i = 0; i < p_.outputs.size(); ++i) finish(p_.outputs[i], i);
  split_setup();
  find_inputs_read();
  return std::move(out_);
}

view lowering::allocate(const dims& shape, element_type type,
                        const std::vector<std::size_t>& order) {
  auto& buffers = out_.plan.buffers;
  buffers.push_back({buffer_kind::temporary, type, count_of(shape), 0, nullptr});
  return {buffers.size() - 1, type, 0, shape, dense_strides(shape, order)};
}

void lowering::add(std::variant<kernel_step, gemm_step, conv_step, attention_step> s) {
  out_.plan.steps.push_back({std::move(s), current_ != nullptr ? describe(*current_) : "output"});
}

void lowering::copy(const view& from, const view& to) {
  if (count_of(to.shape) != 0) add(map_kernel(load(from), to, buffers()));
}

std::optional<std::size_t> lowering::input_number(value_id v) const {
  const auto found = std::find(p_.inputs.begin(), p_.inputs.end(), v);
  if (found == p_.inputs.end()) return std::nullopt;
  return static_cast<std::size_t>(found - p_.inputs.begin());
}

view lowering::compute(value_id v, const expression_ptr& e, const view& to) {
  if (count_of(to.shape) != 0) add(map_kernel(e, to, buffers()));
  forms_[v] = to;
  return to;
}

view lowering::in_memory(value_id v) {
  form& f = forms_[v];
  if (const auto* where = std::get_if<view>(&f)) return *where;
  if (auto* e = std::get_if<expression_ptr>(&f)) {
    const view* like = leading_view(**e, shape(v));
    std::vector<std::size_t> order =
        like != nullptr ? physical_order(*like) : std::vector<std::size_t>{};
    // Functions are written for channels last where they compute pictures.
    if (like == nullptr && (*e)->calls() && shape(v).size() >= 4) {
      order = channels_last_order(shape(v).size());
    }
    const expression_ptr kept = *e;
    // A number or a list of them is no activation but a scale or its like, which may be too small
    // for a half; nor does it cost anything as it is.
    const bool is_list = shape(v).size() <= 1;
    const element_type as = is_list ? type(v) : storage(type(v));
    return compute(v, kept, allocate(shape(v), as, order));
  }
  if (auto* g = std::get_if<gemm_step>(&f)) {
    gemm_step step = std::move(*g);
    const view out = allocate(shape(v), step.type);
    step.out.buffer = out.buffer;
    add(std::move(step));
    forms_[v] = out;
    return out;
  }
  if (auto* c = std::get_if<conv_step>(&f)) {
    conv_step step = std::move(*c);
    step.out = allocate(shape(v), step.type, channels_last_order(shape(v).size()));
    const view out = step.out;
    add(std::move(step));
    forms_[v] = out;
    return out;
  }
  const value& known = p_.values[v];
  if (known.constant == nullptr) unsupported("value '" + known.name + "' has not been computed");
  auto& buffers = out_.plan.buffers;
  const auto [at, is_new] = constants_.try_emplace(known.constant, buffers.size());
  if (is_new) {
    buffers.push_back(
        {buffer_kind::constant, known.type, count_of(*known.shape), 0, known.constant});
  }
  const view out{at->second, known.type, 0, *known.shape, dense_strides(*known.shape)};
  forms_[v] = out;
  return out;
}

lowering::bytes lowering::in_bytes(value_id v, const std::vector<std::size_t>& order) {
  if (const auto known = bytes_.find(v); known != bytes_.end()) return known->second;
  bytes made;
  const auto* e = std::get_if<expression_ptr>(&forms_[v]);
  if (e != nullptr && of_bytes_[v]) {
    const expression_ptr kept = *e;
    made.moved = type(v) == element_type::uint8 ? 128 : 0;
    std::vector<std::size_t> lie = order;
    if (const view* like = leading_view(*kept, shape(v)); lie.empty() && like != nullptr) {
      lie = physical_order(*like);
    }
    made.where = allocate(shape(v), element_type::int8, lie);
    if (count_of(shape(v)) != 0) {
      add(map_kernel(made.moved == 0 ? kept : operation("$0 - 128.0f", {kept}), made.where,
                     buffers()));
    }
    // Not in forms_: nobody reads it there any more but by in_bytes().
    bytes_[v] = made;
    return made;
  }
  made.where = in_memory(v);
  return made;
}

view lowering::in_memory_as(value_id v, element_type wanted,
                            const std::function<bool(const view&)>& fits,
                            const std::vector<std::size_t>& order) {
  const view have = in_memory(v);
  if (have.type == wanted && fits(have)) return have;
  const view made = allocate(have.shape, wanted, order);
  copy(have, made);
  return made;
}

expression_ptr lowering::read(value_id v, const dims& wanted) {
  if (const auto* e = std::get_if<expression_ptr>(&forms_[v]); e != nullptr && shape(v) == wanted) {
    return *e;
  }
  const value& known = p_.values[v];
  if (known.constant != nullptr && count_of(*known.shape) == 1) {
    if (const auto number = p_.scalar(v)) return operation(float_text(*number), {});
    if (const auto whole = p_.ints(v)) return operation(integer_text(whole->front()), {}, true);
  }
  return load(broadcast(in_memory(v), wanted));
}

expression_ptr lowering::with_one_product(const expression_ptr& e, const dims& shape,
                                          const expression*& kept) {
  if (e->what == expression::kind::product) {
    if (kept == nullptr) kept = e.get();
    if (kept == e.get()) return e;
    const view made = allocate(shape, e->of->type);
    add(map_kernel(e, made, buffers()));
    return load(made);
  }
  if (e->first_product() == nullptr) return e;
  expression copy = *e;
  for (expression_ptr& operand : copy.operands) operand = with_one_product(operand, shape, kept);
  return std::make_shared<const expression>(std::move(copy));
}

void lowering::set(value_id v, expression_ptr e) {
  if (e->first_product() != nullptr && e->what != expression::kind::product) {
    const expression* kept = nullptr;
    e = with_one_product(e, shape(v), kept);
  }
  const bool alone = uses_[v] == 1 && e->loads() <= most_loads;
  forms_[v] = std::move(e);
  if (!alone) in_memory(v);
}

gemm_step* lowering::pending_gemm(value_id v) {
  return uses_[v] == 1 ? std::get_if<gemm_step>(&forms_[v]) : nullptr;
}

conv_step* lowering::pending_conv(value_id v) {
  return uses_[v] == 1 ? std::get_if<conv_step>(&forms_[v]) : nullptr;
}

void lowering::finish(value_id v, std::size_t output) {
  auto& buffers = out_.plan.buffers;
  const auto output_buffer = [&] {
    buffers.push_back({buffer_kind::output, type(v), count_of(shape(v)), output, nullptr});
    return view{buffers.size() - 1, type(v), 0, shape(v), dense_strides(shape(v))};
  };
  if (const auto* e = std::get_if<expression_ptr>(&forms_[v])) {
    const expression_ptr kept = *e;
    compute(v, kept, output_buffer());
    return;
  }
  if (auto* g = std::get_if<gemm_step>(&forms_[v]); g != nullptr && g->type == type(v)) {
    gemm_step step = std::move(*g);
    const view out = output_buffer();
    step.out.buffer = out.buffer;
    add(std::move(step));
    forms_[v] = out;
    return;
  }
  const view have = in_memory(v);
  copy(have, output_buffer());
}

void lowering::split_setup() {
  schedule& plan = out_.plan;
  std::vector<bool> fixed(plan.buffers.size());
  for (std::size_t b = 0; b < fixed.size(); ++b) {
    const buffer_kind kind = plan.buffers[b].kind;
    fixed[b] = kind == buffer_kind::constant || kind == buffer_kind::temporary;
  }
  // A buffer may have several writers, the later of which may not be fixed.
  for (bool changed = true; changed;) {
    changed = false;
    for (const step& s : plan.steps) {
      const auto reads = s.reads();
      const bool all =
          std::all_of(reads.begin(), reads.end(), [&](std::size_t b) { return fixed[b]; });
      if (all || !fixed[s.writes()]) continue;
      fixed[s.writes()] = false;
      changed = true;
    }
  }
  std::vector<step> each_time;
  for (step& s : plan.steps) (fixed[s.writes()] ? plan.setup : each_time).push_back(std::move(s));
  plan.steps = std::move(each_time);
}

void lowering::find_inputs_read() {
  schedule& plan = out_.plan;
  plan.reads_input.assign(p_.inputs.size(), false);
  for (const step& s : plan.steps) {
    for (const std::size_t b : s.reads()) {
      if (plan.buffers[b].kind == buffer_kind::input)
        plan.reads_input[plan.buffers[b].index] = true;
    }
  }
}

}  // namespace mizzen::cuda
