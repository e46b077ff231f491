#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <cstring>

namespace mizzen::inference::detail {
namespace {

// Index data comes from outside: it is checked at each use.
std::size_t checked_index(std::int64_t index, std::int64_t dim) {
  if (index < -dim || index >= dim) {
    throw error(errc::invalid_argument, "indices",
                "index " + std::to_string(index) + " in a dimension of " + std::to_string(dim));
  }
  return static_cast<std::size_t>(index < 0 ? index + dim : index);
}

class gather_kernel final : public kernel {
 public:
  gather_kernel(std::int64_t axis, std::size_t element_size)
      : axis_(axis), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& data = c.inputs[0];
    const value_view& indices = c.inputs[1];
    const std::size_t axis = resolve_axis(axis_, data.shape.size());
    const std::size_t outer = extent(data.shape, 0, axis);
    const std::size_t row = extent(data.shape, axis + 1, data.shape.size()) * element_size_;
    const std::int64_t dim = data.shape[axis];
    const auto* source = data.as<const std::byte>();
    auto* target = c.outputs[0].as<std::byte>();
    c.pool.parallel_for(outer * indices.count, grain_for(row), [&](std::size_t b, std::size_t e) {
      for (std::size_t i = b; i < e; ++i) {
        const std::size_t from = checked_index(int_at(indices, i % indices.count), dim);
        const std::size_t o = i / indices.count;
        std::memcpy(target + i * row, source + (o * static_cast<std::size_t>(dim) + from) * row,
                    row);
      }
    });
  }

 private:
  std::int64_t axis_;
  std::size_t element_size_;
};

class gather_elements_kernel final : public kernel {
 public:
  gather_elements_kernel(std::int64_t axis, std::size_t element_size)
      : axis_(axis), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& data = c.inputs[0];
    const value_view& indices = c.inputs[1];
    const std::size_t rank = data.shape.size();
    const std::size_t axis = resolve_axis(axis_, rank);
    const rank_array in_strides = dense_strides(data.shape);
    const rank_array out_strides = dense_strides(indices.shape);
    const auto* source = data.as<const std::byte>();
    auto* target = c.outputs[0].as<std::byte>();
    c.pool.parallel_for(
        indices.count, grain_for(element_size_ * 8), [&](std::size_t b, std::size_t e) {
          for (std::size_t i = b; i < e; ++i) {
            auto rest = static_cast<std::int64_t>(i);
            std::int64_t from = 0;
            for (std::size_t d = 0; d < rank; ++d) {
              const std::int64_t at = rest / out_strides[d];
              rest %= out_strides[d];
              if (d != axis) from += at * in_strides[d];
            }
            const auto chosen = checked_index(int_at(indices, i), data.shape[axis]);
            from += static_cast<std::int64_t>(chosen) * in_strides[axis];
            std::memcpy(target + i * element_size_,
                        source + static_cast<std::size_t>(from) * element_size_, element_size_);
          }
        });
  }

 private:
  std::int64_t axis_;
  std::size_t element_size_;
};

class gather_nd_kernel final : public kernel {
 public:
  gather_nd_kernel(std::int64_t batch_dims, std::size_t element_size)
      : batch_dims_(static_cast<std::size_t>(batch_dims)), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& data = c.inputs[0];
    const value_view& indices = c.inputs[1];
    const auto tuple = static_cast<std::size_t>(indices.shape.back());
    const std::size_t batches = extent(data.shape, 0, batch_dims_);
    const std::size_t per_batch = extent(indices.shape, batch_dims_, indices.shape.size() - 1);
    const rank_array strides = dense_strides(data.shape);
    const std::size_t row =
        extent(data.shape, batch_dims_ + tuple, data.shape.size()) * element_size_;
    const std::size_t batch_size = extent(data.shape, batch_dims_, data.shape.size());
    const auto* source = data.as<const std::byte>();
    auto* target = c.outputs[0].as<std::byte>();
    c.pool.parallel_for(batches * per_batch, grain_for(row), [&](std::size_t b, std::size_t e) {
      for (std::size_t i = b; i < e; ++i) {
        std::size_t from = i / per_batch * batch_size;
        for (std::size_t k = 0; k < tuple; ++k) {
          const std::size_t d = batch_dims_ + k;
          from += checked_index(int_at(indices, i * tuple + k), data.shape[d]) *
                  static_cast<std::size_t>(strides[d]);
        }
        std::memcpy(target + i * row, source + from * element_size_, row);
      }
    });
  }

 private:
  std::size_t batch_dims_, element_size_;
};

class one_hot_kernel final : public kernel {
 public:
  one_hot_kernel(std::int64_t axis, std::size_t element_size)
      : axis_(axis), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& indices = c.inputs[0];
    const value_view& out = c.outputs[0];
    const std::size_t axis = resolve_axis(axis_, out.shape.size());
    const std::int64_t depth = out.shape[axis];
    const std::size_t inner = extent(out.shape, axis + 1, out.shape.size());
    const auto* off = c.inputs[2].as<const std::byte>();
    auto* target = out.as<std::byte>();
    copy_strided(target, dense_strides(out.shape), off, rank_array{}, out.shape, element_size_,
                 c.pool);
    for (std::size_t i = 0; i < indices.count; ++i) {
      std::int64_t index = int_at(indices, i);
      // Indices outside [-depth, depth) leave their row off. Source: ONNX OneHot.
      if (index < -depth || index >= depth) continue;
      if (index < 0) index += depth;
      const std::size_t at =
          (i / inner * static_cast<std::size_t>(depth) + static_cast<std::size_t>(index)) * inner +
          i % inner;
      std::memcpy(target + at * element_size_, off + element_size_, element_size_);
    }
  }

 private:
  std::int64_t axis_;
  std::size_t element_size_;
};

std::unique_ptr<kernel> compile_gather(const compile_context& c) {
  return std::make_unique<gather_kernel>(c.n.attributes.get_int("axis", 0), movable_size(c));
}

std::unique_ptr<kernel> compile_gather_elements(const compile_context& c) {
  return std::make_unique<gather_elements_kernel>(c.n.attributes.get_int("axis", 0),
                                                  movable_size(c));
}

std::unique_ptr<kernel> compile_gather_nd(const compile_context& c) {
  return std::make_unique<gather_nd_kernel>(c.n.attributes.get_int("batch_dims", 0),
                                            movable_size(c));
}

std::unique_ptr<kernel> compile_one_hot(const compile_context& c) {
  if (c.input_type(0) != element_type::int64 && c.input_type(0) != element_type::int32) {
    c.unsupported("indices that are not int32 or int64");
  }
  return std::make_unique<one_hot_kernel>(c.n.attributes.get_int("axis", -1), movable_size(c, 2));
}

}  // namespace

void register_gather(op_registry& registry) {
  registry.add("Gather", {compile_gather});
  registry.add("GatherElements", {compile_gather_elements});
  registry.add("GatherND", {compile_gather_nd});
  registry.add("OneHot", {compile_one_hot});
}

}  // namespace mizzen::inference::detail
