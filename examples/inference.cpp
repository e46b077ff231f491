// Builds a small classifier, saves it as an ONNX file, loads it and runs it.
#include <mizzen/inference.hpp>

#include <cstdio>
#include <filesystem>

namespace mz = mizzen;

int main() {
  using mz::inference::element_type;
  const auto path = std::filesystem::temp_directory_path() / "mizzen_example.onnx";

  // Two points are told apart by the sign of their sum.
  mz::inference::model_builder model{"sign"};
  model.input("points", element_type::float32, {"n", 2})
      .initializer("weights", mz::tensor::copy<float>({-4, 4, -4, 4}, {2, 2}))
      .initializer("bias", mz::tensor::copy<float>({0, 0}, {2}))
      .node("Gemm", {"points", "weights", "bias"}, {"logits"})
      .node("Softmax", {"logits"}, {"scores"}, {{"axis", -1}})
      .output("scores", element_type::float32, {"n", 2});
  model.save(path);

  // --8<-- [start:readme]
  const auto session = mz::inference::session::load(path, {.threads = 1});
  for (const auto& input : session.inputs()) {
    std::printf("takes %s: %s\n", input.name.c_str(), to_string(input).c_str());
  }
  const auto outputs = session.run({{"points", mz::tensor::copy<float>({1, 2, -3, 1}, {2, 2})}});
  const auto scores = outputs.at("scores").data<float>();
  // --8<-- [end:readme]
  std::printf("(1, 2) is positive with %.4f, (-3, 1) with %.4f\n", static_cast<double>(scores[1]),
              static_cast<double>(scores[3]));
  std::filesystem::remove(path);
  return scores[1] > 0.99F && scores[3] < 0.01F ? 0 : 1;
}
