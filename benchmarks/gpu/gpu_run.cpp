// Loads a model on a device, runs it, and prints one line of JSON with the times.
//   mizzen_gpu_run devices
//   mizzen_gpu_run MODEL DEVICE float32|tf32|float16 RUNS [INPUT=DIM,DIM…]...
// Dimensions are for inputs that leave some open. Inputs are random; integers are below 1000. The
// difference is that of all float32 outputs to the processor's, relative by the 2-norm. Times are
// of whole runs, to the end of the device's work: min_ms and median_ms with inputs and outputs in
// the host's memory, device_min_ms and device_median_ms with both in the device's.
// device_difference is that of the outputs of the latter to those of the former.
#include <mizzen/inference.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace mizzen::inference;
using clock_type = std::chrono::steady_clock;

double milliseconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double, std::milli>(clock_type::now() - begin).count();
}

void list_devices() {
  for (const device_info& d : devices()) {
    std::printf("%s: %s%s%s\n", d.name.c_str(), d.description.c_str(),
                d.available ? "" : "; not available: ", d.reason.c_str());
  }
}

tensor random_input(const value_info& info, const shape_type& shape) {
  tensor t(info.type, shape);
  std::uint32_t seed = 1;
  const auto next = [&] { return (seed = seed * 1664525U + 1013904223U) >> 8U; };
  if (info.type == element_type::int64) {
    for (std::int64_t& v : t.data<std::int64_t>())
      v = info.name.find("mask") != std::string::npos ? 1 : next() % 1000;
    if (info.name.find("type") != std::string::npos) std::ranges::fill(t.data<std::int64_t>(), 0);
  } else if (info.type == element_type::float32) {
    for (float& v : t.data<float>())
      v = static_cast<float>(next()) / static_cast<float>(1U << 23U) - 1.0F;
  } else {
    throw mizzen::error(mizzen::errc::unimplemented, info.name, "an input of this type");
  }
  return t;
}

double difference(const tensor_map& a, const tensor_map& b) {
  double off = 0;
  double size = 0;
  for (const auto& [name, t] : b) {
    if (t.type() != element_type::float32) continue;
    const auto x = a.at(name).data<float>();
    const auto y = t.data<float>();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
      off += d * d;
      size += static_cast<double>(y[i]) * static_cast<double>(y[i]);
    }
  }
  return std::sqrt(off / std::max(size, 1e-30));
}

std::vector<named_input> inputs_of(const tensor_map& tensors) {
  std::vector<named_input> list;
  for (const auto& [name, t] : tensors) list.emplace_back(name, t);
  return list;
}

std::vector<named_output> outputs_of(tensor_map& tensors) {
  std::vector<named_output> list;
  for (auto& [name, t] : tensors) list.emplace_back(name, t);
  return list;
}

// Milliseconds of each run, sorted.
std::vector<double> times_of(const session& loaded, const std::vector<named_input>& inputs,
                             const std::vector<named_output>& outputs, int runs) {
  std::vector<double> times;
  for (int i = 0; i < runs + 5; ++i) {
    const auto begin = clock_type::now();
    loaded.run_into(inputs, outputs);
    if (i >= 5) times.push_back(milliseconds_since(begin));
  }
  std::sort(times.begin(), times.end());
  return times;
}

int measure(const std::string& path, const session_options& options, int runs,
            const std::map<std::string, shape_type>& shapes) {
  const auto begin = clock_type::now();
  const session loaded = session::load(path, options);
  tensor_map in;
  for (const value_info& info : loaded.inputs()) {
    shape_type shape;
    if (const auto given = shapes.find(info.name); given != shapes.end()) {
      shape = given->second;
    } else if (info.shape) {
      for (const dimension& d : *info.shape) shape.push_back(d.fixed() ? d.value : 1);
    }
    in.emplace(info.name, random_input(info, shape));
  }
  tensor_map out = loaded.run(in);
  const double ready = milliseconds_since(begin);
  const double off = options.device == "cpu" ? 0.0 : difference(out, session::load(path).run(in));
  const std::vector<named_input> inputs = inputs_of(in);
  const std::vector<named_output> outputs = outputs_of(out);
  const std::vector<double> times = times_of(loaded, inputs, outputs, runs);
  tensor_map device_in;
  for (const auto& [name, t] : in) device_in.emplace(name, t.to_device(options.device));
  tensor_map device_out;
  for (const auto& [name, t] : out) {
    device_out.emplace(name, tensor::on_device(options.device, t.type(), t.shape()));
  }
  const std::vector<double> device_times =
      times_of(loaded, inputs_of(device_in), outputs_of(device_out), runs);
  tensor_map brought;
  for (const auto& [name, t] : device_out) brought.emplace(name, t.to_host());
  const std::string graph = loaded.dump_graph();
  std::size_t parts = 0;
  std::size_t others = 0;
  std::istringstream lines(graph);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(' ') || line.starts_with("inputs") || line.starts_with("outputs"))
      continue;
    (line.find(" = mizzen.DevicePart(") != std::string::npos ? parts : others) += 1;
  }
  std::printf(
      "{\"ready_ms\": %.3f, \"min_ms\": %.4f, \"median_ms\": %.4f, \"device_min_ms\": %.4f, "
      "\"device_median_ms\": %.4f, \"difference\": %.3g, \"device_difference\": %.3g, "
      "\"parts\": %zu, \"on_host\": %zu}\n",
      ready, times.front(), times[times.size() / 2], device_times.front(),
      device_times[device_times.size() / 2], off, difference(brought, out), parts, others);
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "devices") {
    list_devices();
    return 0;
  }
  if (arguments.size() < 4) {
    std::fputs("usage: mizzen_gpu_run MODEL DEVICE float32|tf32|float16 RUNS [INPUT=DIM,DIM…]...\n",
               stderr);
    return 2;
  }
  session_options options;
  options.device = arguments[1];
  using arithmetic = gpu_options::arithmetic;
  options.gpu.math = arguments[2] == "float16" ? arithmetic::float16
                     : arguments[2] == "tf32"  ? arithmetic::tf32
                                               : arithmetic::float32;
  std::map<std::string, shape_type> shapes;
  for (std::size_t i = 4; i < arguments.size(); ++i) {
    const std::size_t at = arguments[i].find('=');
    shape_type& shape = shapes[arguments[i].substr(0, at)];
    std::istringstream text(arguments[i].substr(at + 1));
    for (std::string d; std::getline(text, d, ',');) shape.push_back(std::atoll(d.c_str()));
  }
  return measure(arguments[0], options, std::max(1, std::atoi(arguments[3].c_str())), shapes);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
