// Tensors as the Open Inference Protocol names and carries them.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::serving {

// Source: Open Inference Protocol, "Tensor Data Types"; BF16 as in Triton.
enum class datatype {
  boolean,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  fp16,
  bf16,
  fp32,
  fp64,
  bytes
};

// "BOOL", "UINT8" … "BYTES".
std::string_view to_string(datatype type) noexcept;

// The reverse; empty for an unknown name. Case matters.
std::optional<datatype> parse_datatype(std::string_view name) noexcept;

// Bytes of one element; 0 for bytes, whose elements differ.
std::size_t element_size(datatype type) noexcept;

// The datatype that holds values of a C++ type.
template <typename T>
constexpr datatype datatype_of() {
  if constexpr (std::same_as<T, bool>)
    return datatype::boolean;
  else if constexpr (std::same_as<T, std::uint8_t>)
    return datatype::uint8;
  else if constexpr (std::same_as<T, std::uint16_t>)
    return datatype::uint16;
  else if constexpr (std::same_as<T, std::uint32_t>)
    return datatype::uint32;
  else if constexpr (std::same_as<T, std::uint64_t>)
    return datatype::uint64;
  else if constexpr (std::same_as<T, std::int8_t>)
    return datatype::int8;
  else if constexpr (std::same_as<T, std::int16_t>)
    return datatype::int16;
  else if constexpr (std::same_as<T, std::int32_t>)
    return datatype::int32;
  else if constexpr (std::same_as<T, std::int64_t>)
    return datatype::int64;
  else if constexpr (std::same_as<T, float>)
    return datatype::fp32;
  else {
    static_assert(std::same_as<T, double>, "no tensor datatype for this type");
    return datatype::fp64;
  }
}

// A named tensor. Invariant kept by everything in this module: the number of elements that shape
// says is the number that is there.
struct tensor {
  std::string name = {};
  serving::datatype datatype = datatype::fp32;
  std::vector<std::int64_t> shape = {};
  // Elements in row-major order and native (little-endian) byte order; empty for bytes.
  std::vector<std::byte> data = {};
  // The elements of a tensor of datatype bytes.
  std::vector<std::string> strings = {};

  // Copies values. Throws error(invalid_argument) naming the tensor if their number is not the
  // shape's.
  template <typename T>
  static tensor of(std::string name, std::vector<std::int64_t> shape, std::span<const T> values) {
    return from_bytes(std::move(name), datatype_of<T>(), std::move(shape), std::as_bytes(values));
  }
  template <typename T>
  static tensor of(std::string name, std::vector<std::int64_t> shape,
                   const std::vector<T>& values) {
    return of(std::move(name), std::move(shape), std::span<const T>(values));
  }
  static tensor of_strings(std::string name, std::vector<std::int64_t> shape,
                           std::vector<std::string> values);
  static tensor from_bytes(std::string name, serving::datatype type,
                           std::vector<std::int64_t> shape, std::span<const std::byte> values);

  // The elements as T. Throws error(invalid_argument) naming the tensor if it is of another
  // datatype. Valid as long as data is not changed.
  template <typename T>
  std::span<const T> values() const {
    check_datatype(datatype_of<T>());
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }

  // Number of elements that shape says.
  std::size_t element_count() const;

 private:
  void check_datatype(serving::datatype wanted) const;
};

}  // namespace mizzen::serving
