#include "inference/dynamic/custom.hpp"

#include "inference/cpu/thread_pool.hpp"
#include "inference/graph/custom.hpp"
#include "inference/runtime/program.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace mizzen::inference {
namespace detail {

// What makes the outputs of which only computing tells the shape.
class output_maker {
 public:
  output_maker() = default;
  output_maker(const output_maker&) = delete;
  output_maker& operator=(const output_maker&) = delete;
  virtual value_view make(std::size_t i, element_type type, shape_type shape) = 0;

 protected:
  ~output_maker() = default;
};

struct custom_call {
  std::span<const value_view> inputs, outputs;
  thread_pool& pool;
  const cancellation& cancel;
  output_maker* maker = nullptr;  // null: the outputs are there
};

namespace {

using compute_function = std::function<void(custom_run&)>;

compute_function function_of(const compile_context& c) {
  const custom_operator& op = *c.n.custom;
  if (op.compute) return op.compute;
  try {
    compute_function made =
        call_custom("prepare", [&] { return op.prepare(custom_access::node_view(c.n)); });
    if (!made) c.invalid("its prepare function gives no function");
    return made;
  } catch (const error& e) {
    throw named(c.n, e);
  }
}

class custom_kernel final : public kernel {
 public:
  explicit custom_kernel(const compile_context& c) : node_(c.n), compute_(function_of(c)) {}

  void run(const run_context& c) const override {
    static const cancellation never;
    const custom_call call{c.inputs, c.outputs, c.pool, c.cancel != nullptr ? *c.cancel : never};
    custom_run view = custom_access::run(node_, call);
    call_custom("compute", [&] { compute_(view); });
  }

 private:
  const node node_;  // the graph's may move
  const compute_function compute_;
};

value_view view_of_any(const tensor& t) {
  if (t.type() != element_type::string) return view_of(t);
  value_view v = describe_value(t.type(), t.shape());
  v.data = const_cast<std::string*>(t.data<std::string>().data());
  return v;
}

class custom_operation final : public operation {
 public:
  explicit custom_operation(const operation_compile_context& c)
      : node_(c.about.n), compute_(function_of(c.about)), on_(c.settings.on) {
    for (const value_id v : node_.outputs) {
      if (v == no_value) {
        declared_.emplace_back();
      } else {
        declared_.push_back({c.about.g.values[v].type, c.about.g.values[v].shape});
      }
    }
  }

  void run(const operation_context& c, std::span<item> outputs) const override {
    std::vector<value_view> in(node_.operator_inputs());
    std::vector<inferred> facts(c.inputs.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (node_.inputs[i] == no_value) continue;
      const tensor& t = c.one(i);
      in[i] = view_of_any(t);
      facts[i] = {t.type(), t.shape(), &t};
    }
    outputs_of_run made(*this, c.state);
    if (!node_.custom->data_dependent) {
      std::vector<inferred> out(node_.outputs.size());
      infer_node(node_, facts, out);
      for (std::size_t i = 0; i < out.size(); ++i) {
        if (node_.outputs[i] != no_value) made.make(i, out[i].type, *out[i].shape);
      }
    }
    const custom_call call{in, made.views, on_->pool(), c.state.cancel,
                           node_.custom->data_dependent ? &made : nullptr};
    custom_run view = custom_access::run(node_, call);
    call_custom("compute", [&] { compute_(view); });
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (node_.outputs[i] == no_value) continue;
      if (!made.tensors[i]) {
        throw error(errc::invalid_argument, "compute", "it made no output " + std::to_string(i));
      }
      outputs[i] = item(shared_tensor(std::move(made.tensors[i])));
    }
  }

 private:
  struct outputs_of_run final : output_maker {
    outputs_of_run(const custom_operation& o, const run_state& s)
        : op(o), state(s), tensors(o.declared_.size()), views(o.declared_.size()) {}

    value_view make(std::size_t i, element_type type, shape_type shape) override {
      op.check(i, type, shape);
      if (tensors[i]) {
        throw error(errc::invalid_argument, "compute", "it made an output twice");
      }
      tensors[i] = state.make(type, std::move(shape));
      views[i] = view_of_any(*tensors[i]);
      return views[i];
    }

    const custom_operation& op;
    const run_state& state;
    std::vector<std::shared_ptr<tensor>> tensors;
    std::vector<value_view> views;
  };

  void check(std::size_t i, element_type type, const shape_type& shape) const {
    const std::string subject = "output " + std::to_string(i);
    if (i >= declared_.size()) {
      throw error(errc::out_of_range, subject, "the node has no such output");
    }
    const inferred& d = declared_[i];
    bool fits = shape.size() <= max_rank && (d.type == type || d.type == element_type::undefined);
    fits = fits && (!d.shape || d.shape->size() == shape.size());
    for (std::size_t k = 0; fits && k < shape.size(); ++k) {
      fits = shape[k] >= 0 && shape[k] <= max_dimension &&
             (!d.shape || (*d.shape)[k] < 0 || (*d.shape)[k] == shape[k]);
    }
    if (fits) return;
    std::string promised(to_string(d.type));
    if (d.shape) {
      shape_type known = *d.shape;
      for (std::int64_t& dim : known) dim = std::max(dim, unknown_dim);
      promised += to_string(known);
    }
    throw error(errc::invalid_argument, subject,
                "compute makes " + std::string(to_string(type)) + to_string(shape) +
                    " where the shape function told " + promised);
  }

  const node node_;
  const compute_function compute_;
  const std::shared_ptr<device> on_;
  std::vector<inferred> declared_;
};

}  // namespace

std::unique_ptr<kernel> compile_custom(const compile_context& context) {
  return std::make_unique<custom_kernel>(context);
}

std::unique_ptr<operation> compile_custom_operation(const operation_compile_context& context) {
  return std::make_unique<custom_operation>(context);
}

}  // namespace detail

template <bool writable>
void basic_operand<writable>::wrong_type(element_type wanted) const {
  throw error(errc::invalid_argument, writable ? "output" : "input",
              "it is " + (present() ? std::string(to_string(type_)) : "left out") + ", not " +
                  std::string(to_string(wanted)));
}
template class basic_operand<false>;
template class basic_operand<true>;

custom_input custom_run::input(std::size_t i) const {
  if (!has_input(i)) return {};
  const detail::value_view& v = call_->inputs[i];
  return detail::custom_access::operand<false>(v.type, v.shape, v.count, v.data);
}

custom_output custom_run::output(std::size_t i) const {
  if (!wants_output(i)) return {};
  const detail::value_view& v = call_->outputs[i];
  return detail::custom_access::operand<true>(v.type, v.shape, v.count, v.data);
}

custom_output custom_run::make_output(std::size_t i, element_type type, shape_type shape) const {
  if (call_->maker == nullptr) fail("only operators with data_dependent make their outputs");
  if (!wants_output(i)) return {};
  const detail::value_view v = call_->maker->make(i, type, std::move(shape));
  return detail::custom_access::operand<true>(v.type, v.shape, v.count, v.data);
}

const cancellation& custom_run::cancel() const noexcept { return call_->cancel; }

void custom_run::share(std::size_t count, std::size_t grain, void* context,
                       void (*fn)(void*, std::size_t, std::size_t)) const {
  call_->pool.parallel_for(count, grain,
                           [&](std::size_t begin, std::size_t end) { fn(context, begin, end); });
}

}  // namespace mizzen::inference
