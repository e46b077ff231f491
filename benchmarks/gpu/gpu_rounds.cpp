// One model, loaded once and measured in rounds, between which whoever asks for them measures
// others.
//   mizzen_gpu_rounds MODEL DEVICE float32|tf32|float16 FOLDER [CACHE]
// FOLDER holds the inputs (cases.txt as tests/inference/model_cases.hpp reads it); the outputs of
// the first run are written there as actual0.npy …, in the model's order. CACHE: where compiled
// kernels are kept; "" for nowhere. The first line on the standard output is a JSON object:
// ready_ms (from loading to the end of the first run), parts, on_host (nodes that stay on the
// processor, by operator), warnings. Then for each line "host N" or "device N" on the standard
// input one: {"ms": […]}, the times of N runs to their end, inputs and outputs in the host's memory
// or in the device's.
#include "../../tests/inference/model_cases.hpp"

#include <mizzen/inference.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace mizzen::inference;
using clock_type = std::chrono::steady_clock;
using json = nlohmann::json;

double milliseconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double, std::milli>(clock_type::now() - begin).count();
}

// Source: numpy.lib.format, version 1.
void write_npy(const std::filesystem::path& path, const tensor& t) {
  std::string type;
  switch (t.type()) {
    case element_type::float32:
      type = "<f4";
      break;
    case element_type::float16:
      type = "<f2";
      break;
    case element_type::int64:
      type = "<i8";
      break;
    case element_type::int32:
      type = "<i4";
      break;
    case element_type::boolean:
      type = "|b1";
      break;
    default:
      throw mizzen::error(mizzen::errc::unimplemented, path.filename().string(),
                          "an output of type " + std::string(to_string(t.type())));
  }
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (";
  for (const std::int64_t d : t.shape()) header += std::to_string(d) + ",";
  header += ")}";
  header.resize((header.size() + 10) / 64 * 64 + 64 - 10 - 1, ' ');
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  const auto size = static_cast<unsigned>(header.size());
  file.put(static_cast<char>(size & 255U));
  file.put(static_cast<char>(size >> 8U));
  file << header;
  file.write(reinterpret_cast<const char*>(t.bytes().data()),
             static_cast<std::streamsize>(t.bytes().size()));
}

json nodes_of(const std::string& graph) {
  int parts = 0;
  json others = json::object();
  std::istringstream lines(graph);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(' ') || line.starts_with("inputs") || line.starts_with("outputs"))
      continue;
    const std::size_t equals = line.find(" = ");
    if (equals == std::string::npos) continue;
    const std::string op = line.substr(equals + 3, line.find('(', equals) - equals - 3);
    if (op == "mizzen.DevicePart") {
      ++parts;
    } else {
      others[op] = others.value(op, 0) + 1;
    }
  }
  return {{"parts", parts}, {"on_host", others}};
}

std::vector<double> times_of(const session& loaded, const tensor_map& in, tensor_map& out,
                             int runs) {
  std::vector<named_input> inputs;
  for (const auto& [name, t] : in) inputs.emplace_back(name, t);
  std::vector<named_output> outputs;
  for (auto& [name, t] : out) outputs.emplace_back(name, t);
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    const auto begin = clock_type::now();
    loaded.run_into(inputs, outputs);
    times.push_back(milliseconds_since(begin));
  }
  return times;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 4) {
    std::fputs("usage: mizzen_gpu_rounds MODEL DEVICE float32|tf32|float16 FOLDER [CACHE] <LINES\n",
               stderr);
    return 2;
  }
  json warnings = json::array();
  session_options options;
  options.device = arguments[1];
  using arithmetic = gpu_options::arithmetic;
  options.gpu.math = arguments[2] == "float16" ? arithmetic::float16
                     : arguments[2] == "tf32"  ? arithmetic::tf32
                                               : arithmetic::float32;
  if (arguments.size() > 4) options.gpu.cache = arguments[4];
  options.log = mizzen::logger(
      [&](const mizzen::log_record& record) {
        std::string text(record.message);
        for (const mizzen::log_field& f : record.fields) {
          text += ' ' + std::string(f.key) + '=' + f.value.dump();
        }
        warnings.push_back(text);
      },
      mizzen::log_level::warning);
  const std::filesystem::path folder(arguments[3]);
  std::vector<test_case> cases = read_cases(folder);
  const tensor_map& in = cases.at(0).inputs;
  const auto begin = clock_type::now();
  const session loaded = session::load(arguments[0], options);
  const double loaded_ms = milliseconds_since(begin);
  tensor_map out = loaded.run(in);
  json report = nodes_of(loaded.dump_graph());
  report["ready_ms"] = milliseconds_since(begin);
  report["load_ms"] = loaded_ms;
  report["warnings"] = warnings;
  const auto write = [&](const std::string& stem, const tensor_map& tensors) {
    std::size_t number = 0;
    for (const value_info& info : loaded.outputs()) {
      write_npy(folder / (stem + std::to_string(number++) + ".npy"),
                tensors.at(info.name).to_host());
    }
  };
  write("actual", out);
  tensor_map device_in, device_out;
  std::cout << report.dump() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream fields(line);
    std::string where;
    int runs = 0;
    fields >> where >> runs;
    json answer;
    try {
      if (where == "host") {
        answer["ms"] = times_of(loaded, in, out, runs);
      } else if (where == "device") {
        const bool first = device_out.empty();
        if (first) {
          for (const auto& [name, t] : in) device_in.emplace(name, t.to_device(options.device));
          for (const auto& [name, t] : out) {
            device_out.emplace(name, t.to_device(options.device));
          }
        }
        answer["ms"] = times_of(loaded, device_in, device_out, runs);
        if (first) write("device", device_out);
      } else {
        answer["error"] = "rounds are \"host N\" or \"device N\"";
      }
    } catch (const mizzen::error& e) {
      answer = {{"error", e.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
