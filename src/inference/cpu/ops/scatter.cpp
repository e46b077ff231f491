// Operators that write elements where data says: ScatterElements, ScatterND, TensorScatter,
// ReverseSequence, CenterCropPad.
#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"
#include "inference/cpu/ops/plain.hpp"
#include "inference/cpu/ops/strided_copy.hpp"
#include "inference/cpu/thread_pool.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace mizzen::inference::detail {
namespace {

enum class combine { replace, add, multiply, least, greatest };

template <class T>
void put(combine how, T& to, T v) noexcept {
  // Integers wrap around; signed overflow would be undefined.
  const auto wrapped = [](auto f, T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(f(static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b)));
    } else {
      return f(a, b);
    }
  };
  switch (how) {
    case combine::replace:
      to = v;
      break;
    case combine::add:
      to = wrapped([](auto a, auto b) { return a + b; }, to, v);
      break;
    case combine::multiply:
      to = wrapped([](auto a, auto b) { return a * b; }, to, v);
      break;
    case combine::least:
      to = std::min(to, v);
      break;
    case combine::greatest:
      to = std::max(to, v);
      break;
  }
}

// An index into a dimension, negative ones counted from its end.
std::int64_t checked_index(std::int64_t index, std::int64_t dim) {
  if (index < -dim || index >= dim) {
    throw error(errc::out_of_range, "indices",
                std::to_string(index) + " is outside a dimension of " + std::to_string(dim));
  }
  return index < 0 ? index + dim : index;
}

template <class T>
class scatter_kernel : public kernel {
 public:
  explicit scatter_kernel(combine how) : how_(how) {}

  bool may_overwrite(std::size_t input) const override { return input == 0; }

 protected:
  static void copy_data(const run_context& c) {
    if (c.outputs[0].data == c.inputs[0].data) return;
    std::memcpy(c.outputs[0].data, c.inputs[0].data, c.outputs[0].count * sizeof(T));
  }

  combine how_;
};

template <class T>
class scatter_elements_kernel final : public scatter_kernel<T> {
 public:
  scatter_elements_kernel(combine how, std::int64_t axis) : scatter_kernel<T>(how), axis_(axis) {}

  void run(const run_context& c) const override {
    this->copy_data(c);
    const value_view& y = c.outputs[0];
    const value_view& indices = c.inputs[1];
    const std::size_t axis = resolve_axis(axis_, y.shape.size());
    const rank_array strides = dense_strides(y.shape);
    const T* const updates = c.inputs[2].as<const T>();
    std::array<integer, max_rank> at{};
    for (std::size_t i = 0; i < indices.count; ++i, next_index(indices.shape, at.data())) {
      std::int64_t flat = 0;
      for (std::size_t d = 0; d < y.shape.size(); ++d) {
        flat += strides[d] * (d == axis ? checked_index(int_at(indices, i), y.shape[d]) : at[d]);
      }
      put(this->how_, y.as<T>()[flat], updates[i]);
    }
  }

 private:
  std::int64_t axis_;
};

template <class T>
class scatter_nd_kernel final : public scatter_kernel<T> {
 public:
  using scatter_kernel<T>::scatter_kernel;

  void run(const run_context& c) const override {
    this->copy_data(c);
    const value_view& y = c.outputs[0];
    const value_view& indices = c.inputs[1];
    const auto width = static_cast<std::size_t>(indices.shape.back());
    const std::size_t slice = extent(y.shape, width, y.shape.size());
    const std::size_t tuples = extent(indices.shape, 0, indices.shape.size() - 1);
    const T* const updates = c.inputs[2].as<const T>();
    for (std::size_t i = 0; i < tuples; ++i) {
      std::size_t flat = 0;
      for (std::size_t d = 0; d < width; ++d) {
        flat = flat * static_cast<std::size_t>(y.shape[d]) +
               static_cast<std::size_t>(checked_index(int_at(indices, i * width + d), y.shape[d]));
      }
      T* const to = y.as<T>() + flat * slice;
      for (std::size_t k = 0; k < slice; ++k) put(this->how_, to[k], updates[i * slice + k]);
    }
  }
};

// Makes a Kernel<T> for the node's reduction: of the element's width where it only moves.
template <template <class> class Kernel, class... Arguments>
std::unique_ptr<kernel> make_scatter(const compile_context& c, Arguments... arguments) {
  if (c.input_type(1) != element_type::int64 && c.input_type(1) != element_type::int32) {
    c.invalid("its indices must be int32 or int64");
  }
  const std::string how = c.n.attributes.get_string("reduction", "none");
  if (how == "none") {
    switch (movable_size(c)) {
      case 1:
        return std::make_unique<Kernel<std::uint8_t>>(combine::replace, arguments...);
      case 2:
        return std::make_unique<Kernel<std::uint16_t>>(combine::replace, arguments...);
      case 4:
        return std::make_unique<Kernel<std::uint32_t>>(combine::replace, arguments...);
      case 8:
        return std::make_unique<Kernel<std::uint64_t>>(combine::replace, arguments...);
      default:
        c.unsupported("elements of type " + std::string(to_string(c.input_type(0))));
    }
  }
  combine f = combine::add;
  if (how == "mul") {
    f = combine::multiply;
  } else if (how == "min") {
    f = combine::least;
  } else if (how == "max") {
    f = combine::greatest;
  } else if (how != "add") {
    c.invalid("unknown reduction '" + how + "'");
  }
  std::unique_ptr<kernel> result;
  dispatch<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t,
           std::uint16_t, std::uint32_t, std::uint64_t>(
      c.input_type(0), [&]<class T>(T) { result = std::make_unique<Kernel<T>>(f, arguments...); });
  if (!result) c.unsupported("reductions of " + std::string(to_string(c.input_type(0))));
  return result;
}

std::unique_ptr<kernel> compile_scatter_elements(const compile_context& c) {
  return make_scatter<scatter_elements_kernel>(c, c.n.attributes.get_int("axis", 0));
}

std::unique_ptr<kernel> compile_scatter_nd(const compile_context& c) {
  return make_scatter<scatter_nd_kernel>(c);
}

// Source: ONNX TensorScatter-24: rows go into a cache from a place on that differs by batch.
class tensor_scatter_kernel final : public kernel {
 public:
  tensor_scatter_kernel(std::int64_t axis, bool circular, std::size_t size)
      : axis_(axis), circular_(circular), size_(size) {}

  bool may_overwrite(std::size_t input) const override { return input == 0; }

  void run(const run_context& c) const override {
    const value_view& y = c.outputs[0];
    const value_view& update = c.inputs[1];
    if (y.data != c.inputs[0].data) std::memcpy(y.data, c.inputs[0].data, y.count * size_);
    const std::size_t axis = resolve_axis(axis_, y.shape.size());
    const std::int64_t capacity = y.shape[axis];
    const std::int64_t rows = update.shape[axis];
    const std::size_t row = extent(y.shape, axis + 1, y.shape.size()) * size_;
    const std::size_t outer = extent(y.shape, 0, axis);
    const std::size_t per_batch = extent(y.shape, 1, axis);
    const bool placed = c.inputs.size() > 2 && c.inputs[2].present();
    for (std::size_t o = 0; o < outer; ++o) {
      const std::int64_t start = placed ? int_at(c.inputs[2], o / per_batch) : 0;
      if (start < 0 || (!circular_ && start > capacity - rows)) {
        throw error(errc::out_of_range, "write_indices",
                    std::to_string(start) + " leaves no room for " + std::to_string(rows) +
                        " rows of " + std::to_string(capacity));
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t at = circular_ ? (start % capacity + r) % capacity : start + r;
        const auto to =
            (o * static_cast<std::size_t>(capacity) + static_cast<std::size_t>(at)) * row;
        const auto from = (o * static_cast<std::size_t>(rows) + static_cast<std::size_t>(r)) * row;
        std::memcpy(y.as<std::byte>() + to, update.as<const std::byte>() + from, row);
      }
    }
  }

 private:
  std::int64_t axis_;
  bool circular_;
  std::size_t size_;
};

std::unique_ptr<kernel> compile_tensor_scatter(const compile_context& c) {
  const std::string mode = c.n.attributes.get_string("mode", "linear");
  if (mode != "linear" && mode != "circular") c.invalid("unknown mode '" + mode + "'");
  if (c.has_input(2) && c.input_type(2) != element_type::int64) {
    c.invalid("'write_indices' must be int64");
  }
  return std::make_unique<tensor_scatter_kernel>(c.n.attributes.get_int("axis", -2),
                                                 mode == "circular", movable_size(c));
}

// The first sequence_lens[b] steps of each sequence in reverse.
class reverse_sequence_kernel final : public kernel {
 public:
  reverse_sequence_kernel(bool batch_first, std::size_t size)
      : batch_first_(batch_first), size_(size) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const std::size_t slice = extent(x.shape, 2, x.shape.size()) * size_;
    const std::int64_t batch = x.shape[batch_first_ ? 0 : 1];
    const std::int64_t steps = x.shape[batch_first_ ? 1 : 0];
    for (std::int64_t b = 0; b < batch; ++b) {
      const std::int64_t length = int_at(c.inputs[1], static_cast<std::size_t>(b));
      if (length < 0 || length > steps) {
        throw error(errc::out_of_range, "sequence_lens",
                    std::to_string(length) + " is outside [0, " + std::to_string(steps) + "]");
      }
      const auto at = [&](std::int64_t t) {
        return static_cast<std::size_t>(batch_first_ ? b * steps + t : t * batch + b) * slice;
      };
      for (std::int64_t t = 0; t < steps; ++t) {
        std::memcpy(c.outputs[0].as<std::byte>() + at(t < length ? length - 1 - t : t),
                    x.as<const std::byte>() + at(t), slice);
      }
    }
  }

 private:
  bool batch_first_;
  std::size_t size_;
};

std::unique_ptr<kernel> compile_reverse_sequence(const compile_context& c) {
  const std::int64_t batch = c.n.attributes.get_int("batch_axis", 1);
  const std::int64_t time = c.n.attributes.get_int("time_axis", 0);
  if (batch + time != 1 || (batch != 0 && batch != 1)) {
    c.invalid("batch_axis and time_axis must be 0 and 1, or 1 and 0");
  }
  if (c.input_type(1) != element_type::int64) c.invalid("'sequence_lens' must be int64");
  return std::make_unique<reverse_sequence_kernel>(batch == 0, movable_size(c));
}

// Source: ONNX CenterCropPad-18: of an odd difference the larger part is behind.
class center_crop_pad_kernel final : public kernel {
 public:
  explicit center_crop_pad_kernel(std::size_t size) : size_(size) {}

  void run(const run_context& c) const override {
    const value_view& x = c.inputs[0];
    const value_view& y = c.outputs[0];
    std::memset(y.data, 0, y.count * size_);
    const rank_array from = dense_strides(x.shape);
    const rank_array to = dense_strides(y.shape);
    std::array<std::int64_t, max_rank> shared{};
    std::int64_t source = 0;
    std::int64_t target = 0;
    for (std::size_t d = 0; d < x.shape.size(); ++d) {
      shared[d] = std::min(x.shape[d], y.shape[d]);
      source += (x.shape[d] - shared[d]) / 2 * from[d];
      target += (y.shape[d] - shared[d]) / 2 * to[d];
    }
    copy_strided(y.as<std::byte>() + static_cast<std::size_t>(target) * size_, to,
                 x.as<const std::byte>() + static_cast<std::size_t>(source) * size_, from,
                 {shared.data(), x.shape.size()}, size_, c.pool);
  }

 private:
  std::size_t size_;
};

std::unique_ptr<kernel> compile_center_crop_pad(const compile_context& c) {
  return std::make_unique<center_crop_pad_kernel>(movable_size(c));
}

}  // namespace

void register_scatter(op_registry& registry) {
  registry.add("Scatter", {compile_scatter_elements}, 9);
  registry.add("ScatterElements", {compile_scatter_elements}, 11);
  registry.add("ScatterND", {compile_scatter_nd}, 11);
  registry.add("TensorScatter", {compile_tensor_scatter}, 24);
  registry.add("ReverseSequence", {compile_reverse_sequence}, 10);
  registry.add("CenterCropPad", {compile_center_crop_pad}, 18);
}

}  // namespace mizzen::inference::detail
