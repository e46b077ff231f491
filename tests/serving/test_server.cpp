// A server for tests in other languages. Prints its URL, then serves until a signal.
//   mizzen_serving_test_server [drain timeout in ms]
#include "models.hpp"

#include <mizzen/serving.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

using namespace mizzen::serving;

namespace {

// Records go to standard error. The URL is printed when the server says that it serves, which is
// when its signals are waited for: a test may send one at once.
void tell(const mizzen::log_record& r) {
  std::string line = std::string(r.module) + ": " + std::string(r.message);
  for (const mizzen::log_field& f : r.fields) {
    line += " " + std::string(f.key) + "=" + f.value.dump();
    if (r.message == "serving") std::cout << f.value.get<std::string>() << std::endl;
  }
  std::cerr << line + "\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::chrono::milliseconds drain_timeout(argc > 1 ? std::atoi(argv[1]) : 30'000);
  server s({.port = 0, .workers = 2, .drain_timeout = drain_timeout, .log = mizzen::logger(tell)});
  std::vector<mizzen::inference::value_info> all;
  for (const char* name : {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32",
                           "INT64", "FP16", "FP32", "FP64", "BYTES"}) {
    all.push_back({name, *v2::parse_datatype(name), std::nullopt});
  }
  for (const auto& each : all) s.add_model("echo_" + each.name, "1", test::echo_model({each}));
  s.add_model("echo", "3", test::echo_model({all[10], all[12]}));
  s.add_model("double", "1", test::doubling_model());
  // Takes as long as its input says, in milliseconds, whatever else happens.
  s.add_model("sleep", "1",
              make_model({.inputs = {{"ms", test::element_type::int32, std::nullopt}},
                          .outputs = {{"ms", test::element_type::int32, std::nullopt}}},
                         [](const infer_call& call) {
                           const auto& ms = call.inputs.at("ms");
                           std::this_thread::sleep_for(
                               std::chrono::milliseconds(ms.data<std::int32_t>()[0]));
                           mizzen::inference::tensor_map outputs;
                           outputs.emplace("ms", ms.clone());
                           return outputs;
                         }));
  return s.run_until_signal();
}
