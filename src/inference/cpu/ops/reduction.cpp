// Reduce….
#include "inference/cpu/kernels/reduce.hpp"
#include "inference/cpu/ops/numeric_ops.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace mizzen::inference::detail {
namespace {

using cpu::reduction;

template <typename T>
class reduce_kernel final : public kernel {
 public:
  reduce_kernel(const compile_context& c, reduction kind)
      : kernels_(best_kernels()),
        kind_(kind),
        none_means_none_(c.n.attributes.get_int("noop_with_empty_axes", 0) != 0),
        axes_(c.n.attributes.get_ints("axes")) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const std::size_t rank = x.shape.size();
    std::span<const std::int64_t> axes = axes_;
    // Axes are an attribute, later (13 for ReduceSum, 18 for the others) an optional input.
    if (c.inputs.size() > 1 && c.inputs[1].type == element_type::int64) {
      axes = {c.inputs[1].as<const std::int64_t>(), c.inputs[1].count};
    }
    if (axes.empty() && none_means_none_) {
      // ONNX: the operator is then the identity, also those that are not for one element.
      std::memcpy(c.outputs[0].data, x.data, x.count * sizeof(T));
      return;
    }
    std::array<bool, most_dimensions> reduced{};
    if (rank > reduced.size()) {
      throw error(errc::unimplemented, "input", "has more than 64 dimensions");
    }
    if (axes.empty()) std::fill_n(reduced.begin(), rank, true);
    for (const std::int64_t axis : axes) reduced[checked_axis(axis, rank)] = true;
    cpu::reduce(kernels_, c.pool, kind_, x.as<const T>(), x.shape,
                std::span<const bool>(reduced.data(), rank), c.outputs[0].as<T>());
  }

 private:
  static constexpr std::size_t most_dimensions = 64;

  const cpu::kernel_table& kernels_;
  reduction kind_;
  bool none_means_none_;
  std::vector<std::int64_t> axes_;
};

template <reduction Kind>
std::unique_ptr<kernel> compile_reduce(const compile_context& c) {
  switch (c.input_type(0)) {
    case element_type::float64:
      return std::make_unique<reduce_kernel<double>>(c, Kind);
    case element_type::int32:
      return std::make_unique<reduce_kernel<std::int32_t>>(c, Kind);
    case element_type::int64:
      return std::make_unique<reduce_kernel<std::int64_t>>(c, Kind);
    default:
      only_float32(c);
      return std::make_unique<reduce_kernel<float>>(c, Kind);
  }
}

}  // namespace

void register_reduction_ops(op_registry& registry) {
  registry.add("ReduceL1", {compile_reduce<reduction::l1>});
  registry.add("ReduceL2", {compile_reduce<reduction::l2>});
  registry.add("ReduceLogSum", {compile_reduce<reduction::log_sum>});
  registry.add("ReduceLogSumExp", {compile_reduce<reduction::log_sum_exp>});
  registry.add("ReduceMax", {compile_reduce<reduction::max>});
  registry.add("ReduceMean", {compile_reduce<reduction::mean>});
  registry.add("ReduceMin", {compile_reduce<reduction::min>});
  registry.add("ReduceProd", {compile_reduce<reduction::product>});
  registry.add("ReduceSum", {compile_reduce<reduction::sum>});
  registry.add("ReduceSumSquare", {compile_reduce<reduction::sum_square>});
}

}  // namespace mizzen::inference::detail
