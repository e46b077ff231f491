#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"

namespace mizzen::inference::detail {
namespace {

class transpose_kernel final : public kernel {
 public:
  transpose_kernel(std::vector<std::int64_t> perm, bool is_view, std::size_t element_size)
      : perm_(std::move(perm)), is_view_(is_view), element_size_(element_size) {}

  bool is_view() const override { return is_view_; }

  void run(const run_context& c) const override {
    const auto in = c.inputs[0].shape;
    const rank_array dense = dense_strides(in);
    rank_array source{};
    for (std::size_t i = 0; i < in.size(); ++i) {
      source[i] = dense[perm_.empty() ? in.size() - 1 - i : static_cast<std::size_t>(perm_[i])];
    }
    const auto out = c.outputs[0].shape;
    copy_strided(c.outputs[0].data, dense_strides(out), c.inputs[0].data, source, out,
                 element_size_, c.pool);
  }

 private:
  std::vector<std::int64_t> perm_;  // empty: reversed
  bool is_view_;
  std::size_t element_size_;
};

// DepthToSpace and SpaceToDepth: a reshape to six dimensions, a transpose, a reshape.
class depth_space_kernel final : public kernel {
 public:
  depth_space_kernel(bool to_space, bool column_row, std::int64_t block, std::size_t element_size)
      : to_space_(to_space), column_row_(column_row), block_(block), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const auto in = c.inputs[0].shape;
    const auto out = c.outputs[0].shape;
    if (to_space_) {
      // [N, b, b, C', H, W] (DCR) or [N, C', b, b, H, W] (CRD) read as [N, C', H, b, W, b].
      const std::int64_t channels = out[1];
      const rank_array dense = column_row_ ? dense_strides(std::vector<std::int64_t>{
                                                 in[0], channels, block_, block_, in[2], in[3]})
                                           : dense_strides(std::vector<std::int64_t>{
                                                 in[0], block_, block_, channels, in[2], in[3]});
      const std::size_t ch = column_row_ ? 1 : 3;
      const std::size_t row = column_row_ ? 2 : 1;
      const rank_array source{dense[0], dense[ch], dense[4], dense[row], dense[5], dense[row + 1]};
      copy(c, source, {in[0], channels, in[2], block_, in[3], block_});
    } else {
      // [N, C, H', b, W', b] read as [N, b, b, C, H', W'] (DCR) or [N, C, b, b, H', W'] (CRD).
      const std::array<std::int64_t, 6> split{in[0], in[1], out[2], block_, out[3], block_};
      const rank_array dense = dense_strides(split);
      if (column_row_) {
        const rank_array source{dense[0], dense[1], dense[3], dense[5], dense[2], dense[4]};
        copy(c, source, {in[0], in[1], block_, block_, out[2], out[3]});
      } else {
        const rank_array source{dense[0], dense[3], dense[5], dense[1], dense[2], dense[4]};
        copy(c, source, {in[0], block_, block_, in[1], out[2], out[3]});
      }
    }
  }

 private:
  void copy(const run_context& c, const rank_array& source,
            const std::array<std::int64_t, 6>& shape) const {
    copy_strided(c.outputs[0].data, dense_strides(shape), c.inputs[0].data, source, shape,
                 element_size_, c.pool);
  }

  bool to_space_, column_row_;
  std::int64_t block_;
  std::size_t element_size_;
};

// True if only dimensions of size 1 change their place among the others.
bool keeps_order(const compile_context& c, const std::vector<std::int64_t>& perm) {
  const auto& shape = c.input(0).shape;
  if (!shape || perm.size() != shape->size()) return false;
  std::int64_t before = -1;
  for (const std::int64_t p : perm) {
    if ((*shape)[static_cast<std::size_t>(p)] == 1) continue;
    if (p < before) return false;
    before = p;
  }
  return true;
}

std::unique_ptr<kernel> compile_transpose(const compile_context& c) {
  const auto perm = c.n.attributes.get_ints("perm");
  return std::make_unique<transpose_kernel>(perm, keeps_order(c, perm), movable_size(c));
}

std::unique_ptr<kernel> compile_depth_space(const compile_context& c) {
  const std::string mode = c.n.attributes.get_string("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") c.invalid("unknown mode '" + mode + "'");
  return std::make_unique<depth_space_kernel>(c.n.op_type == "DepthToSpace", mode == "CRD",
                                              c.n.attributes.require_int("blocksize"),
                                              movable_size(c));
}

}  // namespace

void register_transpose(op_registry& registry) {
  registry.add("Transpose", {compile_transpose});
  registry.add("DepthToSpace", {compile_depth_space});
  registry.add("SpaceToDepth", {compile_depth_space});
}

}  // namespace mizzen::inference::detail
