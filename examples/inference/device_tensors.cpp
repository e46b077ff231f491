// Inputs and outputs that stay in a GPU's memory from run to run; on the processor where no GPU is.
#include <mizzen/inference.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace mz = mizzen;

int main() {
  using mz::inference::element_type;

  // state' = tanh(state · w + input): a step of a simulation that feeds itself.
  mz::inference::model_builder model{"step"};
  model.input("state", element_type::float32, {4, 4})
      .input("input", element_type::float32, {4, 4})
      .initializer("w", mz::tensor::copy({0.1F, 0.2F, 0.3F, 0.4F, 0.4F, 0.3F, 0.2F, 0.1F, -0.1F,
                                          0.5F, -0.2F, 0.3F, 0.2F, -0.4F, 0.1F, 0.2F},
                                         {4, 4}))
      .node("MatMul", {"state", "w"}, {"moved"})
      .node("Add", {"moved", "input"}, {"sum"})
      .node("Tanh", {"sum"}, {"next"})
      .output("next", element_type::float32, {4, 4});

  // --8<-- [start:device]
  const auto list = mz::inference::devices();
  const auto gpu = std::ranges::find_if(
      list, [](const auto& d) { return d.name.starts_with("cuda") && d.available; });
  const std::string device = gpu != list.end() ? gpu->name : "cpu";
  const auto session = mz::inference::session::load(model.bytes(), {.device = device});

  const auto input = mz::tensor(element_type::float32, {4, 4}).to_device(device);
  auto state = mz::tensor::copy(std::vector<float>(16, 1.0F), {4, 4}).to_device(device);
  auto next = mz::tensor::on_device(device, element_type::float32, {4, 4});
  for (int step = 0; step < 10; ++step) {
    session.run_into({{"state", state}, {"input", input}}, {{"next", next}});
    std::swap(state, next);
  }
  // Only the end comes to the host.
  const auto last = state.to_host();
  // --8<-- [end:device]

  std::printf("on %s:", device.c_str());
  for (const float v : last.data<float>().first(4)) std::printf(" %.4f", static_cast<double>(v));
  std::printf("\n");
}
