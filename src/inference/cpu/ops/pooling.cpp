// MaxPool, AveragePool and the global pools.
#include "inference/cpu/kernels/pool.hpp"
#include "inference/cpu/kernels/reduce.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/window_attributes.hpp"

#include <array>

namespace mizzen::inference::detail {
namespace {

std::size_t spatial_of(const compile_context& c) {
  const std::size_t spatial = c.n.attributes.get_ints("kernel_shape").size();
  if (spatial == 0) c.invalid("attribute 'kernel_shape' is missing");
  return spatial;
}

class max_pool_kernel final : public kernel {
 public:
  explicit max_pool_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        attributes_(c, spatial_of(c)),
        column_major_(c.n.attributes.get_int("storage_order", 0) != 0) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    const bool wants_indices = c.outputs.size() > 1 && c.outputs[1].present();
    cpu::max_pool(kernels_, c.pool, attributes_.over(x.shape, y.shape), product(x.shape, 0, 2),
                  x.as<const float>(), y.as<float>(),
                  wants_indices ? c.outputs[1].as<std::int64_t>() : nullptr, column_major_);
  }

 private:
  const cpu::kernel_table& kernels_;
  window_attributes attributes_;
  bool column_major_;
};

class average_pool_kernel final : public kernel {
 public:
  explicit average_pool_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        attributes_(c, spatial_of(c)),
        count_padding_(c.n.attributes.get_int("count_include_pad", 0) != 0) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    cpu::average_pool(kernels_, c.pool, attributes_.over(x.shape, y.shape), product(x.shape, 0, 2),
                      x.as<const float>(), y.as<float>(), count_padding_);
  }

 private:
  const cpu::kernel_table& kernels_;
  window_attributes attributes_;
  bool count_padding_;
};

// The maximum or mean of each channel of each image: a reduction of what is behind them.
class global_pool_kernel final : public kernel {
 public:
  explicit global_pool_kernel(cpu::reduction kind) : kernels_(best_kernels()), kind_(kind) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const std::array shape = {
        static_cast<std::int64_t>(product(x.shape, 0, 2)),
        static_cast<std::int64_t>(product(x.shape, 2, x.shape.size())),
    };
    constexpr std::array reduced = {false, true};
    cpu::reduce(kernels_, c.pool, kind_, x.as<const float>(), shape, reduced,
                c.outputs[0].as<float>());
  }

 private:
  const cpu::kernel_table& kernels_;
  cpu::reduction kind_;
};

template <class Kernel>
std::unique_ptr<kernel> compile(const compile_context& c) {
  only_float32(c);
  return std::make_unique<Kernel>(c);
}

template <cpu::reduction Kind>
std::unique_ptr<kernel> compile_global(const compile_context& c) {
  only_float32(c);
  return std::make_unique<global_pool_kernel>(Kind);
}

}  // namespace

void register_pooling_ops(op_registry& registry) {
  registry.add("MaxPool", {compile<max_pool_kernel>});
  registry.add("AveragePool", {compile<average_pool_kernel>});
  registry.add("GlobalMaxPool", {compile_global<cpu::reduction::max>});
  registry.add("GlobalAveragePool", {compile_global<cpu::reduction::mean>});
}

}  // namespace mizzen::inference::detail
