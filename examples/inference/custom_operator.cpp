// An operator that the engine does not know, brought by the application; and outputs that go
// straight into memory of the application.
#include <mizzen/inference.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>

namespace mz = mizzen;

int main() {
  using mz::inference::element_type;

  // A model that calls com.example.Clamp, as an exporter with a custom operator writes it.
  mz::inference::model_builder model{"clamped"};
  model.opset(1, "com.example")
      .input("x", element_type::float32, {"n", 2})
      .node("Clamp", {"x"}, {"y"}, {{"most", 1.5F}}, "limit", "com.example")
      .output("y", element_type::float32, {"n", 2});

  // --8<-- [start:operator]
  mz::inference::custom_operator clamp{
      .domain = "com.example", .name = "Clamp", .compute = [](mz::inference::custom_run& run) {
        const auto x = run.input(0).data<float>();
        const auto y = run.output(0).data<float>();
        const float most = run.get_float("most", 1.0F);
        std::ranges::transform(x, y.begin(), [most](float v) { return std::min(v, most); });
      }};
  const auto session = mz::inference::session::load(model.bytes(), {.operators = {clamp}});
  // --8<-- [end:operator]

  // --8<-- [start:binding]
  std::array<float, 4> in{1, 2, 3, -4};
  std::array<float, 4> out{};
  const auto x = mz::tensor::view(std::span<const float>(in), {2, 2});
  auto y = mz::tensor::view(std::span<float>(out), {2, 2});
  session.run_into({{"x", x}}, {{"y", y}});  // reads `in`, writes `out`
  // --8<-- [end:binding]

  std::printf("%.1f %.1f %.1f %.1f\n", static_cast<double>(out[0]), static_cast<double>(out[1]),
              static_cast<double>(out[2]), static_cast<double>(out[3]));
  return out == std::array<float, 4>{1, 1.5F, 1.5F, -4} ? 0 : 1;
}
