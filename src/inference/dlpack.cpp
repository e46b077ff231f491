#include "inference/device/memory_space.hpp"
#include "inference/dlpack_abi.hpp"

#include <mizzen/core/checked.hpp>
#include <mizzen/inference/dlpack.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace mizzen::inference {
namespace {

using namespace detail;

struct type_pair {
  element_type type;
  std::uint8_t code, bits;
};
constexpr std::array types = {
    type_pair{element_type::float32, dl_float, 32},
    type_pair{element_type::uint8, dl_uint, 8},
    type_pair{element_type::int8, dl_int, 8},
    type_pair{element_type::uint16, dl_uint, 16},
    type_pair{element_type::int16, dl_int, 16},
    type_pair{element_type::int32, dl_int, 32},
    type_pair{element_type::int64, dl_int, 64},
    type_pair{element_type::boolean, dl_bool, 8},
    type_pair{element_type::float16, dl_float, 16},
    type_pair{element_type::float64, dl_float, 64},
    type_pair{element_type::uint32, dl_uint, 32},
    type_pair{element_type::uint64, dl_uint, 64},
    type_pair{element_type::complex64, dl_complex, 64},
    type_pair{element_type::complex128, dl_complex, 128},
    type_pair{element_type::bfloat16, dl_bfloat, 16},
    type_pair{element_type::float8_e4m3fn, dl_float8_e4m3fn, 8},
    type_pair{element_type::float8_e4m3fnuz, dl_float8_e4m3fnuz, 8},
    type_pair{element_type::float8_e5m2, dl_float8_e5m2, 8},
    type_pair{element_type::float8_e5m2fnuz, dl_float8_e5m2fnuz, 8},
    type_pair{element_type::float8_e8m0, dl_float8_e8m0fnu, 8},
};

[[noreturn]] void refuse(const std::string& why) {
  throw error(errc::invalid_argument, "DLPack tensor", why);
}

element_type type_of(const DLDataType& t) {
  for (const type_pair& p : types) {
    if (t.lanes == 1 && t.code == p.code && t.bits == p.bits) return p.type;
  }
  refuse("a model has no elements of type code " + std::to_string(t.code) + " with " +
         std::to_string(t.bits) + " bits and " + std::to_string(t.lanes) + " lanes");
}

DLDataType type_of(element_type type) {
  for (const type_pair& p : types) {
    if (type == p.type) return {p.code, p.bits, 1};
  }
  refuse("DLPack has no elements of type " + std::string(to_string(type)));
}

std::string device_of(const DLDevice& d) {
  switch (d.device_type) {
    case dl_cpu:
    case dl_cuda_host:
      return "cpu";
    case dl_cuda:
    case dl_cuda_managed:
      return "cuda:" + std::to_string(d.device_id);
    default:
      refuse("it is on a device of type " + std::to_string(d.device_type) +
             ": only those on a CPU (1) and in CUDA's memory (2, 3, 13) can be used");
  }
}

void check_dense(const DLTensor& t, const shape_type& shape) {
  if (t.strides == nullptr) return;
  std::int64_t dense = 1;
  bool right = true;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) return;  // nothing lies anywhere
    right = right && (shape[i] == 1 || t.strides[i] == dense);
    dense *= shape[i];
  }
  if (right) return;
  refuse("its strides " + to_string(std::span(t.strides, shape.size())) + " for shape " +
         to_string(shape) + " are not dense and row-major: make it contiguous");
}

tensor view_of(const DLTensor& t, bool read_only, std::shared_ptr<const void> keep_alive) {
  const element_type type = type_of(t.dtype);
  if (t.ndim < 0 || (t.ndim > 0 && t.shape == nullptr)) refuse("it has no shape");
  shape_type shape(t.shape, t.shape + t.ndim);
  const std::size_t bytes = byte_size(type, checked_element_count(shape, "DLPack tensor"));
  check_dense(t, shape);
  const std::string device = device_of(t.device);
  auto* const data = static_cast<std::byte*>(t.data) + t.byte_offset;
  if (device != "cpu") {
    tensor there = tensor::device_view(device, type, data, std::move(shape), std::move(keep_alive));
    return read_only ? memory_space::read_only(std::move(there)) : std::move(there);
  }
  if (read_only) {
    return tensor::view(type, std::span<const std::byte>(data, bytes), std::move(shape),
                        std::move(keep_alive));
  }
  return tensor::view(type, std::span(data, bytes), std::move(shape), std::move(keep_alive));
}

// Nothing is taken over before all that can throw is done: the deleter is set free last.
template <class Managed>
tensor take(Managed* managed, bool read_only) {
  struct owner {
    Managed* held = nullptr;
    ~owner() { release_dlpack(held); }
  };
  auto kept = std::make_shared<owner>();
  tensor result = view_of(managed->dl_tensor, read_only, kept);
  kept->held = managed;
  return result;
}

// The struct that is handed over, with what it points to.
template <class Managed>
struct given {
  explicit given(tensor&& t) : value(std::move(t)), shape(value.shape()) {
    strides.resize(shape.size());
    std::int64_t dense = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      strides[i] = dense;
      dense *= shape[i];
    }
    managed.manager_ctx = this;
    managed.deleter = [](Managed* self) { delete static_cast<given*>(self->manager_ctx); };
    DLTensor& to = managed.dl_tensor;
    to.data = const_cast<void*>(value.address());
    to.device = {dl_cpu, 0};
    if (!value.on_host()) {
      to.device = {dl_cuda, static_cast<std::int32_t>(cuda_index(value.device()))};
    }
    to.ndim = narrow<std::int32_t>(shape.size(), "dimensions");
    to.dtype = type_of(value.type());
    to.shape = shape.data();
    to.strides = strides.data();
    to.byte_offset = 0;
  }

  Managed managed{};
  tensor value;
  shape_type shape, strides;
};

}  // namespace

tensor from_dlpack(DLManagedTensorVersioned* managed) {
  if (managed->version.major != 1) {
    throw error(errc::unimplemented, "DLPack tensor",
                "it has version " + std::to_string(managed->version.major) + "." +
                    std::to_string(managed->version.minor) + ", and only 1 is known");
  }
  return take(managed, (managed->flags & dl_read_only) != 0);
}

tensor from_dlpack(DLManagedTensor* managed) { return take(managed, false); }

DLManagedTensorVersioned* to_dlpack(tensor value) {
  const bool read_only = value.read_only();
  auto made = std::make_unique<given<DLManagedTensorVersioned>>(std::move(value));
  made->managed.version = {1, 0};
  made->managed.flags = read_only ? dl_read_only : 0;
  return &made.release()->managed;
}

DLManagedTensor* to_unversioned_dlpack(tensor value) {
  if (value.read_only()) refuse("only DLPack 1 can say that a tensor is read-only");
  return &std::make_unique<given<DLManagedTensor>>(std::move(value)).release()->managed;
}

void release_dlpack(DLManagedTensorVersioned* managed) noexcept {
  if (managed != nullptr && managed->deleter != nullptr) managed->deleter(managed);
}

void release_dlpack(DLManagedTensor* managed) noexcept {
  if (managed != nullptr && managed->deleter != nullptr) managed->deleter(managed);
}

}  // namespace mizzen::inference
