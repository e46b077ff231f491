// Tensors: what goes into a model and what comes out of it.
#pragma once

#include <mizzen/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace mizzen::inference {

namespace detail {
class memory_space;
}

// Type of a tensor's elements; the values are those of ONNX TensorProto.DataType.
enum class element_type : std::int32_t {
  undefined = 0,
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  string = 8,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13,
  complex64 = 14,
  complex128 = 15,
  bfloat16 = 16,
  float8_e4m3fn = 17,
  float8_e4m3fnuz = 18,
  float8_e5m2 = 19,
  float8_e5m2fnuz = 20,
  uint4 = 21,
  int4 = 22,
  float4_e2m1 = 23,
  float8_e8m0 = 24,
  uint2 = 25,
  int2 = 26,
};

// Lower-case name: "float32", "int64", "bool", "string"; "undefined" for a value outside the list.
std::string_view to_string(element_type type) noexcept;

// Bits of one element; 0 for string and undefined.
std::size_t bit_width(element_type type) noexcept;

// Bytes of a tensor of count elements, 4- and 2-bit types packed as ONNX packs them. Throws
// error(out_of_range) on overflow and error(invalid_argument) for string and undefined.
std::size_t byte_size(element_type type, std::size_t count);

// Storage of the half-width floats; conversions are the Cast operator's business.
struct float16 {
  std::uint16_t bits = 0;
  friend bool operator==(float16, float16) = default;
};
struct bfloat16 {
  std::uint16_t bits = 0;
  friend bool operator==(bfloat16, bfloat16) = default;
};

// The element type of a C++ type; undefined for types that have none.
template <class T>
constexpr element_type element_type_of() noexcept {
  using U = std::remove_cv_t<T>;
  if constexpr (std::same_as<U, float>) return element_type::float32;
  if constexpr (std::same_as<U, double>) return element_type::float64;
  if constexpr (std::same_as<U, bool>) return element_type::boolean;
  if constexpr (std::same_as<U, std::string>) return element_type::string;
  if constexpr (std::same_as<U, float16>) return element_type::float16;
  if constexpr (std::same_as<U, bfloat16>) return element_type::bfloat16;
  if constexpr (std::integral<U> && !std::same_as<U, bool>) {
    constexpr bool is_signed = std::signed_integral<U>;
    if constexpr (sizeof(U) == 1) return is_signed ? element_type::int8 : element_type::uint8;
    if constexpr (sizeof(U) == 2) return is_signed ? element_type::int16 : element_type::uint16;
    if constexpr (sizeof(U) == 4) return is_signed ? element_type::int32 : element_type::uint32;
    if constexpr (sizeof(U) == 8) return is_signed ? element_type::int64 : element_type::uint64;
  }
  return element_type::undefined;
}

// A C++ type that a tensor can hold.
template <class T>
concept tensor_element = element_type_of<T>() != element_type::undefined;

// Dimensions of a tensor, outermost first; empty for a scalar.
using shape_type = std::vector<std::int64_t>;

// "[1, 3, 224, 224]".
std::string to_string(std::span<const std::int64_t> shape);

// A dense row-major array with a type and a shape. It owns its memory (64-byte aligned), or is a
// view on memory that the caller keeps alive. Move-only, because copies are expensive: say clone().
//
//   auto pixels = mizzen::tensor::copy(values, {1, 3, 224, 224});    // from any contiguous range
//   for (float p : outputs.at("scores").data<float>()) …
//
// Its memory is the host's, or that of a GPU: data() and bytes() are then
// error(failed_precondition), and to_host() copies it. Sessions take and fill such tensors where
// they are; see run_options::stream.
//
// Distinct tensors may be used from distinct threads; one tensor is as thread safe as a
// std::vector.
class tensor {
 public:
  // Undefined type, no elements.
  tensor() noexcept = default;

  // Owns zeroed memory (empty strings for element_type::string). Throws error(invalid_argument) for
  // a negative dimension or an undefined type, error(out_of_range) if the size overflows,
  // error(resource_exhausted) if there is no memory.
  tensor(element_type type, shape_type shape);

  tensor(tensor&&) noexcept = default;
  tensor& operator=(tensor&&) noexcept = default;

  // Copies the values. Throws error(invalid_argument) if their number is not that of the shape.
  template <tensor_element T>
  static tensor copy(std::span<const T> values, shape_type shape) {
    tensor result(element_type_of<T>(), std::move(shape));
    result.check_count(values.size());
    if constexpr (std::same_as<T, std::string>) {
      for (std::size_t i = 0; i < values.size(); ++i) result.data<T>()[i] = values[i];
    } else {
      result.assign_bytes(values.data(), values.size_bytes());
    }
    return result;
  }
  template <std::ranges::contiguous_range R>
    requires tensor_element<std::ranges::range_value_t<R>>
  static tensor copy(const R& values, shape_type shape) {
    using T = std::ranges::range_value_t<R>;
    return copy(std::span<const T>(std::ranges::data(values), std::ranges::size(values)),
                std::move(shape));
  }
  template <tensor_element T>
  static tensor copy(std::initializer_list<T> values, shape_type shape) {
    return copy(std::span<const T>(values.begin(), values.size()), std::move(shape));
  }

  // A tensor without dimensions.
  template <tensor_element T>
  static tensor scalar(const T& value) {
    return copy(std::span<const T>(&value, 1), {});
  }

  // Views the caller's memory, which must outlive the tensor. A view on constants is read-only.
  // Throws error(invalid_argument) if the number of values is not that of the shape.
  template <class T>
    requires tensor_element<std::remove_const_t<T>>
  static tensor view(std::span<T> values, shape_type shape) {
    return view_memory(element_type_of<T>(), const_cast<std::remove_const_t<T>*>(values.data()),
                       values.size(), std::move(shape), std::is_const_v<T>, nullptr);
  }

  // As above for raw bytes of any type but string; keep_alive, where given, is held as long as the
  // tensor lives (a Python buffer, a mapped file). Throws also if the bytes are not exactly those
  // of the shape, or not aligned for their type.
  static tensor view(element_type type, std::span<std::byte> bytes, shape_type shape,
                     std::shared_ptr<const void> keep_alive = nullptr);
  static tensor view(element_type type, std::span<const std::byte> bytes, shape_type shape,
                     std::shared_ptr<const void> keep_alive = nullptr);

  // Owns zeroed memory of a device, "cuda:1" ("cpu": of the host), aligned to 256 bytes. When it is
  // destroyed, work under way on it is waited for. Throws as the constructor does, and what
  // session::load() throws for a device that is not there.
  static tensor on_device(std::string_view device, element_type type, shape_type shape);

  // Views memory of a device, dense, row-major and aligned for the type, which must outlive the
  // tensor; keep_alive, where given, is held as long as the tensor lives.
  static tensor device_view(std::string_view device, element_type type, void* memory,
                            shape_type shape, std::shared_ptr<const void> keep_alive = nullptr);

  // "cpu", "cuda:0".
  std::string device() const;
  bool on_host() const noexcept { return space_ == nullptr; }

  // A copy in the memory of the device, or of the host. stream: a CUstream or cudaStream_t of the
  // tensor's or the wanted GPU, after whose work so far it is copied. When they return, the copy is
  // there.
  tensor to_device(std::string_view device, void* stream = nullptr) const;
  tensor to_host(void* stream = nullptr) const;

  // Copies the elements of a tensor of the same type and shape, wherever the two are. Between
  // tensors of one GPU and with a stream, the copy is only put into the stream: both must live
  // until it is done. Throws error(invalid_argument) where type or shape differ.
  void copy_from(const tensor& from, void* stream = nullptr);

  // Where the elements are: an address in the memory of device(). Null for strings.
  const void* address() const noexcept { return type_ == element_type::string ? nullptr : data_; }

  // A copy of its own memory, on the same device.
  tensor clone() const;

  // Gives the same elements another shape. Throws error(invalid_argument) if the counts differ.
  void reshape(shape_type shape);

  element_type type() const noexcept { return type_; }
  const shape_type& shape() const noexcept { return shape_; }
  std::size_t rank() const noexcept { return shape_.size(); }

  // Number of elements: the product of the shape.
  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  bool read_only() const noexcept { return read_only_; }

  // The elements. Throws error(invalid_argument) if T is not the tensor's type,
  // error(failed_precondition) if they are not in the host's memory, and for the mutable form if
  // the tensor is read-only.
  template <tensor_element T>
  std::span<const T> data() const {
    check_type(element_type_of<T>());
    return {static_cast<const T*>(data_), count_};
  }
  template <tensor_element T>
  std::span<T> data() {
    check_type(element_type_of<T>());
    check_writable();
    return {static_cast<T*>(data_), count_};
  }

  // The memory of the elements. Throws error(invalid_argument) for strings, and
  // error(failed_precondition) if it is not the host's.
  std::span<const std::byte> bytes() const;
  std::span<std::byte> mutable_bytes();

 private:
  static tensor view_memory(element_type type, void* data, std::size_t count, shape_type shape,
                            bool read_only, std::shared_ptr<const void> keep_alive);
  void assign_bytes(const void* from, std::size_t size);
  void check_count(std::size_t count) const;
  void check_type(element_type wanted) const;
  void check_writable() const;
  void check_on_host() const;
  static tensor make(std::shared_ptr<const detail::memory_space> space, element_type type,
                     shape_type shape);

  element_type type_ = element_type::undefined;
  bool read_only_ = false;
  shape_type shape_;
  std::size_t count_ = 0;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const detail::memory_space> space_;  // null: the host's
  friend class detail::memory_space;
};

}  // namespace mizzen::inference

namespace mizzen {
using inference::tensor;
}  // namespace mizzen
