#include "bindings.hpp"

#include <mizzen/core/error.hpp>

#include <exception>
#include <string>

namespace mizzen::python {
namespace {

// Bytes that are no UTF-8 (a damaged file's field name) must not turn one error into another.
py::object text(const std::string& value) {
  return py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      value.data(), static_cast<Py_ssize_t>(value.size()), "backslashreplace"));
}

void raise(const error& problem) {
  const py::object type = py::module_::import("mizzen._error").attr("Error");
  const py::object exception = type(text(std::string(to_string(problem.code()))),
                                    text(problem.subject()), text(problem.message()));
  if (problem.cause()) {
    const py::object cause =
        py::reinterpret_borrow<py::object>(PyExc_RuntimeError)(text(describe(problem.cause())));
    PyException_SetCause(exception.ptr(), py::object(cause).release().ptr());
  }
  PyErr_SetObject(type.ptr(), exception.ptr());
}

}  // namespace

void bind_errors() {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const error& problem) {
      raise(problem);
    }
  });
}

}  // namespace mizzen::python
