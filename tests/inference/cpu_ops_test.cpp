// The operators of the CPU as the engine calls them: post-ops, packed and unpacked operands. What
// each computes by itself is checked against the ONNX suite (tests/python/conformance_test.py).
#include "cpu_test.hpp"
#include "inference/cpu/op_registry.hpp"
#include "inference/cpu/ops/ops.hpp"

#include <mizzen/core/error.hpp>

#include <memory>
#include <string>
#include <vector>

namespace mizzen::inference::detail {
namespace {

using cpu::random_floats;

struct input {
  dims shape;
  std::vector<float> values;
  bool constant = false;
};

std::size_t count_of(const dims& shape) {
  std::size_t n = 1;
  for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
  return n;
}

input random_input(dims shape, unsigned seed, bool constant = false) {
  const std::size_t n = count_of(shape);
  return {std::move(shape), random_floats(n, seed), constant};
}

// One node, compiled and run.
std::vector<float> run(node n, std::vector<input>& inputs, const dims& output) {
  graph g;
  for (const input& i : inputs) {
    value v;
    v.type = element_type::float32;
    v.shape = i.shape;
    if (i.constant) {
      v.constant = std::make_shared<const tensor>(tensor::copy(i.values, i.shape));
    }
    n.inputs.push_back(g.add_value(v));
  }
  value out;
  out.type = element_type::float32;
  out.shape = output;
  n.outputs.push_back(g.add_value(out));
  n.opset = 17;

  op_registry registry;
  register_numeric_ops(registry);
  const op_definition* const definition = registry.find(n);
  if (definition == nullptr) throw std::logic_error("not registered");
  thread_pool pool(2);
  const compile_context context{n, g, pool.size()};
  for (const post_op& step : n.post_ops) {
    EXPECT_TRUE(definition->accepts_post_op != nullptr &&
                definition->accepts_post_op(context, step));
  }
  const std::unique_ptr<kernel> kernel = definition->compile(context);

  std::vector<value_view> in;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    value_view view;
    // What a kernel says it does not read, it must not read.
    view.data = kernel->reads_input(i) ? inputs[i].values.data() : nullptr;
    view.type = element_type::float32;
    view.shape = inputs[i].shape;
    view.count = inputs[i].values.size();
    in.push_back(view);
  }
  std::vector<float> y(count_of(output), -77.0F);
  value_view view;
  view.data = y.data();
  view.type = element_type::float32;
  view.shape = output;
  view.count = y.size();
  const std::span<const value_view> outputs(&view, 1);
  std::vector<std::byte> scratch(kernel->scratch_bytes({in, outputs, pool.size()}) + 64);
  kernel->run({in, outputs, scratch, pool});
  return y;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double hard_swish(double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }
double wide(float x) { return static_cast<double>(x); }

// [m, k] x [k, n]
std::vector<double> product(const std::vector<float>& a, const std::vector<float>& b, std::size_t m,
                            std::size_t k, std::size_t n) {
  std::vector<double> y(m * n);
  for (std::size_t r = 0; r < m; ++r) {
    for (std::size_t c = 0; c < n; ++c) {
      for (std::size_t d = 0; d < k; ++d) y[r * n + c] += wide(a[r * k + d]) * wide(b[d * n + c]);
    }
  }
  return y;
}

TEST(cpu_ops, matmul_with_bias_gelu_and_residual) {
  for (const bool constant : {true, false}) {
    std::vector<input> in = {random_input({2, 9, 20}, 1), random_input({20, 37}, 2, constant),
                             random_input({37}, 3, true), random_input({2, 9, 37}, 4)};
    node n;
    n.op_type = "MatMul";
    n.post_ops = {{post_op_kind::add, 0, 0, 2},
                  {post_op_kind::gelu_erf},
                  {post_op_kind::add, 0, 0, 3},
                  {post_op_kind::scale, 2, 1}};
    const std::vector<float> y = run(n, in, {2, 9, 37});
    std::vector<double> want = product(in[0].values, in[1].values, 18, 20, 37);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double x = want[i] + wide(in[2].values[i % 37]);
      want[i] = 2 * (x / 2 * (1 + std::erf(x / std::sqrt(2.0))) + wide(in[3].values[i])) + 1;
    }
    cpu::expect_close(y, want, 1e-5);
  }
}

TEST(cpu_ops, matmul_takes_what_the_tile_can_do) {
  std::vector<input> in = {random_input({33, 20}, 1), random_input({20, 40}, 2, true),
                           random_input({1, 40}, 3), random_input({33, 40}, 4)};
  node n;
  n.op_type = "MatMul";
  n.post_ops = {
      {post_op_kind::add, 0, 0, 2}, {post_op_kind::add, 0, 0, 3}, {post_op_kind::clip, -0.5F, 1}};
  const std::vector<float> y = run(n, in, {33, 40});
  std::vector<double> want = product(in[0].values, in[1].values, 33, 20, 40);
  for (std::size_t i = 0; i < want.size(); ++i) {
    want[i] = std::clamp(want[i] + wide(in[2].values[i % 40]) + wide(in[3].values[i]), -0.5, 1.0);
  }
  cpu::expect_close(y, want, 1e-5);
}

TEST(cpu_ops, matmul_of_broadcast_batches_and_vectors) {
  {
    std::vector<input> in = {random_input({3, 1, 5, 7}, 1), random_input({2, 7, 6}, 2)};
    node n;
    n.op_type = "MatMul";
    const std::vector<float> y = run(n, in, {3, 2, 5, 6});
    std::vector<double> want;
    for (std::size_t i = 0; i < 6; ++i) {
      const std::vector<float> a(
          in[0].values.begin() + static_cast<std::ptrdiff_t>(i / 2 * 35),
          in[0].values.begin() + static_cast<std::ptrdiff_t>(i / 2 * 35 + 35));
      const std::vector<float> b(
          in[1].values.begin() + static_cast<std::ptrdiff_t>(i % 2 * 42),
          in[1].values.begin() + static_cast<std::ptrdiff_t>(i % 2 * 42 + 42));
      const std::vector<double> one = product(a, b, 5, 7, 6);
      want.insert(want.end(), one.begin(), one.end());
    }
    cpu::expect_close(y, want, 1e-5);
  }
  {
    // A vector on the right: y's last dimension is then the rows, which a bias broadcasts along.
    std::vector<input> in = {random_input({4, 5, 7}, 1), random_input({7}, 2),
                             random_input({5}, 3)};
    node n;
    n.op_type = "MatMul";
    n.post_ops = {{post_op_kind::add, 0, 0, 2}, {post_op_kind::relu}};
    const std::vector<float> y = run(n, in, {4, 5});
    std::vector<double> want = product(in[0].values, in[1].values, 20, 7, 1);
    for (std::size_t i = 0; i < 20; ++i) {
      want[i] = std::max(0.0, want[i] + wide(in[2].values[i % 5]));
    }
    cpu::expect_close(y, want, 1e-5);
  }
}

TEST(cpu_ops, gemm_with_every_form_of_its_addend) {
  const dims forms[] = {{}, {1}, {12}, {1, 12}, {5, 1}, {5, 12}};
  for (const dims& form : forms) {
    for (const bool constant : {true, false}) {
      for (const float beta : {1.0F, 0.5F, 0.0F}) {
        std::vector<input> in = {random_input({7, 5}, 1), random_input({12, 7}, 2, constant),
                                 random_input(form, 3, constant)};
        node n;
        n.op_type = "Gemm";
        n.attributes.set("transA", std::int64_t{1});
        n.attributes.set("transB", std::int64_t{1});
        n.attributes.set("alpha", 1.5F);
        n.attributes.set("beta", beta);
        n.post_ops = {{post_op_kind::tanh}};
        const std::vector<float> y = run(n, in, {5, 12});
        std::vector<double> want(60);
        for (std::size_t i = 0; i < 60; ++i) {
          const std::size_t r = i / 12;
          const std::size_t c = i % 12;
          double sum = 0;
          for (std::size_t k = 0; k < 7; ++k) {
            sum += wide(in[0].values[k * 5 + r]) * wide(in[1].values[c * 7 + k]);
          }
          const std::size_t columns = form.empty() ? 1 : static_cast<std::size_t>(form.back());
          const std::size_t rows = form.size() < 2 ? 1 : static_cast<std::size_t>(form[0]);
          const std::size_t at = (rows == 1 ? 0 : r * columns) + (columns == 1 ? 0 : c);
          want[i] = std::tanh(1.5 * sum + wide(beta) * wide(in[2].values[at]));
        }
        cpu::expect_close(y, want, 1e-5);
      }
    }
  }
}

// Channels [2, groups * 6, 5, 8] by kernels of one tap: the sum is a product per pixel.
TEST(cpu_ops, conv_with_post_ops_of_all_kinds) {
  for (const std::int64_t groups : {1, 12}) {
    for (const bool constant : {true, false}) {
      const std::int64_t depth = 12 / groups;
      std::vector<input> in = {
          random_input({2, 12, 5, 8}, 1), random_input({12, depth, 1, 1}, 2, constant),
          random_input({12}, 3, true),    random_input({2, 12, 5, 8}, 4),
          random_input({2, 12, 1, 1}, 5), random_input({}, 6)};
      node n;
      n.op_type = "Conv";
      n.attributes.set("group", groups);
      n.post_ops = {{post_op_kind::add, 0, 0, 3},
                    {post_op_kind::relu},
                    {post_op_kind::mul, 0, 0, 4},
                    {post_op_kind::hard_swish, 1.0F / 6, 0.5F},
                    {post_op_kind::scale, 1.5F, 0.25F},
                    {post_op_kind::add, 0, 0, 5},
                    {post_op_kind::sigmoid},
                    {post_op_kind::leaky_relu, 0.1F},
                    {post_op_kind::hard_sigmoid, 0.2F, 0.5F}};
      const std::vector<float> y = run(n, in, {2, 12, 5, 8});
      std::vector<double> want(y.size());
      for (std::size_t i = 0; i < want.size(); ++i) {
        const std::size_t pixel = i % 40;
        const std::size_t channel = i / 40 % 12;
        const std::size_t image = i / 480;
        double sum = wide(in[2].values[channel]);
        const auto taps = static_cast<std::size_t>(depth);
        for (std::size_t c = 0; c < taps; ++c) {
          const std::size_t from = groups == 1 ? c : channel;
          sum += wide(in[0].values[image * 480 + from * 40 + pixel]) *
                 wide(in[1].values[channel * taps + c]);
        }
        double x = std::max(0.0, sum + wide(in[3].values[i]));
        x = hard_swish(x * wide(in[4].values[image * 12 + channel]));
        x = sigmoid(1.5 * x + 0.25 + wide(in[5].values[0]));
        want[i] = std::clamp(0.2 * x + 0.5, 0.0, 1.0);
      }
      cpu::expect_close(y, want, 1e-5);
    }
  }
}

TEST(cpu_ops, a_post_op_before_the_residual_stays_before_it) {
  // The tile adds, then clamps: here the order is the other way round.
  std::vector<input> in = {random_input({1, 4, 3, 3}, 1), random_input({8, 4, 1, 1}, 2, true),
                           random_input({1, 8, 3, 3}, 3)};
  node n;
  n.op_type = "Conv";
  n.post_ops = {{post_op_kind::relu}, {post_op_kind::add, 0, 0, 2}};
  const std::vector<float> y = run(n, in, {1, 8, 3, 3});
  std::vector<double> want = product(in[1].values, in[0].values, 8, 4, 9);
  for (std::size_t i = 0; i < want.size(); ++i) {
    want[i] = std::max(0.0, want[i]) + wide(in[2].values[i]);
  }
  cpu::expect_close(y, want, 1e-5);
}

TEST(cpu_ops, element_wise_with_post_ops) {
  std::vector<input> in = {random_input({6, 1, 50}, 1), random_input({7, 1}, 2),
                           random_input({50}, 3)};
  node n;
  n.op_type = "Sub";
  n.post_ops = {{post_op_kind::silu}, {post_op_kind::mul, 0, 0, 2}, {post_op_kind::gelu_tanh}};
  const std::vector<float> y = run(n, in, {6, 7, 50});
  std::vector<double> want(y.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    double x = wide(in[0].values[i / 350 * 50 + i % 50]) - wide(in[1].values[i / 50 % 7]);
    x = x * sigmoid(x) * wide(in[2].values[i % 50]);
    want[i] = x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  cpu::expect_close(y, want, 1e-5);
}

TEST(cpu_ops, no_more_binary_post_ops_than_a_run_can_hold) {
  graph g;
  value v;
  v.type = element_type::float32;
  v.shape = dims{4, 4};
  node n;
  n.op_type = "MatMul";
  n.opset = 17;
  n.inputs = {g.add_value(v), g.add_value(v)};
  n.outputs = {g.add_value(v)};
  op_registry registry;
  register_numeric_ops(registry);
  const op_definition* const definition = registry.find(n);
  ASSERT_NE(definition, nullptr);
  const post_op add{post_op_kind::add, 0, 0, 2};
  while (definition->accepts_post_op({n, g, 1}, add) && n.post_ops.size() < 100) {
    n.post_ops.push_back(add);
  }
  EXPECT_EQ(n.post_ops.size(), 8U);
  EXPECT_TRUE(definition->accepts_post_op({n, g, 1}, {post_op_kind::relu}));
}

}  // namespace
}  // namespace mizzen::inference::detail
