#include "export.hpp"

#include <mizzen/inference.hpp>

namespace digits {

void save_onnx(const network& trained, const std::filesystem::path& path) {
  using mizzen::inference::element_type;
  using mizzen::inference::model_builder;
  const auto weights = [](const network::layer& layer) {
    return mizzen::tensor::copy(layer.weights, {static_cast<std::int64_t>(layer.inputs),
                                                static_cast<std::int64_t>(layer.outputs)});
  };
  const auto bias = [](const network::layer& layer) {
    return mizzen::tensor::copy(layer.bias, {static_cast<std::int64_t>(layer.outputs)});
  };
  model_builder("digits")
      .metadata("task", "handwritten digits, 8x8 pixels scaled to 0..1")
      .input("pixels", element_type::float32, {"batch", pixels})
      .initializer("hidden.weight", weights(trained.first()))
      .initializer("hidden.bias", bias(trained.first()))
      .initializer("scores.weight", weights(trained.second()))
      .initializer("scores.bias", bias(trained.second()))
      .node("Gemm", {"pixels", "hidden.weight", "hidden.bias"}, {"hidden"})
      .node("Relu", {"hidden"}, {"activations"})
      .node("Gemm", {"activations", "scores.weight", "scores.bias"}, {"scores"})
      .node("Softmax", {"scores"}, {"probabilities"}, {{"axis", 1}})
      .output("probabilities", element_type::float32, {"batch", classes})
      .save(path);
}

}  // namespace digits
