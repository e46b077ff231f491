// What the files of the extension module share.
#pragma once

#include <mizzen/inference/session.hpp>
#include <mizzen/inference/tensor.hpp>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string_view>

namespace mizzen::python {

namespace py = pybind11;

// mizzen::error becomes mizzen.Error, with code, subject and message.
void bind_errors();
void bind_inference(py::module_& module);
void bind_tracking(py::module_& module);

// DeviceTensor: a tensor that stays where it is, and the stream whose work makes it (null: it is
// made).
struct device_tensor {
  std::shared_ptr<tensor> value;
  void* stream = nullptr;
};
void bind_device_tensor(py::module_& module);

// Whether an object says by DLPack that it is in CUDA's memory.
bool is_on_gpu(const py::handle& object);

// A tensor over the memory of such an object, good for work that comes after what is in the stream.
tensor from_gpu(const py::handle& object, const void* stream, std::string_view subject);

// A tensor over a NumPy array.
struct input_tensor {
  tensor value;
  py::array memory;  // what the tensor views; empty when it owns its elements
};

// Views the array's memory where it is contiguous, aligned and in the machine's byte order, else
// copies it. What is no array is converted to the expected type first. subject names the input in
// errors. Throws error(invalid_argument) for a type that no tensor has.
input_tensor to_tensor(const py::handle& object, inference::element_type expected,
                       std::string_view subject);

// A view on the array's memory for a run to write into. Throws error(invalid_argument) naming what
// keeps it from that: no array, not contiguous, read-only, a type that tensors hold otherwise.
tensor to_target(const py::handle& object, std::string_view subject);

// A NumPy array that takes over the tensor's memory; strings become an array of objects (str). The
// types that NumPy lacks (bfloat16, float8) come from the package ml_dtypes; without it, and for
// packed types, error(unimplemented).
py::object to_array(tensor value, std::string_view subject);

// Ends a session without the GIL.
struct session_deleter {
  void operator()(inference::session* s) const noexcept;
};

// The interpreter ends after the runs that run_async() has begun. Called once.
void wait_for_runs_at_exit();

// Session.run_async(): an asyncio future of the running loop. self is a Session.
py::object run_async(const py::object& self, const py::dict& inputs);

}  // namespace mizzen::python
