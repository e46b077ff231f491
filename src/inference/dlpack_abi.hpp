// The structs of DLPack 1, as https://dmlc.github.io/dlpack/latest/c_api.html has them.
#pragma once

#include <cstdint>

extern "C" {

struct DLPackVersion {
  std::uint32_t major, minor;
};

struct DLDevice {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: dense and row-major
  std::uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};

struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned* self);
  std::uint64_t flags;
  DLTensor dl_tensor;
};

}  // extern "C"

namespace mizzen::inference::detail {

enum dl_device : std::int32_t { dl_cpu = 1, dl_cuda = 2, dl_cuda_host = 3, dl_cuda_managed = 13 };

enum dl_code : std::uint8_t {
  dl_int = 0,
  dl_uint = 1,
  dl_float = 2,
  dl_bfloat = 4,
  dl_complex = 5,
  dl_bool = 6,
  dl_float8_e4m3fn = 10,
  dl_float8_e4m3fnuz = 11,
  dl_float8_e5m2 = 12,
  dl_float8_e5m2fnuz = 13,
  dl_float8_e8m0fnu = 14,
};

inline constexpr std::uint64_t dl_read_only = 1;
inline constexpr std::uint64_t dl_is_copied = 2;

}  // namespace mizzen::inference::detail
