#include "inference/device/memory_space.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/inference/tensor.hpp>
#include <mizzen/inference/value.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace mizzen::inference {
namespace {

struct type_entry {
  std::string_view name;
  std::size_t bits;
};

// Indexed by the value of element_type.
constexpr std::array<type_entry, 27> types{{
    {"undefined", 0},
    {"float32", 32},
    {"uint8", 8},
    {"int8", 8},
    {"uint16", 16},
    {"int16", 16},
    {"int32", 32},
    {"int64", 64},
    {"string", 0},
    {"bool", 8},
    {"float16", 16},
    {"float64", 64},
    {"uint32", 32},
    {"uint64", 64},
    {"complex64", 64},
    {"complex128", 128},
    {"bfloat16", 16},
    {"float8_e4m3fn", 8},
    {"float8_e4m3fnuz", 8},
    {"float8_e5m2", 8},
    {"float8_e5m2fnuz", 8},
    {"uint4", 4},
    {"int4", 4},
    {"float4_e2m1", 4},
    {"float8_e8m0", 8},
    {"uint2", 2},
    {"int2", 2},
}};

const type_entry& entry_of(element_type type) noexcept {
  const auto index = static_cast<std::size_t>(type);
  return index < types.size() ? types[index] : types[0];
}

std::size_t alignment_of(element_type type) noexcept {
  return std::clamp<std::size_t>(bit_width(type) / 8, 1, 8);
}

// Zeroed, so that a tensor never shows another one's data.
std::shared_ptr<void> allocate(std::size_t size) {
  constexpr std::size_t alignment = 64;
  const std::size_t rounded = checked_add(size, alignment - 1, "tensor") / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, std::max(rounded, alignment));
  if (memory == nullptr) {
    throw error(errc::resource_exhausted, "tensor",
                "no memory for " + std::to_string(size) + " bytes");
  }
  std::memset(memory, 0, std::max(rounded, alignment));
  return {memory, [](void* p) { std::free(p); }};
}

}  // namespace

std::string_view to_string(element_type type) noexcept { return entry_of(type).name; }

std::string_view to_string(value_kind kind) noexcept {
  switch (kind) {
    case value_kind::tensor:
      return "tensor";
    case value_kind::sequence:
      return "sequence";
    case value_kind::optional_tensor:
      return "optional_tensor";
    case value_kind::optional_sequence:
      return "optional_sequence";
  }
  return "?";
}

std::size_t bit_width(element_type type) noexcept { return entry_of(type).bits; }

std::size_t byte_size(element_type type, std::size_t count) {
  const std::size_t bits = bit_width(type);
  if (bits == 0) {
    throw error(errc::invalid_argument, "tensor",
                "elements of type " + std::string(to_string(type)) + " have no fixed size");
  }
  if (bits >= 8) return checked_mul(count, bits / 8, "tensor");
  const std::size_t per_byte = 8 / bits;
  return count / per_byte + (count % per_byte != 0 ? 1 : 0);
}

std::string to_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

tensor::tensor(element_type type, shape_type shape)
    : type_(type), shape_(std::move(shape)), count_(checked_element_count(shape_, "tensor")) {
  if (type == element_type::string) {
    auto strings = std::make_shared<std::vector<std::string>>(count_);
    data_ = strings->data();
    owner_ = std::move(strings);
    return;
  }
  auto memory = allocate(byte_size(type, count_));
  data_ = memory.get();
  owner_ = std::move(memory);
}

tensor tensor::view_memory(element_type type, void* data, std::size_t count, shape_type shape,
                           bool read_only, std::shared_ptr<const void> keep_alive) {
  tensor result;
  result.type_ = type;
  result.shape_ = std::move(shape);
  result.count_ = checked_element_count(result.shape_, "tensor");
  result.check_count(count);
  result.data_ = data;
  result.read_only_ = read_only;
  result.owner_ = std::move(keep_alive);
  return result;
}

tensor tensor::view(element_type type, std::span<std::byte> bytes, shape_type shape,
                    std::shared_ptr<const void> keep_alive) {
  const std::size_t count = checked_element_count(shape, "tensor");
  const std::size_t wanted = byte_size(type, count);
  if (bytes.size() != wanted) {
    throw error(errc::invalid_argument, "tensor",
                std::string(to_string(type)) + to_string(shape) + " takes " +
                    std::to_string(wanted) + " bytes, not " + std::to_string(bytes.size()));
  }
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment_of(type) != 0) {
    throw error(errc::invalid_argument, "tensor",
                "the memory is not aligned for " + std::string(to_string(type)));
  }
  return view_memory(type, bytes.data(), count, std::move(shape), false, std::move(keep_alive));
}

tensor tensor::view(element_type type, std::span<const std::byte> bytes, shape_type shape,
                    std::shared_ptr<const void> keep_alive) {
  auto* memory = const_cast<std::byte*>(bytes.data());
  tensor result = view(type, std::span<std::byte>(memory, bytes.size()), std::move(shape),
                       std::move(keep_alive));
  result.read_only_ = true;
  return result;
}

tensor tensor::make(std::shared_ptr<const detail::memory_space> space, element_type type,
                    shape_type shape) {
  if (space == nullptr) return {type, std::move(shape)};
  tensor result;
  result.type_ = type;
  result.shape_ = std::move(shape);
  result.count_ = checked_element_count(result.shape_, "tensor");
  auto memory = space->allocate(byte_size(type, result.count_), false);
  result.data_ = memory.get();
  result.owner_ = std::move(memory);
  result.space_ = std::move(space);
  return result;
}

tensor tensor::on_device(std::string_view device, element_type type, shape_type shape) {
  auto space = detail::find_memory_space(device);
  if (space == nullptr) return {type, std::move(shape)};
  tensor result;
  result.type_ = type;
  result.shape_ = std::move(shape);
  result.count_ = checked_element_count(result.shape_, "tensor");
  auto memory = space->allocate(byte_size(type, result.count_), true);
  result.data_ = memory.get();
  result.owner_ = std::move(memory);
  result.space_ = std::move(space);
  return result;
}

tensor tensor::device_view(std::string_view device, element_type type, void* memory,
                           shape_type shape, std::shared_ptr<const void> keep_alive) {
  const std::size_t count = checked_element_count(shape, "tensor");
  tensor result = view(type, std::span(static_cast<std::byte*>(memory), byte_size(type, count)),
                       std::move(shape), std::move(keep_alive));
  result.space_ = detail::find_memory_space(device);
  return result;
}

std::string tensor::device() const { return space_ == nullptr ? "cpu" : space_->name(); }

tensor tensor::to_device(std::string_view device, void* stream) const {
  if (type_ == element_type::undefined) return {};
  auto space = detail::find_memory_space(device);
  if (type_ == element_type::string) {
    if (space == nullptr) return clone();
    throw error(errc::invalid_argument, "tensor", "strings cannot be in a device's memory");
  }
  tensor result = make(std::move(space), type_, shape_);
  result.copy_from(*this, stream);
  // Between two tensors of one GPU it is only on its way.
  if (space_ != nullptr && stream != nullptr) space_->wait(stream);
  return result;
}

tensor tensor::to_host(void* stream) const { return to_device("cpu", stream); }

void tensor::copy_from(const tensor& from, void* stream) {
  if (from.type_ != type_ || from.shape_ != shape_) {
    throw error(errc::invalid_argument, "tensor",
                std::string(to_string(from.type_)) + to_string(from.shape_) +
                    " cannot be copied into " + std::string(to_string(type_)) + to_string(shape_));
  }
  check_writable();
  if (type_ == element_type::undefined) return;
  if (type_ == element_type::string) {
    std::ranges::copy(from.data<std::string>(), data<std::string>().begin());
    return;
  }
  detail::memory_space::copy(space_.get(), data_, from.space_.get(), from.data_,
                             byte_size(type_, count_), stream);
}

tensor tensor::clone() const {
  if (space_ != nullptr) return to_device(device());
  if (type_ == element_type::undefined) return {};
  if (type_ == element_type::string) return copy(data<std::string>(), shape_);
  tensor result(type_, shape_);
  result.assign_bytes(data_, bytes().size());
  return result;
}

void tensor::reshape(shape_type shape) {
  const std::size_t count = checked_element_count(shape, "tensor");
  if (count != count_) {
    throw error(errc::invalid_argument, "tensor",
                "shape " + to_string(shape_) + " cannot become " + to_string(shape));
  }
  shape_ = std::move(shape);
}

std::span<const std::byte> tensor::bytes() const {
  if (type_ == element_type::undefined) return {};
  check_on_host();
  return {static_cast<const std::byte*>(data_), byte_size(type_, count_)};
}

std::span<std::byte> tensor::mutable_bytes() {
  if (type_ == element_type::undefined) return {};
  check_writable();
  check_on_host();
  return {static_cast<std::byte*>(data_), byte_size(type_, count_)};
}

void tensor::assign_bytes(const void* from, std::size_t size) {
  if (size != 0) std::memcpy(data_, from, size);
}

void tensor::check_count(std::size_t count) const {
  if (count != count_) {
    throw error(errc::invalid_argument, "tensor",
                "shape " + to_string(shape_) + " has " + std::to_string(count_) +
                    " elements, but " + std::to_string(count) + " values are given");
  }
}

void tensor::check_type(element_type wanted) const {
  if (wanted != type_) {
    throw error(
        errc::invalid_argument, "tensor",
        "it holds " + std::string(to_string(type_)) + ", not " + std::string(to_string(wanted)));
  }
  check_on_host();
}

void tensor::check_on_host() const {
  if (space_ == nullptr) return;
  throw error(errc::failed_precondition, "tensor",
              "its elements are in the memory of " + space_->name() + ": to_host() copies them");
}

void tensor::check_writable() const {
  if (read_only_) {
    throw error(errc::failed_precondition, "tensor", "it is a view on constants: clone() it");
  }
}

}  // namespace mizzen::inference
