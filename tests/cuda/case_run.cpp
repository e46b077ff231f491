// Runs cases (folders of a model, inputs and a reference's answers; see
// tests/inference/model_cases.hpp) on a device, and compares with this library's own engine on the
// processor and with the answers.
//   mizzen_cuda_cases DEVICE     lines "FOLDER ARITHMETIC" on the standard input
// For each line one line of JSON, written before the next is read: whoever runs this knows by it
// which case a program that died was at. It ends with 3 behind a case that failed in a way that may
// have left the device unusable.
#include "../inference/model_cases.hpp"
#include "inference/cpu/kernels/elements.hpp"
#include "tolerance.hpp"

#include <mizzen/inference.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

namespace {

using namespace mizzen::inference;
using json = nlohmann::json;

double number(const tensor& t, std::size_t i) {
  return detail::cpu::element_at(t.bytes().data(), t.type(), i);
}

// The greatest difference as a share of what is allowed: more than 1 is wrong.
double compare(const tensor& actual, const tensor& expected, std::string_view math) {
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (actual.type() != expected.type() || actual.shape() != expected.shape()) return wrong;
  const tolerance allowed = tolerance_of(expected.type(), math);
  double greatest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double b = std::abs(number(expected, i));
    if (std::isfinite(b)) greatest = std::max(greatest, b);
  }
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double a = number(actual, i);
    const double b = number(expected, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double limit =
        allowed.relative * std::abs(b) + allowed.of_greatest * greatest + one_step(expected.type());
    const double off = std::abs(a - b);
    worst = std::max(worst, std::isfinite(off) && limit > 0 ? off / limit : wrong);
  }
  return worst;
}

double compare(const tensor_map& actual, const tensor_map& expected, std::string_view math) {
  double worst = 0;
  for (const auto& [name, t] : expected) {
    const auto found = actual.find(name);
    worst = std::max(worst, found == actual.end() ? std::numeric_limits<double>::infinity()
                                                  : compare(found->second, t, math));
  }
  return worst;
}

// Inputs of float32 as float16 has them, so that coarser arithmetic starts from the same numbers.
// Returns whether that changed any; nullopt where float16 does not reach.
std::optional<bool> round_inputs(tensor_map& inputs) {
  bool changed = false;
  for (auto& [name, t] : inputs) {
    if (t.type() != element_type::float32) continue;
    tensor rounded(element_type::float32, t.shape());
    const auto from = t.data<float>();
    const auto to = rounded.data<float>();
    for (std::size_t i = 0; i < from.size(); ++i) {
      const float16 half = detail::cpu::to_float16(from[i]);
      to[i] = detail::cpu::to_float(half);
      if (std::isfinite(from[i]) && !std::isfinite(to[i])) return std::nullopt;
      changed = changed || to[i] != from[i];
    }
    t = std::move(rounded);
  }
  return changed;
}

bool reaches(const tensor_map& outputs) {
  for (const auto& [name, t] : outputs) {
    if (t.type() != element_type::float32) continue;
    for (const float v : t.data<float>()) {
      if (std::isfinite(v) && std::abs(v) > 6e4F) return false;
    }
  }
  return true;
}

// Parts on the device, and nodes beside them.
void count_nodes(const std::string& graph, json& report) {
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
  report["parts"] = parts;
  report["on_host"] = std::move(others);
}

json number_or_text(double v) { return std::isfinite(v) ? json(v) : json("not comparable"); }

// Fills the report; true where the device may be unusable from now on.
bool run_case(const std::string& device, const std::string& folder, const std::string& math,
              json& report) {
  const std::filesystem::path at(folder);
  std::vector<test_case> cases = read_cases(at);
  test_case& c = cases.at(0);
  const bool coarse = math != "float32";
  const std::optional<bool> rounded = coarse ? round_inputs(c.inputs) : false;
  if (!rounded) {
    report["status"] = "range";
    return false;
  }
  session_options options;
  options.device = device;
  // A part that the device refuses after all runs on the processor, and says so.
  std::string refused;
  options.log = mizzen::logger(
      [&](const mizzen::log_record& record) {
        refused += record.message;
        for (const mizzen::log_field& f : record.fields) {
          refused += ' ' + std::string(f.key) + '=' + f.value.dump();
        }
      },
      mizzen::log_level::warning);
  options.gpu.cache = "";
  options.gpu.math = math == "float16" ? gpu_options::arithmetic::float16
                     : math == "tf32"  ? gpu_options::arithmetic::tf32
                                       : gpu_options::arithmetic::float32;
  std::optional<session> loaded;
  try {
    loaded.emplace(session::load(at / "model.onnx", options));
  } catch (const mizzen::error& e) {
    report["status"] = e.code() == mizzen::errc::unimplemented ? "refused" : "failed";
    report["what"] = e.what();
    return false;
  }
  count_nodes(loaded->dump_graph(), report);
  if (report["parts"] == 0) {
    report["status"] = "host";
    return false;
  }
  const tensor_map expected = session::load(at / "model.onnx", {.threads = 1}).run(c.inputs);
  if (coarse && !reaches(expected)) {
    report["status"] = "range";
    return false;
  }
  double worst = 0;
  try {
    // The third run replays what the second recorded.
    for (int round = 0; round < 3; ++round) {
      const tensor_map actual = loaded->run(c.inputs);
      worst = std::max(worst, compare(actual, expected, math));
      if (round > 0) continue;
      if (!*rounded && !c.outputs.empty()) {
        const double off = compare(actual, c.outputs, math);
        report["reference"] = number_or_text(off);
        report["engine_and_reference"] = number_or_text(compare(expected, c.outputs, math));
      }
    }
  } catch (const mizzen::error& e) {
    report["status"] = "failed";
    report["what"] = e.what();
    return e.code() != mizzen::errc::unimplemented;
  }
  report["engine"] = number_or_text(worst);
  if (!refused.empty()) report["fell_back"] = refused;
  const auto fits = [&](const char* key) {
    return !report.contains(key) || (report[key].is_number() && report[key] <= 1.0);
  };
  // Where the engine itself is away from the reference, the device is not to be blamed.
  report["status"] =
      fits("engine") && (fits("reference") || !fits("engine_and_reference")) ? "same" : "different";
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: mizzen_cuda_cases DEVICE <LINES_OF_FOLDER_AND_ARITHMETIC\n", stderr);
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t space = line.rfind(' ');
    if (space == std::string::npos) continue;
    const std::string folder = line.substr(0, space);
    const std::string math = line.substr(space + 1);
    json report = {{"case", std::filesystem::path(folder).filename().string()}, {"math", math}};
    bool ends = false;
    try {
      ends = run_case(argv[1], folder, math, report);
    } catch (const std::exception& e) {
      report["status"] = "failed";
      report["what"] = e.what();
    }
    std::cout << report.dump() << std::endl;
    if (ends) return 3;
  }
  return 0;
}
