// Pools and InstanceNormalization over channels that lie last.
#include "inference/cpu/kernels/picture_channels_last.hpp"

#include "inference/cpu/kernels/reduce.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/post_ops.hpp"
#include "inference/cpu/ops/window_attributes.hpp"
#include "inference/graph/channels_last.hpp"

#include <array>

namespace mizzen::inference::detail {
namespace {

std::size_t channels_of(const value_view& v) {
  return static_cast<std::size_t>(v.shape[v.shape.size() - 1]);
}

class pool_kernel final : public kernel {
 public:
  explicit pool_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        attributes_(c, c.n.attributes.get_ints("kernel_shape").size(), 3),
        maximum_(c.n.op_type == "MaxPool"),
        count_padding_(c.n.attributes.get_int("count_include_pad", 0) != 0) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    if (y.count == 0) return;
    const cpu::window_3d window = attributes_.over_channels_last(x.shape, y.shape);
    const auto batch = static_cast<std::size_t>(x.shape[0]);
    if (maximum_) {
      cpu::max_pool_channels_last(kernels_, c.pool, window, batch, channels_of(x),
                                  x.as<const float>(), y.as<float>());
    } else {
      cpu::average_pool_channels_last(kernels_, c.pool, window, batch, channels_of(x),
                                      x.as<const float>(), y.as<float>(), count_padding_);
    }
  }

 private:
  const cpu::kernel_table& kernels_;
  window_attributes attributes_;
  bool maximum_;
  bool count_padding_;
};

class global_pool_kernel final : public kernel {
 public:
  explicit global_pool_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        kind_(c.n.op_type == "GlobalMaxPool" ? cpu::reduction::max : cpu::reduction::mean) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const std::size_t rank = x.shape.size();
    const std::array shape = {x.shape[0], static_cast<std::int64_t>(product(x.shape, 1, rank - 1)),
                              x.shape[rank - 1]};
    constexpr std::array reduced = {false, true, false};
    cpu::reduce(kernels_, c.pool, kind_, x.as<const float>(), shape, reduced,
                c.outputs[0].as<float>());
  }

 private:
  const cpu::kernel_table& kernels_;
  cpu::reduction kind_;
};

class instance_norm_kernel final : public kernel {
 public:
  explicit instance_norm_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        epsilon_(c.n.attributes.get_float("epsilon", 1e-5F)),
        post_ops_(c.n.post_ops) {}

  bool may_overwrite(std::size_t input) const override { return input == 0; }

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::instance_norm_channels_last_scratch(channels_of(c.inputs[0])) * sizeof(float);
  }

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    if (x.count == 0) return;
    const post_op_run steps(kernels_, post_ops_, c);
    const auto finish = [](const void* context, std::size_t at, float* y, std::size_t n) {
      static_cast<const post_op_run*>(context)->apply(y, at, n);
    };
    cpu::instance_norm_channels_last(kernels_, c.pool, static_cast<std::size_t>(x.shape[0]),
                                     product(x.shape, 1, x.shape.size() - 1), channels_of(x),
                                     x.as<const float>(), c.inputs[1].as<const float>(),
                                     c.inputs[2].as<const float>(), epsilon_,
                                     c.outputs[0].as<float>(), steps.empty() ? nullptr : +finish,
                                     &steps, reinterpret_cast<float*>(c.scratch.data()));
  }

 private:
  const cpu::kernel_table& kernels_;
  float epsilon_;
  std::vector<post_op> post_ops_;
};

std::unique_ptr<kernel> compile_pool(const compile_context& c) {
  if (c.n.op_type == "MaxPool" && c.input_type(0) == element_type::uint8) {
    return compile_byte_pool(c);
  }
  only_float32(c);
  return std::make_unique<pool_kernel>(c);
}

template <class Kernel>
std::unique_ptr<kernel> compile(const compile_context& c) {
  only_float32(c);
  return std::make_unique<Kernel>(c);
}

}  // namespace

void register_picture_channels_last_ops(op_registry& registry) {
  for (const char* op : {"MaxPool", "AveragePool"}) {
    registry.add(op, {compile_pool}, 1, any_opset, channels_last_domain);
  }
  for (const char* op : {"GlobalMaxPool", "GlobalAveragePool"}) {
    registry.add(op, {compile<global_pool_kernel>}, 1, any_opset, channels_last_domain);
  }
  registry.add("InstanceNormalization", {compile<instance_norm_kernel>}, 1, any_opset,
               channels_last_domain);
}

}  // namespace mizzen::inference::detail
