#include "bindings.hpp"

#include <mizzen/inference.hpp>

#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mizzen::python {
namespace {

using inference::session;
using inference::value_info;

constexpr std::array<std::string_view, 3> arithmetic_names = {"float32", "tf32", "float16"};

inference::gpu_options make_gpu_options(const std::string& math,
                                        std::optional<std::filesystem::path> cache) {
  const auto at = std::ranges::find(arithmetic_names, math);
  if (at == arithmetic_names.end()) {
    throw py::value_error("math: '" + math + "' is not known: use 'float32', 'tf32' or 'float16'");
  }
  return {static_cast<inference::gpu_options::arithmetic>(at - arithmetic_names.begin()),
          std::move(cache)};
}

session load(const py::object& model, const std::string& device, unsigned threads,
             std::optional<std::size_t> memory_limit, bool optimize,
             std::function<void(std::string_view, const std::string&)> on_graph,
             std::shared_ptr<inference::weight_cache> weights, bool map_weights,
             const std::string& inference_precision,
             const std::map<std::string, std::vector<std::int64_t>>& shape_buckets,
             unsigned async_runs, std::size_t queued_runs, const inference::gpu_options& gpu) {
  inference::session_options options;
  if (inference_precision == "bfloat16") {
    options.inference_precision = inference::element_type::bfloat16;
  } else if (inference_precision != "float32") {
    throw py::value_error("inference_precision: '" + inference_precision +
                          "' is not supported: use 'float32' or 'bfloat16'");
  }
  options.device = device;
  options.threads = threads;
  options.optimize = optimize;
  options.on_graph = std::move(on_graph);
  options.weights = std::move(weights);
  options.map_weights = map_weights;
  options.gpu = gpu;
  options.shape_buckets.insert(shape_buckets.begin(), shape_buckets.end());
  options.async_runs = async_runs;
  options.queued_runs = queued_runs;
  if (memory_limit) options.memory_limit = *memory_limit;
  if (PyObject_CheckBuffer(model.ptr()) != 0) {
    Py_buffer view;
    if (PyObject_GetBuffer(model.ptr(), &view, PyBUF_SIMPLE) != 0) throw py::error_already_set();
    const std::unique_ptr<Py_buffer, void (*)(Py_buffer*)> owner(&view, &PyBuffer_Release);
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(view.buf),
                                           static_cast<std::size_t>(view.len));
    const py::gil_scoped_release release;
    return session::load(bytes, options);
  }
  const auto path = model.cast<std::filesystem::path>();
  const py::gil_scoped_release release;
  return session::load(path, options);
}

py::object shape_of(const value_info& info) {
  if (!info.shape) return py::none();
  py::tuple shape(info.shape->size());
  for (std::size_t i = 0; i < info.shape->size(); ++i) {
    const auto& dimension = (*info.shape)[i];
    if (dimension.fixed()) {
      shape[i] = dimension.value;
    } else if (dimension.symbol.empty()) {
      shape[i] = py::none();
    } else {
      shape[i] = dimension.symbol;
    }
  }
  return shape;
}

// What the tensors of a call view must live until it ends.
using memory_list = std::vector<py::array>;

tensor to_kept_tensor(const py::handle& object, inference::element_type expected,
                      const std::string& subject, memory_list& memory) {
  input_tensor made = to_tensor(object, expected, subject);
  memory.push_back(std::move(made.memory));
  return std::move(made.value);
}

// None is an optional without its element, a list or tuple is a sequence where the model takes one.
inference::any_value to_value(const py::handle& object, const value_info& info,
                              const std::string& subject, memory_list& memory) {
  using inference::value_kind;
  if (object.is_none()) return std::monostate();
  const bool sequence =
      info.kind == value_kind::sequence || info.kind == value_kind::optional_sequence;
  if (!sequence) return to_kept_tensor(object, info.type, subject, memory);
  inference::tensor_sequence list;
  for (const auto element : py::reinterpret_borrow<py::iterable>(object)) {
    list.push_back(to_kept_tensor(element, info.type,
                                  subject + "[" + std::to_string(list.size()) + "]", memory));
  }
  return list;
}

py::object to_object(inference::any_value value, const std::string& subject) {
  if (auto* one = std::get_if<tensor>(&value)) return to_array(std::move(*one), subject);
  if (auto* many = std::get_if<inference::tensor_sequence>(&value)) {
    py::list list;
    for (tensor& each : *many) list.append(to_array(std::move(each), subject));
    return list;
  }
  return py::none();
}

bool only_tensors(const session& self) {
  const auto is_tensor = [](const value_info& info) {
    return info.kind == inference::value_kind::tensor;
  };
  return std::ranges::all_of(self.inputs(), is_tensor) &&
         std::ranges::all_of(self.outputs(), is_tensor);
}

std::string subject_of(const std::string& name) { return "inputs['" + name + "']"; }

py::dict run_values(const session& self, const py::dict& inputs,
                    const std::optional<std::vector<std::string>>& wanted,
                    const inference::run_options& options) {
  memory_list memory;
  inference::value_map given;
  for (const auto& [key, object] : inputs) {
    const auto name = key.cast<std::string>();
    value_info info;
    for (const auto& each : self.inputs()) {
      if (each.name == name) info = each;
    }
    given.emplace(name, to_value(object, info, subject_of(name), memory));
  }
  inference::value_map made;
  {
    const py::gil_scoped_release release;
    made = self.run_values(given, options);
  }
  std::vector<std::string> names;
  for (const auto& info : self.outputs()) names.push_back(info.name);
  py::dict answer;
  for (const std::string& name : wanted ? *wanted : names) {
    const auto found = made.find(name);
    if (found == made.end()) {
      throw error(errc::invalid_argument, "output '" + name + "'", "the model has no such output");
    }
    answer[py::str(name)] = to_object(std::move(found->second), "outputs['" + name + "']");
  }
  return answer;
}

// CUDA's legacy default stream, which others wait for by themselves.
void* const default_stream = reinterpret_cast<void*>(std::uintptr_t{1});

// outputs: None for all, names, or {name: array to write into}. stream: where one is given, the
// call does not wait for what is only on the GPU.
py::dict run(const session& self, const py::dict& inputs, const py::object& outputs,
             inference::profile* profile, bool outputs_on_device,
             std::optional<std::uintptr_t> stream) {
  inference::run_options options;
  options.profile = profile;
  options.outputs_on_device = outputs_on_device;
  options.stream = stream ? reinterpret_cast<void*>(*stream) : nullptr;
  void* const order = options.stream != nullptr ? options.stream : default_stream;
  std::string gpu;  // that is waited for in the end
  const auto use_gpu = [&](const tensor& t) {
    if (stream || t.on_host()) return;
    options.stream = order;
    gpu = t.device();
  };
  std::optional<std::vector<std::string>> wanted;
  const bool given = py::isinstance<py::dict>(outputs);
  if (given) {
    wanted.emplace();
    for (const auto& [key, array] : outputs.cast<py::dict>()) {
      wanted->push_back(key.cast<std::string>());
    }
  } else if (!outputs.is_none()) {
    wanted = outputs.cast<std::vector<std::string>>();
  }
  if (!only_tensors(self)) {
    if (given) {
      throw error(errc::failed_precondition, "outputs",
                  "a model with sequences or optionals makes its outputs: give names");
    }
    return run_values(self, inputs, wanted, options);
  }
  std::vector<std::string> names;
  std::vector<input_tensor> tensors;
  std::vector<inference::named_input> named_inputs;
  names.reserve(inputs.size());
  tensors.reserve(inputs.size());
  named_inputs.reserve(inputs.size());
  for (const auto& [key, value] : inputs) {
    names.push_back(key.cast<std::string>());
    auto expected = inference::element_type::float32;
    for (const auto& info : self.inputs()) {
      if (info.name == names.back()) expected = info.type;
    }
    if (is_on_gpu(value)) {
      tensors.push_back({from_gpu(value, order, subject_of(names.back())), py::array()});
      use_gpu(tensors.back().value);
    } else {
      tensors.push_back(to_tensor(value, expected, subject_of(names.back())));
    }
    named_inputs.emplace_back(names.back(), tensors.back().value);
  }

  std::vector<std::string> output_names;
  if (wanted) {
    output_names = *wanted;
  } else {
    for (const auto& info : self.outputs()) output_names.push_back(info.name);
  }
  std::vector<tensor> results(output_names.size());
  std::vector<inference::named_output> named_outputs;
  named_outputs.reserve(output_names.size());
  const auto output_subject = [&](std::size_t i) { return "outputs['" + output_names[i] + "']"; };
  for (std::size_t i = 0; i < output_names.size(); ++i) {
    if (given) {
      const py::object target = outputs[py::str(output_names[i])];
      results[i] = is_on_gpu(target) ? from_gpu(target, order, output_subject(i))
                                     : to_target(target, output_subject(i));
      use_gpu(results[i]);
    }
    named_outputs.emplace_back(output_names[i], results[i]);
  }
  {
    const py::gil_scoped_release release;
    self.run_into(named_inputs, named_outputs, options);
    if (!gpu.empty()) inference::synchronize(gpu, order);
  }

  py::dict answer;
  for (std::size_t i = 0; i < output_names.size(); ++i) {
    const py::str name(output_names[i]);
    if (given) {
      answer[name] = outputs[name];
    } else if (outputs_on_device && results[i].type() != inference::element_type::string) {
      answer[name] = device_tensor{std::make_shared<tensor>(std::move(results[i])),
                                   stream ? options.stream : nullptr};
    } else {
      answer[name] = to_array(std::move(results[i]), output_subject(i));
    }
  }
  return answer;
}

void bind_profile(py::module_& module) {
  using inference::profile;
  using node_time = profile::node_time;
  using operator_time = profile::operator_time;
  const auto seconds = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double>(time).count();
  };
  py::class_<node_time>(module, "NodeTime", "The time of one node with one set of shapes.")
      .def_readonly("name", &node_time::name)
      .def_readonly("op_type", &node_time::op_type)
      .def_readonly("fused", &node_time::fused)
      .def_readonly("outputs", &node_time::outputs)
      .def_readonly("inputs", &node_time::inputs)
      .def_readonly("count", &node_time::count)
      .def_property_readonly("seconds",
                             [seconds](const node_time& self) { return seconds(self.total); });
  py::class_<operator_time>(module, "OperatorTime", "The time of all nodes of one operator.")
      .def_readonly("op_type", &operator_time::op_type)
      .def_readonly("count", &operator_time::count)
      .def_property_readonly("seconds",
                             [seconds](const operator_time& self) { return seconds(self.total); });
  py::class_<profile>(module, "Profile", "Where the time of the runs that it is given to goes.")
      .def(py::init<>())
      .def_property_readonly("runs", &profile::runs)
      .def_property_readonly("seconds",
                             [seconds](const profile& self) { return seconds(self.total()); })
      .def("operators", &profile::operators)
      .def("nodes", &profile::nodes)
      .def("table", &profile::table, py::arg("most_nodes") = 30)
      .def("__str__", [](const profile& self) { return self.table(); })
      .def("trace", &profile::trace)
      .def("write_trace", &profile::write_trace, py::arg("path"),
           py::call_guard<py::gil_scoped_release>())
      .def("clear", &profile::clear);
}

}  // namespace

void bind_inference(py::module_& module) {
  bind_profile(module);
  wait_for_runs_at_exit();
  py::class_<value_info>(module, "ValueInfo", "Name, type and shape of a model's input or output.")
      .def_readonly("name", &value_info::name)
      .def_property_readonly(
          "dtype", [](const value_info& info) { return std::string(to_string(info.type)); })
      .def_property_readonly("shape", &shape_of)
      .def_property_readonly(
          "kind", [](const value_info& info) { return std::string(to_string(info.kind)); })
      .def("__repr__", [](const value_info& info) {
        return "<ValueInfo " + info.name + ": " + inference::to_string(info) + ">";
      });

  using inference::device_info;
  py::class_<device_info>(module, "DeviceInfo", "A device, or why it is not available.")
      .def_readonly("name", &device_info::name)
      .def_readonly("description", &device_info::description)
      .def_readonly("available", &device_info::available)
      .def_readonly("reason", &device_info::reason)
      .def("__repr__", [](const device_info& info) {
        return "<DeviceInfo " + info.name + ": " +
               (info.available ? info.description : "not available: " + info.reason) + ">";
      });
  module.def("devices", &inference::devices);

  using inference::weight_cache;
  py::class_<weight_cache, std::shared_ptr<weight_cache>>(
      module, "WeightCache", "Weights that the sessions given it hold together.")
      .def(py::init<>())
      .def("__len__", &weight_cache::size)
      .def_property_readonly("hits", &weight_cache::hits);

  using inference::gpu_options;
  py::class_<gpu_options>(module, "GpuOptions", "How a GPU computes.")
      .def(py::init(&make_gpu_options), py::kw_only(), py::arg("math") = "float32",
           py::arg("cache") = py::none())
      .def_property_readonly("math",
                             [](const gpu_options& self) {
                               return arithmetic_names[static_cast<std::size_t>(self.math)];
                             })
      .def_readonly("cache", &gpu_options::cache);
  bind_device_tensor(module);

  py::class_<session, std::unique_ptr<session, session_deleter>>(
      module, "Session", "An ONNX model, compiled for a device.")
      .def(py::init(&load), py::arg("model"), py::arg("device") = "cpu", py::arg("threads") = 1,
           py::kw_only(), py::arg("memory_limit") = py::none(), py::arg("optimize") = true,
           py::arg("on_graph") = py::none(), py::arg("weights") = py::none(),
           py::arg("map_weights") = false, py::arg("inference_precision") = "float32",
           py::arg("shape_buckets") = std::map<std::string, std::vector<std::int64_t>>(),
           py::arg("async_runs") = 2, py::arg("queued_runs") = 0,
           py::arg_v("gpu", inference::gpu_options(), "GpuOptions()"))
      .def_property_readonly("inputs", &session::inputs)
      .def_property_readonly("outputs", &session::outputs)
      .def_property_readonly("metadata", &session::metadata)
      .def("run", &run, py::arg("inputs"), py::arg("outputs") = py::none(), py::kw_only(),
           py::arg("profile") = py::none(), py::arg("outputs_on_device") = false,
           py::arg("stream") = py::none())
      .def("run_async", &run_async, py::arg("inputs"))
      .def("release_memory", &session::release_memory, py::call_guard<py::gil_scoped_release>())
      .def("dump_graph", &session::dump_graph, py::call_guard<py::gil_scoped_release>());
}

}  // namespace mizzen::python
