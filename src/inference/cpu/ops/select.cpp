#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mizzen::inference::detail {
namespace {

// NaN counts as greater than every number, so that it is seen and the order is total.
template <class T>
bool before(T a, T b, bool largest) noexcept {
  if constexpr (std::floating_point<T>) {
    if (std::isnan(a) || std::isnan(b)) {
      if (std::isnan(a) && std::isnan(b)) return false;
      return largest ? std::isnan(a) : std::isnan(b);
    }
  }
  return largest ? a > b : a < b;
}

template <class T>
class arg_kernel final : public kernel {
 public:
  arg_kernel(std::int64_t axis, bool largest, bool last)
      : axis_(axis), largest_(largest), last_(last) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const std::size_t rank = in.shape.size();
    const std::size_t axis = rank == 0 ? 0 : resolve_axis(axis_, rank);
    const auto dim = rank == 0 ? std::size_t{1} : static_cast<std::size_t>(in.shape[axis]);
    const std::size_t inner = rank == 0 ? 1 : extent(in.shape, axis + 1, rank);
    const T* data = in.as<const T>();
    auto* out = c.outputs[0].as<std::int64_t>();
    c.pool.parallel_for(c.outputs[0].count, grain_for(dim * sizeof(T)),
                        [&](std::size_t b, std::size_t e) {
                          for (std::size_t i = b; i < e; ++i) {
                            const T* line = data + i / inner * dim * inner + i % inner;
                            std::size_t best = 0;
                            for (std::size_t k = 1; k < dim; ++k) {
                              const T x = line[k * inner];
                              const T y = line[best * inner];
                              if (before(x, y, largest_) || (last_ && !before(y, x, largest_)))
                                best = k;
                            }
                            out[i] = static_cast<std::int64_t>(best);
                          }
                        });
  }

 private:
  std::int64_t axis_;
  bool largest_, last_;
};

template <class T>
class top_k_kernel final : public kernel {
 public:
  top_k_kernel(std::int64_t axis, bool largest) : axis_(axis), largest_(largest) {}

  std::size_t scratch_bytes(const shape_context& c) const override {
    const auto& shape = c.inputs[0].shape;
    const std::size_t axis = resolve_axis(axis_, shape.size());
    return static_cast<std::size_t>(shape[axis]) * sizeof(std::uint32_t) * c.threads;
  }

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const std::size_t axis = resolve_axis(axis_, in.shape.size());
    const auto dim = static_cast<std::size_t>(in.shape[axis]);
    const auto k = static_cast<std::size_t>(c.outputs[0].shape[axis]);
    const std::size_t inner = extent(in.shape, axis + 1, in.shape.size());
    const std::size_t lines = extent(in.shape, 0, axis) * inner;
    const T* data = in.as<const T>();
    T* values = c.outputs[0].as<T>();
    auto* indices = c.outputs.size() > 1 ? c.outputs[1].as<std::int64_t>() : nullptr;
    auto* scratch = reinterpret_cast<std::uint32_t*>(c.scratch.data());
    c.pool.parallel_for(
        lines, grain_for(dim * sizeof(T) * 8), [&](std::size_t b, std::size_t e, unsigned slot) {
          std::uint32_t* order = scratch + slot * dim;
          for (std::size_t i = b; i < e; ++i) {
            const T* line = data + i / inner * dim * inner + i % inner;
            std::iota(order, order + dim, 0U);
            // Equal elements come in the order of their indices. Source: ONNX TopK.
            std::partial_sort(order, order + k, order + dim, [&](std::uint32_t x, std::uint32_t y) {
              const T vx = line[x * inner];
              const T vy = line[y * inner];
              if (before(vx, vy, largest_)) return true;
              if (before(vy, vx, largest_)) return false;
              return x < y;
            });
            const std::size_t at = i / inner * k * inner + i % inner;
            for (std::size_t j = 0; j < k; ++j) {
              values[at + j * inner] = line[order[j] * inner];
              if (indices != nullptr) indices[at + j * inner] = order[j];
            }
          }
        });
  }

 private:
  std::int64_t axis_;
  bool largest_;
};

template <template <class> class Kernel, class... Args>
std::unique_ptr<kernel> make_numeric(const compile_context& c, Args... args) {
  std::unique_ptr<kernel> result;
  dispatch<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t,
           std::uint16_t, std::uint32_t, std::uint64_t>(
      c.input_type(0), [&]<class T>(T) { result = std::make_unique<Kernel<T>>(args...); });
  if (!result) c.unsupported("inputs of type " + std::string(to_string(c.input_type(0))));
  return result;
}

std::unique_ptr<kernel> compile_arg(const compile_context& c) {
  return make_numeric<arg_kernel>(c, c.n.attributes.get_int("axis", 0), c.n.op_type == "ArgMax",
                                  c.n.attributes.get_int("select_last_index", 0) != 0);
}

std::unique_ptr<kernel> compile_top_k(const compile_context& c) {
  return make_numeric<top_k_kernel>(c, c.n.attributes.get_int("axis", -1),
                                    c.n.attributes.get_int("largest", 1) != 0);
}

}  // namespace

void register_select(op_registry& registry) {
  registry.add("ArgMax", {compile_arg});
  registry.add("ArgMin", {compile_arg});
  registry.add("TopK", {compile_top_k});
}

}  // namespace mizzen::inference::detail
