// What a request costs: parsing and writing its tensors, and round trips on loopback, from a bare
// HTTP server (the limit) to an inference on a model that does nothing much.
#include <mizzen/http.hpp>
#include <mizzen/serving.hpp>

#include <benchmark/benchmark.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <string>
#include <thread>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace http = mizzen::http;
namespace inference = mizzen::inference;
namespace serving = mizzen::serving;
using mizzen::tensor;

tensor random_like(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  float value = 0.1F;
  for (float& each : values) each = value = 3.9F * value * (1 - value);
  return tensor::copy(values, {1, count});
}

void parse(benchmark::State& state, bool binary) {
  const tensor x = random_like(state.range(0));
  const std::vector<inference::named_input> inputs = {{"x", x}};
  const serving::v2::encoded body = serving::v2::encode_infer_request(inputs, {}, binary);
  for (auto _ : state) {
    benchmark::DoNotOptimize(serving::v2::parse_infer_request(body.body, body.json_size));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(body.body.size() * state.iterations()));
  state.SetItemsProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}
void parse_json(benchmark::State& state) { parse(state, false); }
void parse_binary(benchmark::State& state) { parse(state, true); }
BENCHMARK(parse_json)->Arg(64)->Arg(2048)->Arg(1 << 20);
BENCHMARK(parse_binary)->Arg(64)->Arg(2048)->Arg(1 << 20);

// A document of all the numbers, as servers commonly make it: what the pull parser is measured by.
void parse_json_as_document(benchmark::State& state) {
  const tensor x = random_like(state.range(0));
  const std::vector<inference::named_input> inputs = {{"x", x}};
  const serving::v2::encoded body = serving::v2::encode_infer_request(inputs, {}, false);
  for (auto _ : state) benchmark::DoNotOptimize(mizzen::json::parse(body.body));
  state.SetBytesProcessed(static_cast<std::int64_t>(body.body.size() * state.iterations()));
  state.SetItemsProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(parse_json_as_document)->Arg(64)->Arg(2048)->Arg(1 << 20);

void write_json(benchmark::State& state) {
  serving::v2::infer_response response;
  response.outputs.push_back({"y", random_like(state.range(0))});
  const serving::v2::infer_request request;
  for (auto _ : state) {
    benchmark::DoNotOptimize(serving::v2::encode_infer_response(response, request));
  }
  state.SetItemsProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(write_json)->Arg(64)->Arg(1 << 20);

// One client, one connection: latency. Items per second are requests per second.
void bare_http(benchmark::State& state) {
  asio::io_context loop{1};
  auto work = asio::make_work_guard(loop);
  http::server server(loop.get_executor(), {},
                      [](http::request) -> asio::awaitable<http::response> {
                        co_return http::make_response(200, "text/plain", "ok");
                      });
  std::thread thread([&] { loop.run(); });
  {
    http::blocking_client client;
    for (auto _ : state) benchmark::DoNotOptimize(client.get(server.url()));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
  server.stop();
  work.reset();
  thread.join();
}
BENCHMARK(bare_http)->UseRealTime()->Unit(benchmark::kMicrosecond);

void infer(benchmark::State& state, bool binary) {
  serving::server server({.port = 0, .workers = 1});
  const std::vector<inference::dimension> shape = {"batch", state.range(0)};
  server.add_model(
      "copy", "1",
      serving::make_model({.inputs = {{"x", inference::element_type::float32, shape}},
                           .outputs = {{"y", inference::element_type::float32, shape}}},
                          [](const serving::infer_call& call) {
                            inference::tensor_map outputs;
                            outputs.emplace("y", call.inputs.at("x").clone());
                            return outputs;
                          }));
  server.start();
  serving::client client(server.url(), {.binary = binary});
  const tensor x = random_like(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(client.infer("copy", {{"x", x}}));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
void infer_json(benchmark::State& state) { infer(state, false); }
void infer_binary(benchmark::State& state) { infer(state, true); }
BENCHMARK(infer_json)->Arg(64)->Arg(1 << 16)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(infer_binary)->Arg(64)->Arg(1 << 16)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
