// Tensors in a GPU's memory, between Python libraries by DLPack's protocol:
// https://data-apis.org/array-api/latest/design_topics/data_interchange.html
#include "bindings.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/inference/device.hpp>
#include <mizzen/inference/dlpack.hpp>

#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace mizzen::python {
namespace {

constexpr const char* plain_name = "dltensor";
constexpr const char* versioned_name = "dltensor_versioned";

constexpr int dl_cpu = 1;
constexpr int dl_cuda = 2;
constexpr int dl_cuda_managed = 13;

template <class Managed>
py::capsule in_capsule(Managed* managed, const char* name) {
  // Whoever takes it renames the capsule; else it goes with it.
  PyObject* const made = PyCapsule_New(managed, name, [](PyObject* capsule) {
    const char* const now = PyCapsule_GetName(capsule);
    if (now == nullptr || std::string_view(now).starts_with("used_")) return;
    inference::release_dlpack(static_cast<Managed*>(PyCapsule_GetPointer(capsule, now)));
  });
  if (made == nullptr) {
    inference::release_dlpack(managed);
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::capsule>(made);
}

// The tensor in a capsule, which is then used up.
tensor taken(const py::object& capsule, const std::string& subject) {
  PyObject* const c = capsule.ptr();
  try {
    if (PyCapsule_IsValid(c, versioned_name) != 0) {
      tensor t = inference::from_dlpack(
          static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(c, versioned_name)));
      PyCapsule_SetName(c, "used_dltensor_versioned");
      return t;
    }
    if (PyCapsule_IsValid(c, plain_name) != 0) {
      tensor t = inference::from_dlpack(
          static_cast<DLManagedTensor*>(PyCapsule_GetPointer(c, plain_name)));
      PyCapsule_SetName(c, "used_dltensor");
      return t;
    }
  } catch (const error& e) {
    throw error(e.code(), subject, e.message());
  }
  throw error(errc::invalid_argument, subject, "its __dlpack__() gives no DLPack capsule");
}

std::pair<int, int> device_of(const device_tensor& self) {
  const std::string name = self.value->device();
  const auto colon = name.find(':');
  if (colon == std::string::npos) return {dl_cpu, 0};
  return {dl_cuda, std::stoi(name.substr(colon + 1))};
}

tensor view_of(const device_tensor& self) {
  const tensor& t = *self.value;
  return tensor::device_view(t.device(), t.type(), const_cast<void*>(t.address()), t.shape(),
                             self.value);
}

py::object to_capsule(const device_tensor& self, const std::optional<std::int64_t>& stream,
                      const std::optional<std::pair<int, int>>& version,
                      const std::optional<std::pair<int, int>>& wanted_device,
                      const std::optional<bool>& copy) {
  const auto here = device_of(self);
  const bool to_host = wanted_device && wanted_device->first == dl_cpu && here.first != dl_cpu;
  const bool elsewhere = wanted_device && *wanted_device != here;
  if ((elsewhere && !to_host) || (to_host && copy && !*copy)) {
    throw py::buffer_error("the tensor is on " + self.value->device() +
                           ", and is given there, or as a copy to the host");
  }
  tensor t;
  {
    const py::gil_scoped_release release;
    // The work that makes it is done, but for a stream that the caller of run() named.
    const bool same = stream && *stream == reinterpret_cast<std::intptr_t>(self.stream);
    const bool no_wait = stream && *stream == -1;
    if (self.stream != nullptr && (to_host || (!same && !no_wait))) {
      inference::synchronize(self.value->device(), self.stream);
    }
    t = to_host ? self.value->to_host() : copy && *copy ? self.value->clone() : view_of(self);
  }
  if (version && version->first >= 1) {
    return in_capsule(inference::to_dlpack(std::move(t)), versioned_name);
  }
  return in_capsule(inference::to_unversioned_dlpack(std::move(t)), plain_name);
}

}  // namespace

bool is_on_gpu(const py::handle& object) {
  if (py::isinstance<device_tensor>(object)) return true;
  if (py::isinstance<py::array>(object) || !py::hasattr(object, "__dlpack_device__")) return false;
  const auto device = object.attr("__dlpack_device__")().cast<std::tuple<int, int>>();
  const int type = std::get<0>(device);
  return type == dl_cuda || type == dl_cuda_managed;
}

tensor from_gpu(const py::handle& object, const void* stream, std::string_view subject) {
  if (py::isinstance<device_tensor>(object)) return view_of(object.cast<const device_tensor&>());
  const py::int_ number(reinterpret_cast<std::intptr_t>(stream));
  const py::object get = object.attr("__dlpack__");
  py::object capsule;
  try {
    capsule = get(py::arg("stream") = number, py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& e) {
    // Libraries from before DLPack 1 do not know the argument.
    if (!e.matches(PyExc_TypeError)) throw;
    capsule = get(py::arg("stream") = number);
  }
  return taken(capsule, std::string(subject));
}

void bind_device_tensor(py::module_& module) {
  py::class_<device_tensor>(module, "DeviceTensor",
                            "A tensor where a session left it, in a GPU's memory.")
      .def_property_readonly(
          "dtype",
          [](const device_tensor& self) { return std::string(to_string(self.value->type())); })
      .def_property_readonly(
          "shape",
          [](const device_tensor& self) { return py::tuple(py::cast(self.value->shape())); })
      .def_property_readonly("device",
                             [](const device_tensor& self) { return self.value->device(); })
      .def("numpy",
           [](const device_tensor& self) {
             tensor host;
             {
               const py::gil_scoped_release release;
               host = self.value->to_host(self.value->on_host() ? nullptr : self.stream);
             }
             return to_array(std::move(host), "tensor");
           })
      .def("__dlpack__", &to_capsule, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack_device__", &device_of)
      .def("__repr__", [](const device_tensor& self) {
        return "<DeviceTensor " + std::string(to_string(self.value->type())) +
               inference::to_string(self.value->shape()) + " on " + self.value->device() + ">";
      });
  module.def(
      "to_device",
      [](const py::object& array, const std::string& device) {
        const input_tensor from = to_tensor(array, inference::element_type::float32, "array");
        const py::gil_scoped_release release;
        return device_tensor{std::make_shared<tensor>(from.value.to_device(device)), nullptr};
      },
      py::arg("array"), py::arg("device"));
}

}  // namespace mizzen::python
