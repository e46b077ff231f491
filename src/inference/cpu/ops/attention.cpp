// The attention that passes/fuse_attention.cpp makes.
#include "inference/cpu/kernels/attention.hpp"

#include "inference/cpu/ops/numeric_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"

#include <array>

namespace mizzen::inference::detail {
namespace {

class attention_kernel final : public kernel {
 public:
  explicit attention_kernel(const compile_context& c)
      : kernels_(best_kernels()),
        heads_(size(c.n.attributes.require_int("heads"))),
        depth_(size(c.n.attributes.require_int("depth"))),
        width_(size(c.n.attributes.require_int("width"))),
        offsets_{size(c.n.attributes.get_int("q_offset", 0)),
                 size(c.n.attributes.get_int("k_offset", 0)),
                 size(c.n.attributes.get_int("v_offset", 0))},
        scale_(c.n.attributes.get_float("scale", 1.0F)) {}

  std::size_t scratch_bytes(const shape_context& c) const override {
    return cpu::attention_scratch(kernels_, problem(c.inputs), c.threads) * sizeof(float);
  }

  void run(const run_context& c) const override {
    check_shapes(c);
    cpu::attention_problem p = problem(c.inputs);
    p.y = c.outputs[0].as<float>();
    cpu::attention(kernels_, c.pool, p, reinterpret_cast<float*>(c.scratch.data()));
  }

 private:
  static std::size_t size(std::int64_t n) noexcept { return static_cast<std::size_t>(n); }

  cpu::head_rows rows(const value_view& x, std::size_t input, std::size_t per_head) const {
    const float* const data = x.as<const float>();
    if (x.shape.size() == 4) {
      const std::size_t head = size(x.shape[2]) * per_head;
      return {data, x.shape[0] == 1 ? 0 : heads_ * head, head, per_head};
    }
    const std::size_t columns = size(x.shape[2]);
    return {data == nullptr ? nullptr : data + offsets_[input],
            x.shape[0] == 1 ? 0 : size(x.shape[1]) * columns, per_head, columns};
  }

  cpu::attention_problem problem(std::span<const value_view> inputs) const {
    cpu::attention_problem p;
    p.batch = size(inputs[0].shape[0]);
    p.heads = heads_;
    p.queries = size(inputs[0].shape[1]);
    p.keys = size(inputs[1].shape[inputs[1].shape.size() == 4 ? 2 : 1]);
    p.depth = depth_;
    p.width = width_;
    p.scale = scale_;
    p.q = rows(inputs[0], 0, depth_);
    p.k = rows(inputs[1], 1, depth_);
    p.v = rows(inputs[2], 2, width_);
    p.y_row = heads_ * width_;
    p.y_head = width_;
    p.y_batch = p.queries * p.y_row;
    if (inputs.size() > 3 && inputs[3].present()) set_mask(p, inputs[3]);
    return p;
  }

  // Strides of the dimensions that broadcast are 0.
  static void set_mask(cpu::attention_problem& p, const value_view& mask) {
    std::array<std::size_t, 4> stride{};
    std::size_t next = 1;
    for (std::size_t back = 1; back <= mask.shape.size(); ++back) {
      const std::size_t n = size(mask.shape[mask.shape.size() - back]);
      stride[4 - back] = n == 1 ? 0 : next;
      next *= n;
    }
    p.mask = {mask.as<const float>(), stride[0], stride[1], stride[2]};
    p.mask_key = p.keys == 1 ? 1 : stride[3];
  }

  // Whether Reshape with the shape in this input keeps what stands for a dimension.
  static bool keeps(const value_view& to, std::size_t i, std::int64_t dimension) {
    const std::int64_t n = int_at(to, i);
    return n == dimension || n == 0;
  }

  static void check_rows(const value_view& to, const value_view& x) {
    // One of the first two may be left to Reshape: the rest being right, it is right.
    const bool batch = keeps(to, 0, x.shape[0]);
    const bool count = keeps(to, 1, x.shape[1]);
    if ((batch && count) || (batch && int_at(to, 1) == -1) || (count && int_at(to, 0) == -1)) {
      return;
    }
    throw error(errc::unimplemented, "shape",
                "rows are reshaped across batches: load the model with optimize = false");
  }

  // The shapes that rows were split and joined by, in the inputs from 4 on.
  static void check_shapes(const run_context& c) {
    for (std::size_t i = 4; i < c.inputs.size(); ++i) {
      if (!c.inputs[i].present()) continue;
      const bool joined = i == 7;
      if (c.inputs[i].count != (joined ? 3 : 4)) {
        throw error(errc::invalid_argument, "shape", "it has the wrong length");
      }
      check_rows(c.inputs[i], joined ? c.outputs[0] : c.inputs[i - 4]);
    }
  }

  const cpu::kernel_table& kernels_;
  std::size_t heads_, depth_, width_;
  std::array<std::size_t, 3> offsets_;
  float scale_;
};

std::unique_ptr<kernel> compile_attention(const compile_context& c) {
  only_float32(c);
  for (std::size_t i = 4; i < c.input_count(); ++i) {
    if (c.has_input(i) && c.input_type(i) != element_type::int64) c.invalid("shapes must be int64");
  }
  if (c.has_input(3)) only_float32(c, 3);
  return std::make_unique<attention_kernel>(c);
}

}  // namespace

void register_attention_ops(op_registry& registry) {
  registry.add("Attention", {compile_attention}, 1, any_opset, mizzen_domain);
}

}  // namespace mizzen::inference::detail
