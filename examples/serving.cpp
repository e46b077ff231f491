// A model over the Open Inference Protocol: built here, served on loopback, asked over HTTP, and
// drained. A service would say run_until_signal() instead of the last lines.
#include <mizzen/inference.hpp>
#include <mizzen/serving.hpp>

#include <iostream>
#include <vector>

namespace mz = mizzen;

int main() {
  using enum mz::inference::element_type;
  // sum = a + b, for vectors of any length.
  mz::inference::model_builder builder("adder");
  builder.input("a", float32, {"n"}).input("b", float32, {"n"}).output("sum", float32, {"n"});
  builder.node("Add", {"a", "b"}, {"sum"});

  // --8<-- [start:readme]
  mz::serving::server server({.port = 0});
  server.add_model("adder", "1", mz::inference::session::load(builder.bytes()));
  server.start();

  mz::serving::client client(server.url());
  const auto a = mz::tensor::copy(std::vector<float>{1, 2}, {2});
  const auto b = mz::tensor::copy(std::vector<float>{10, 20}, {2});
  const auto outputs = client.infer("adder", {{"a", a}, {"b", b}});
  // --8<-- [end:readme]
  const auto sum = outputs.at("sum").data<float>();
  std::cout << server.url() << "/v2/models/adder: " << sum[0] << ' ' << sum[1] << '\n';

  const bool all_answered = server.drain();
  return sum[0] == 11 && sum[1] == 22 && all_answered ? 0 : 1;
}
