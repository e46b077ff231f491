// Runs that nobody waits for: their outputs come by a future, or to a coroutine; and batches of any
// size with plans for a few.
#include <mizzen/inference.hpp>
#include <mizzen/inference/awaitable.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <cstdio>
#include <future>
#include <utility>
#include <vector>

namespace mz = mizzen;

namespace {

mz::inference::tensor_map batch_of(std::int64_t n) {
  mz::inference::tensor_map inputs;
  const std::vector<float> ones(static_cast<std::size_t>(2 * n), 1.0F);
  inputs.emplace("x", mz::tensor::copy(ones, {n, 2}));
  return inputs;
}

// --8<-- [start:coroutine]
boost::asio::awaitable<float> sum_of_batch(const mz::inference::session& model, std::int64_t n) {
  auto inputs = batch_of(n);
  const auto outputs = co_await mz::inference::async_run(model, std::move(inputs));
  float sum = 0;  // back on the coroutine's executor
  for (const float y : outputs.at("y").data<float>()) sum += y;
  co_return sum;
}
// --8<-- [end:coroutine]

}  // namespace

int main() {
  using mz::inference::element_type;
  mz::inference::model_builder builder{"sums"};
  builder.input("x", element_type::float32, {"batch", 2})
      .initializer("w", mz::tensor::copy({1.0F, 2.0F}, {2, 1}))
      .node("MatMul", {"x", "w"}, {"y"})
      .output("y", element_type::float32, {"batch", 1});
  const std::vector<std::byte> bytes = builder.bytes();

  // --8<-- [start:buckets]
  // Batches of 1 to 32 with six plans: 3 rows are run as 4, and 3 come out.
  const auto model =
      mz::inference::session::load(bytes, {.shape_buckets = {{"batch", {1, 2, 4, 8, 16, 32}}}});
  // --8<-- [end:buckets]

  // --8<-- [start:future]
  std::vector<std::future<mz::inference::tensor_map>> runs;
  for (int n = 1; n <= 5; ++n) runs.push_back(model.run_async(batch_of(n)));
  for (auto& run : runs) std::printf("%zu rows\n", run.get().at("y").data<float>().size());
  // --8<-- [end:future]

  boost::asio::io_context context;
  auto sum = boost::asio::co_spawn(context, sum_of_batch(model, 7), boost::asio::use_future);
  context.run();
  const float total = sum.get();
  std::printf("sum %.1f\n", static_cast<double>(total));
  return total == 21.0F ? 0 : 1;
}
