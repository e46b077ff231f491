#include "bindings.hpp"

PYBIND11_MODULE(_mizzen, module) {
  module.doc() = "The native part of the package mizzen.";
  mizzen::python::bind_errors();
  auto inference = module.def_submodule("inference");
  mizzen::python::bind_inference(inference);
  auto tracking = module.def_submodule("tracking");
  mizzen::python::bind_tracking(tracking);
}
