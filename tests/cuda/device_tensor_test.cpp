// Tensors in the memory of GPUs, and runs in the order of streams.
#include "../inference/caught.hpp"
#include "device_test.hpp"
#include "test_stream.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <thread>
#include <vector>

namespace mizzen::inference {
namespace {

using test::caught;
using test::count_of;
using test::has_streams;
using test::test_stream;

bool has_two() { return devices().size() > 2 && devices()[2].available; }

std::vector<float> floats(const tensor& t) {
  const tensor host = t.to_host();
  const auto data = host.data<float>();
  return {data.begin(), data.end()};
}

void expect_same(const tensor& actual, const tensor& expected, float tolerance = 2e-5F) {
  tensor_map a;
  tensor_map b;
  a.emplace("t", actual.to_host());
  b.emplace("t", expected.to_host());
  expect_near(a, b, tolerance);
}

// y = relu(x · w + b), one part.
model_builder dense_model() {
  model_builder model;
  model.input("x", f32, {"n", 8})
      .initializer("w", noise({8, 4}, 2))
      .initializer("b", noise({4}, 3))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("Add", {"h", "b"}, {"s"})
      .node("Relu", {"s"}, {"y"})
      .output("y", f32, {"n", 4});
  return model;
}

tensor expected_of(const model_builder& model, const tensor& x, const char* name = "y") {
  tensor_map out = session::load(model.bytes()).run({{"x", x}});
  return std::move(out.at(name));
}

session load_on(const model_builder& model, const std::string& device) {
  session_options options;
  options.device = device;
  options.gpu.cache = "";
  return session::load(model.bytes(), options);
}

TEST(device_tensors, hold_and_copy_elements) {
  tensor zeros = tensor::on_device("cuda", f32, {2, 3});
  EXPECT_EQ(zeros.device(), "cuda:0");
  EXPECT_FALSE(zeros.on_host());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(zeros.address()) % 256, 0U);
  EXPECT_EQ(floats(zeros), std::vector<float>(6, 0.0F));

  const tensor host = noise({2, 3});
  const tensor there = host.to_device("cuda:0");
  expect_same(there, host, 0);
  expect_same(there.clone(), host, 0);
  EXPECT_EQ(there.clone().device(), "cuda:0");
  expect_same(there.to_device("cuda:0"), host, 0);
  zeros.copy_from(there);
  expect_same(zeros, host, 0);
  tensor back(f32, {2, 3});
  back.copy_from(zeros);
  expect_same(back, host, 0);
  zeros.reshape({3, 2});
  EXPECT_EQ(zeros.to_host().shape(), (shape_type{3, 2}));

  tensor none = tensor::on_device("cuda:0", f32, {0, 4});
  EXPECT_TRUE(none.to_host().empty());
  EXPECT_EQ(tensor().to_device("cuda:0").type(), element_type::undefined);
  EXPECT_TRUE(tensor::on_device("cpu", f32, {2}).on_host());
  EXPECT_EQ(host.to_device("cpu").device(), "cpu");
  if (has_two()) {
    const tensor second = there.to_device("cuda:1");
    EXPECT_EQ(second.device(), "cuda:1");
    expect_same(second, host, 0);
  }
}

TEST(device_tensors, refuse_what_only_the_host_has) {
  tensor there = tensor::on_device("cuda:0", f32, {2});
  const auto refused = [](const error& e) {
    EXPECT_EQ(e.code(), errc::failed_precondition);
    EXPECT_EQ(e.subject(), "tensor");
    EXPECT_NE(e.message().find("in the memory of cuda:0: to_host()"), std::string::npos)
        << e.what();
  };
  refused(caught([&] { there.bytes(); }));
  refused(caught([&] { there.mutable_bytes(); }));
  refused(caught([&] { there.data<float>(); }));
  refused(caught([&] { std::as_const(there).data<float>(); }));
  EXPECT_EQ(caught([&] { there.copy_from(tensor(f32, {3})); }).code(), errc::invalid_argument);
  EXPECT_EQ(caught([&] { there.copy_from(tensor(element_type::int32, {2})); }).code(),
            errc::invalid_argument);
  EXPECT_EQ(caught([] { tensor::on_device("tpu", f32, {2}); }).code(), errc::not_found);
  EXPECT_EQ(caught([] { tensor::on_device("cuda:99", f32, {2}); }).code(), errc::not_found);
  EXPECT_EQ(caught([] { tensor::on_device("cuda:0", f32, {-1}); }).code(), errc::invalid_argument);
  EXPECT_EQ(caught([] { tensor(element_type::string, {1}).to_device("cuda:0"); }).code(),
            errc::invalid_argument);
}

TEST(device_tensors, go_through_a_session_where_they_are) {
  const auto model = dense_model();
  const session on = load_on(model, "cuda:0");
  const tensor x = noise({3, 8});
  const tensor expected = expected_of(model, x);
  const tensor there = x.to_device("cuda:0");
  tensor out = tensor::on_device("cuda:0", f32, {3, 4});
  const auto copied = count_of("copied_bytes");
  for (int round = 0; round < 3; ++round) {
    on.run_into({{"x", there}}, {{"y", out}});
    expect_same(out, expected);
    out.copy_from(tensor(f32, {3, 4}));
  }
  EXPECT_EQ(count_of("copied_bytes"), copied);
  // Any mixture.
  const auto kept = on.run({{"x", there}}, {.outputs_on_device = true});
  EXPECT_EQ(kept.at("y").device(), "cuda:0");
  expect_same(kept.at("y"), expected);
  EXPECT_TRUE(on.run({{"x", there}}).at("y").on_host());
  expect_same(on.run({{"x", there}}).at("y"), expected);
  on.run_into({{"x", x}}, {{"y", out}});
  expect_same(out, expected);
  // "On the session's device" holds for the processor as well.
  const auto plain = session::load(model.bytes()).run({{"x", x}}, {.outputs_on_device = true});
  EXPECT_TRUE(plain.at("y").on_host());
}

TEST(device_tensors, may_lie_at_any_address) {
  const auto model = dense_model();
  const session on = load_on(model, "cuda:0");
  const tensor x = noise({3, 8});
  const tensor expected = expected_of(model, x);
  const tensor memory = tensor::on_device("cuda:0", f32, {64});
  const auto at = [&](std::size_t floats, shape_type shape) {
    auto* const address = static_cast<float*>(const_cast<void*>(memory.address())) + floats;
    return tensor::device_view("cuda:0", f32, address, std::move(shape));
  };
  tensor in = at(1, {3, 8});
  in.copy_from(x);
  tensor out = at(33, {3, 4});
  for (int round = 0; round < 3; ++round) {
    on.run_into({{"x", in}}, {{"y", out}});
    expect_same(out, expected);
    out.copy_from(tensor(f32, {3, 4}));
  }
  // What is beside them is untouched.
  const auto all = floats(memory);
  EXPECT_EQ(all[0], 0);
  EXPECT_EQ(all[25], 0);
  EXPECT_EQ(all[32], 0);
  EXPECT_EQ(all[45], 0);
}

TEST(device_tensors, of_another_device_are_refused) {
  const auto model = dense_model();
  const tensor there = noise({3, 8}).to_device("cuda:0");
  const auto plain = session::load(model.bytes());
  error e = caught([&] { plain.run({{"x", there}}); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_EQ(e.subject(), "input 'x'");
  EXPECT_NE(e.message().find("in the memory of cuda:0, and the session is on cpu"),
            std::string::npos);
  int anything = 0;
  e = caught([&] { plain.run({{"x", noise({3, 8})}}, {.stream = &anything}); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_EQ(e.subject(), "run_options.stream");
  if (!has_two()) return;
  const session second = load_on(model, "cuda:1");
  EXPECT_EQ(caught([&] { second.run({{"x", there}}); }).subject(), "input 'x'");
  tensor out = tensor::on_device("cuda:0", f32, {3, 4});
  e = caught([&] { second.run_into({{"x", noise({3, 8})}}, {{"y", out}}); });
  EXPECT_EQ(e.subject(), "output 'y'");
}

// A model that gathers by its input, [n] out of 5 rows.
model_builder lookup_model(element_type type = element_type::int64) {
  model_builder model;
  model.input("x", type, {"n"})
      .initializer("table", noise({5, 8}, 2))
      .initializer("w", noise({8, 3}, 4))
      .node("Gather", {"table", "x"}, {"rows"})
      .node("MatMul", {"rows", "w"}, {"y"})
      .output("y", f32, {"n", 3});
  return model;
}

TEST(device_tensors, indices_are_checked_on_the_device) {
  for (const auto type : {element_type::int64, element_type::int32}) {
    const auto model = lookup_model(type);
    const session on = load_on(model, "cuda:0");
    const auto indices = [&](const std::vector<std::int64_t>& list) {
      const shape_type shape = {static_cast<std::int64_t>(list.size())};
      return type == element_type::int64
                 ? tensor::copy(list, shape)
                 : tensor::copy(std::vector<std::int32_t>(list.begin(), list.end()), shape);
    };
    const tensor good = indices({0, 4, -5, 2});
    const tensor expected = expected_of(model, good);
    const tensor there = good.to_device("cuda:0");
    const tensor bad = indices({0, 1, 5, 2}).to_device("cuda:0");
    for (int round = 0; round < 3; ++round) {
      expect_same(on.run({{"x", there}}).at("y"), expected);
      const error e = caught([&] { on.run({{"x", bad}}); });
      EXPECT_EQ(e.code(), errc::out_of_range);
      EXPECT_NE(e.message().find("index 5 is outside [-5, 4]"), std::string::npos) << e.what();
    }
    expect_same(on.run({{"x", good}}).at("y"), expected);
  }
}

TEST(device_tensors, steps_on_the_host_get_copies) {
  model_builder model;
  model.input("x", f32, {3, 4, 4})
      .initializer("w", noise({4, 4}, 2))
      .node("MatMul", {"x", "w"}, {"a"})
      .node("Det", {"a"}, {"det_a"})  // not the device's
      .node("Det", {"x"}, {"det_x"})
      .node("Identity", {"x"}, {"same"})
      .output("a", f32, {3, 4, 4})
      .output("det_a", f32, {3})
      .output("det_x", f32, {3})
      .output("same", f32, {3, 4, 4});
  const tensor x = noise({3, 4, 4});
  tensor_map expected = session::load(model.bytes()).run({{"x", x}});
  const session on = load_on(model, "cuda:0");
  const tensor there = x.to_device("cuda:0");
  for (int round = 0; round < 2; ++round) {
    const auto kept = on.run({{"x", there}}, {.outputs_on_device = true});
    for (const auto& [name, t] : kept) {
      EXPECT_EQ(t.device(), "cuda:0");
      expect_same(t, expected.at(name));
    }
    expect_near(on.run({{"x", there}}), expected, 2e-5F);
    tensor det;
    on.run_into({{"x", there}}, {{"det_a", det}});
    expect_same(det, expected.at("det_a"));
  }
}

TEST(device_tensors, shapes_that_are_inputs_may_be_there_too) {
  model_builder model;
  model.input("x", f32, {"n", 6})
      .input("shape", element_type::int64, {2})
      .initializer("w", noise({6, 6}, 2))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("Reshape", {"h", "shape"}, {"y"})
      .output("y", f32, {"a", "b"});
  const session on = load_on(model, "cuda:0");
  const tensor x = noise({4, 6}).to_device("cuda:0");
  const auto shape = [](std::int64_t a, std::int64_t b) {
    return tensor::copy({a, b}, {2}).to_device("cuda:0");
  };
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(on.run({{"x", x}, {"shape", shape(3, 8)}}).at("y").shape(), (shape_type{3, 8}));
    EXPECT_EQ(on.run({{"x", x}, {"shape", shape(12, 2)}}).at("y").shape(), (shape_type{12, 2}));
  }
}

TEST(device_tensors, models_in_stages_copy_them) {
  model_builder model;
  model.input("x", f32, {"n", 8})
      .initializer("w", noise({8, 8}, 2))
      .node("MatMul", {"x", "w"}, {"h"})
      .node("NonZero", {"h"}, {"where"})
      .node("Cast", {"where"}, {"y"}, {{"to", std::int64_t{1}}})
      .output("y", f32, {2, "m"});
  const tensor x = noise({3, 8});
  const tensor expected = expected_of(model, x);
  const session on = load_on(model, "cuda:0");
  const auto kept = on.run({{"x", x.to_device("cuda:0")}}, {.outputs_on_device = true});
  EXPECT_EQ(kept.at("y").device(), "cuda:0");
  expect_same(kept.at("y"), expected);
  tensor out = tensor::on_device("cuda:0", f32, expected.shape());
  on.run_into({{"x", x}}, {{"y", out}});
  expect_same(out, expected);
  value_map given;
  given.emplace("x", x.to_device("cuda:0"));
  expect_same(std::get<tensor>(on.run_values(given).at("y")), expected);
}

TEST(device_tensors, each_set_of_addresses_is_recorded) {
  if (!has_streams()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto model = dense_model();
  const session on = load_on(model, "cuda:0");
  constexpr std::size_t sets = 9;  // one more than are kept
  std::vector<tensor> in;
  std::vector<tensor> out;
  for (std::size_t i = 0; i < sets; ++i) {
    in.push_back(noise({3, 8}, static_cast<std::uint32_t>(i + 1)).to_device("cuda:0"));
    out.push_back(tensor::on_device("cuda:0", f32, {3, 4}));
  }
  const auto run = [&](std::size_t i) {
    on.run_into({{"x", in[i]}}, {{"y", out[i]}});
    expect_same(out[i], expected_of(model, in[i].to_host()));
    out[i].copy_from(tensor(f32, {3, 4}));
  };
  const auto recorded = count_of("recorded");
  const auto replayed = count_of("replayed");
  run(0);
  EXPECT_EQ(count_of("recorded") - recorded, 0U);
  run(0);
  EXPECT_EQ(count_of("recorded") - recorded, 1U);
  run(0);
  EXPECT_EQ(count_of("recorded") - recorded, 1U);
  EXPECT_EQ(count_of("replayed") - replayed, 2U);
  for (int round = 0; round < 3; ++round) {
    run(1);
    run(0);
  }
  EXPECT_EQ(count_of("recorded") - recorded, 2U);
  for (std::size_t i = 1; i < sets; ++i) run(i);  // now the first is forgotten
  const auto before = count_of("replayed");
  run(0);
  EXPECT_EQ(count_of("replayed"), before);
}

TEST(device_tensors, a_run_with_a_stream_is_not_waited_for) {
  if (!has_streams()) GTEST_SKIP() << "only the emulated GPU defers work until it is waited for";
  const auto model = dense_model();
  const session on = load_on(model, "cuda:0");
  const tensor x = noise({3, 8});
  const tensor source = x.to_device("cuda:0");
  tensor in = tensor::on_device("cuda:0", f32, {3, 8});
  tensor out = tensor::on_device("cuda:0", f32, {3, 4});
  tensor after = tensor::on_device("cuda:0", f32, {3, 4});
  on.run_into({{"x", in}}, {{"y", out}});
  const tensor expected = expected_of(model, x);
  for (int round = 0; round < 3; ++round) {
    const test_stream stream(0);
    in.copy_from(tensor(f32, {3, 8}));
    in.copy_from(source, stream.get());  // before the run, in the stream
    const auto steps = count_of("steps");
    on.run_into({{"x", in}}, {{"y", out}}, {.stream = stream.get()});
    after.copy_from(out, stream.get());
    EXPECT_EQ(count_of("steps"), steps);
    synchronize("cuda:0", stream.get());
    EXPECT_GT(count_of("steps"), steps);
    expect_same(after, expected);
    // Outputs that it makes.
    const auto made = on.run({{"x", in}}, {.outputs_on_device = true, .stream = stream.get()});
    expect_same(made.at("y").to_host(stream.get()), expected);
    // With anything on the host it is waited for, after what the stream does before.
    in.copy_from(tensor(f32, {3, 8}));
    in.copy_from(source, stream.get());
    expect_same(on.run({{"x", in}}, {.stream = stream.get()}).at("y"), expected);
    on.run_into({{"x", x}}, {{"y", out}}, {.stream = stream.get()});
    expect_same(out, expected);
  }
}

TEST(device_tensors, host_memory_that_a_stream_still_fills_is_waited_for) {
  if (!has_streams()) GTEST_SKIP() << "only the emulated GPU defers work until it is waited for";
  const auto model = dense_model();
  const session on = load_on(model, "cuda:0");
  const test_stream stream(0);
  std::vector<float> values(24, 0.0F);
  const tensor x = tensor::view(std::span<float>(values), {3, 8});
  stream.add([&] { std::fill(values.begin(), values.end(), 0.5F); });
  const tensor y = std::move(on.run({{"x", x}}, {.stream = stream.get()}).at("y"));
  EXPECT_EQ(values[3], 0.5F);
  expect_same(y, expected_of(model, x));
}

TEST(device_tensors, runs_of_several_streams_do_not_mix) {
  if (!has_streams()) GTEST_SKIP() << "only the emulated GPU defers work until it is waited for";
  const auto model = dense_model();
  auto on = std::make_unique<session>(load_on(model, "cuda:0"));
  constexpr std::size_t streams = 6;  // more than there are contexts
  std::vector<std::unique_ptr<test_stream>> list;
  std::vector<tensor> in;
  std::vector<tensor> out;
  for (std::size_t i = 0; i < streams; ++i) {
    list.push_back(std::make_unique<test_stream>(0));
    in.push_back(noise({3, 8}, static_cast<std::uint32_t>(i + 1)).to_device("cuda:0"));
  }
  for (int round = 0; round < 4; ++round) {
    for (std::size_t i = 0; i < streams; ++i) {
      out.push_back(tensor::on_device("cuda:0", f32, {3, 4}));
      on->run_into({{"x", in[i]}}, {{"y", out.back()}}, {.stream = list[i]->get()});
    }
  }
  // With work still to be done: it is, before the memory goes.
  on.reset();
  for (std::size_t i = streams; i-- > 0;) synchronize("cuda:0", list[i]->get());
  for (std::size_t i = 0; i < out.size(); ++i) {
    expect_same(out[i], expected_of(model, in[i % streams].to_host()));
  }
}

TEST(device_tensors, unwanted_outputs_do_not_make_a_run_wait) {
  if (!has_streams()) GTEST_SKIP() << "only the emulated GPU defers work until it is waited for";
  model_builder model;
  model.input("x", f32, {2, 8})
      .initializer("w", noise({8, 8}, 2))
      .node("MatMul", {"x", "w"}, {"y"})
      .node("Relu", {"y"}, {"z"})
      .output("y", f32, {2, 8})
      .output("z", f32, {2, 8});
  const session on = load_on(model, "cuda:0");
  const tensor x = noise({2, 8});
  const tensor there = x.to_device("cuda:0");
  tensor z = tensor::on_device("cuda:0", f32, {2, 8});
  const test_stream stream(0);
  for (int round = 0; round < 3; ++round) {
    const auto steps = count_of("steps");
    on.run_into({{"x", there}}, {{"z", z}}, {.stream = stream.get()});
    EXPECT_EQ(count_of("steps"), steps);
    synchronize("cuda:0", stream.get());
    expect_same(z, expected_of(model, x, "z"));
  }
}

TEST(device_tensors, a_bad_index_in_a_stream_is_told_later) {
  if (!has_streams()) GTEST_SKIP() << "only the emulated GPU defers work until it is waited for";
  const auto model = lookup_model();
  const session on = load_on(model, "cuda:0");
  const test_stream stream(0);
  const auto indices = [](std::int64_t last) {
    return tensor::copy(std::vector<std::int64_t>{0, last}, {2}).to_device("cuda:0");
  };
  const tensor good = indices(4);
  const tensor bad = indices(70000000);
  tensor out = tensor::on_device("cuda:0", f32, {2, 3});
  on.run_into({{"x", bad}}, {{"y", out}}, {.stream = stream.get()});
  synchronize("cuda:0", stream.get());
  const tensor expected = expected_of(model, good.to_host());
  expect_same(out, expected);  // the nearest one
  const error e =
      caught([&] { on.run_into({{"x", good}}, {{"y", out}}, {.stream = stream.get()}); });
  EXPECT_EQ(e.code(), errc::out_of_range);
  EXPECT_NE(e.message().find("index 70000000"), std::string::npos) << e.what();
  EXPECT_NO_THROW(on.run_into({{"x", good}}, {{"y", out}}, {.stream = stream.get()}));
  synchronize("cuda:0", stream.get());
  EXPECT_NO_THROW(on.run({{"x", good}}));
}

TEST(device_tensors, sessions_on_two_gpus_and_several_threads) {
  if (!has_two()) GTEST_SKIP() << "there is one GPU";
  const auto model = dense_model();
  const std::array<session, 2> on = {load_on(model, "cuda:0"), load_on(model, "cuda:1")};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string device = "cuda:" + std::to_string(t % 2);
      const tensor x = noise({3, 8}, t + 1);
      const tensor expected = expected_of(model, x);
      const tensor there = x.to_device(device);
      tensor out = tensor::on_device(device, f32, {3, 4});
      for (int round = 0; round < 10; ++round) {
        on[t % 2].run_into({{"x", there}}, {{"y", out}});
        expect_same(out, expected);
        expect_same(on[t % 2].run({{"x", x}}).at("y"), expected);
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
}  // namespace mizzen::inference
