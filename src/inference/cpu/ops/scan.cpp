#include "inference/cpu/ops/data_ops.hpp"
#include "inference/cpu/ops/op_util.hpp"

#include <algorithm>
#include <cstring>

namespace mizzen::inference::detail {
namespace {

// Integer sums wrap; signed overflow would be undefined.
template <class T>
T wrapping_add(T a, T b) noexcept {
  if constexpr (std::integral<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return a + b;
  }
}

template <class T>
T wrapping_multiply(T a, T b) noexcept {
  if constexpr (std::integral<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
  } else {
    return a * b;
  }
}

// CumSum, or CumProd.
template <class T, bool Product>
class cumulative_kernel final : public kernel {
 public:
  cumulative_kernel(bool exclusive, bool reverse) : exclusive_(exclusive), reverse_(reverse) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const std::int64_t axis_value = int_at(c.inputs[1], 0);
    const auto rank = static_cast<std::int64_t>(in.shape.size());
    if (axis_value < -rank || axis_value >= rank) {
      throw error(errc::invalid_argument, "axis", std::to_string(axis_value) + " is out of range");
    }
    const std::size_t axis = resolve_axis(axis_value, in.shape.size());
    const auto dim = static_cast<std::size_t>(in.shape[axis]);
    const std::size_t inner = extent(in.shape, axis + 1, in.shape.size());
    const std::size_t lines = extent(in.shape, 0, axis) * inner;
    const T* data = in.as<const T>();
    T* out = c.outputs[0].as<T>();
    for (std::size_t i = 0; i < lines; ++i) {
      const std::size_t base = i / inner * dim * inner + i % inner;
      T so_far = Product ? T{1} : T{0};
      for (std::size_t k = 0; k < dim; ++k) {
        const std::size_t at = base + (reverse_ ? dim - 1 - k : k) * inner;
        const T next =
            Product ? wrapping_multiply(so_far, data[at]) : wrapping_add(so_far, data[at]);
        out[at] = exclusive_ ? so_far : next;
        so_far = next;
      }
    }
  }

 private:
  bool exclusive_, reverse_;
};

class trilu_kernel final : public kernel {
 public:
  trilu_kernel(bool upper, std::size_t element_size) : upper_(upper), element_size_(element_size) {}

  void run(const run_context& c) const override {
    const value_view& in = c.inputs[0];
    const std::size_t rank = in.shape.size();
    const std::int64_t rows = in.shape[rank - 2];
    const std::int64_t columns = in.shape[rank - 1];
    const std::int64_t given =
        c.inputs.size() > 1 && c.inputs[1].present() ? int_at(c.inputs[1], 0) : 0;
    const std::int64_t k = std::clamp(given, -rows - columns, rows + columns);
    const auto* source = in.as<const std::byte>();
    auto* target = c.outputs[0].as<std::byte>();
    const auto row_bytes = static_cast<std::size_t>(columns) * element_size_;
    for (std::size_t r = 0; r < in.count / static_cast<std::size_t>(columns); ++r) {
      const std::int64_t row = static_cast<std::int64_t>(r) % rows;
      // The upper triangle keeps columns from row + k on, the lower one those up to it.
      const std::int64_t edge = std::clamp<std::int64_t>(row + k + (upper_ ? 0 : 1), 0, columns);
      const std::size_t first = static_cast<std::size_t>(edge) * element_size_;
      std::byte* out = target + r * row_bytes;
      const std::byte* from = source + r * row_bytes;
      if (upper_) {
        std::memset(out, 0, first);
        std::memcpy(out + first, from + first, row_bytes - first);
      } else {
        std::memcpy(out, from, first);
        std::memset(out + first, 0, row_bytes - first);
      }
    }
  }

 private:
  bool upper_;
  std::size_t element_size_;
};

template <bool Product>
std::unique_ptr<kernel> compile_cumulative(const compile_context& c) {
  if (c.input_type(1) != element_type::int64 && c.input_type(1) != element_type::int32) {
    c.invalid("'axis' must be int32 or int64");
  }
  std::unique_ptr<kernel> result;
  const bool exclusive = c.n.attributes.get_int("exclusive", 0) != 0;
  const bool reverse = c.n.attributes.get_int("reverse", 0) != 0;
  dispatch<float, double, std::int32_t, std::int64_t, std::uint32_t, std::uint64_t>(
      c.input_type(0), [&]<class T>(T) {
        result = std::make_unique<cumulative_kernel<T, Product>>(exclusive, reverse);
      });
  if (!result) c.unsupported("inputs of type " + std::string(to_string(c.input_type(0))));
  return result;
}

std::unique_ptr<kernel> compile_trilu(const compile_context& c) {
  if (c.has_input(1) && c.input_type(1) != element_type::int64) c.invalid("'k' must be int64");
  if (const auto& shape = c.input(0).shape; !shape || shape->size() < 2) {
    c.unsupported("an input of unknown rank or of less than two dimensions");
  }
  return std::make_unique<trilu_kernel>(c.n.attributes.get_int("upper", 1) != 0, movable_size(c));
}

}  // namespace

void register_scan(op_registry& registry) {
  registry.add("CumSum", {compile_cumulative<false>}, 11);
  registry.add("CumProd", {compile_cumulative<true>}, 26);
  registry.add("Trilu", {compile_trilu}, 14);
}

}  // namespace mizzen::inference::detail
