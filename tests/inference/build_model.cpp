// Writes a model that uses everything model_builder has, for builder_test.py: build_model FILE
#include <mizzen/inference.hpp>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  using namespace mizzen::inference;
  if (argc != 2) return 2;
  model_builder model{"everything"};
  model.opset(17)
      .opset(3, "ai.onnx.ml")
      .ir_version(9)
      .producer("builder_test", "1.2")
      .doc("all kinds of attributes and types")
      .metadata("purpose", "test")
      .input("x", element_type::float32, {"batch", 3, 4, 4})
      .initializer("w", tensor::copy<float>({1, 2, 3, -1, 0.5F, 2}, {2, 3, 1, 1}))
      .initializer("flat", tensor::copy<std::int64_t>({0, -1}, {2}))
      .initializer("flag", tensor::copy<bool>({true, false}, {2}))
      .initializer("label", tensor::copy(std::vector<std::string>{"no", "yes"}, {2}))
      .initializer("scales", tensor::copy<float>({1, 1, 2, 2}, {4}))
      .node("Conv", {"x", "w"}, {"c"}, {{"pads", {1, 1, 1, 1}}, {"group", 1}}, "conv")
      .node("LeakyRelu", {"c"}, {"l"}, {{"alpha", 0.25F}})
      .node("Resize", {"l", "", "scales"}, {"r"}, {{"mode", "nearest"}})
      .node("Reshape", {"r", "flat"}, {"y"})
      .node("Constant", {}, {"k"}, {{"value", tensor::scalar(2.5F)}})
      .node("Constant", {}, {"ks"}, {{"value_floats", std::vector<float>{1, 2}}})
      .node("Mul", {"y", "k"}, {"z"})
      .output("z", element_type::float32, {"batch", "features"})
      .output("ks", element_type::float32, {2});
  model.save(argv[1]);
  // The same numbers as the reference will see, run here and written beside the model.
  tensor x(element_type::float32, {2, 3, 4, 4});
  for (std::size_t i = 0; i < x.size(); ++i) {
    x.data<float>()[i] = static_cast<float>(i % 7) - 3.0F;
  }
  const auto out = session::load(argv[1]).run({{"x", x}});
  std::FILE* file = std::fopen((std::string(argv[1]) + ".z").c_str(), "wb");
  if (file == nullptr) return 4;
  const auto bytes = out.at("z").bytes();
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  return std::fclose(file) == 0 && written ? 0 : 4;
}
