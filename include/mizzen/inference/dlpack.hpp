// Tensors of other libraries (torch, CuPy, JAX, NumPy), and ours for them, without a copy, by
// DLPack: https://dmlc.github.io/dlpack. The structs are those of dlpack.h, which this header does
// not need.
#pragma once

#include <mizzen/inference/tensor.hpp>

struct DLManagedTensor;
struct DLManagedTensorVersioned;

namespace mizzen::inference {

// A tensor over the memory of another library, on the host or a GPU ("cuda:N", also pinned and
// managed memory). Takes over what it is given, whose deleter is called when the last of the
// tensor's memory is: on an exception it stays the caller's. Throws error(invalid_argument) for a
// type that a model has not, memory that is not dense and row-major, not aligned for its type, or
// on another kind of device, and error(unimplemented) for a DLPack of another major version than 1.
//
// Work of the other library on the memory must be done, or in a stream that run_options::stream
// names.
tensor from_dlpack(DLManagedTensorVersioned* managed);
tensor from_dlpack(DLManagedTensor* managed);

// Hands a tensor over: whoever takes it calls its deleter once. A view must not outlive what it
// views. Throws error(invalid_argument) for strings and types of fewer than 8 bits, and for the
// form without a version, which cannot say so, if the tensor is read-only.
DLManagedTensorVersioned* to_dlpack(tensor value);
DLManagedTensor* to_unversioned_dlpack(tensor value);

// Calls the deleter of what nobody took. Null is allowed.
void release_dlpack(DLManagedTensorVersioned* managed) noexcept;
void release_dlpack(DLManagedTensor* managed) noexcept;

}  // namespace mizzen::inference
