// Sessions end to end: what runs, what is refused and with which words, and that a planned run
// allocates nothing.
#include "caught.hpp"

#include <mizzen/inference.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <numeric>
#include <thread>
#include <unistd.h>

namespace {

std::atomic<bool> counting = false;
std::atomic<std::size_t> allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) ++allocations;
  void* memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size == 0 ? 1 : size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Every allocation of this program goes through these, so that a test can count them.
void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace mizzen::inference {
namespace {

using mizzen::test::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// y[batch, 4] = transpose twice, slice and concat: only data operators.
std::vector<std::byte> data_model() {
  return model_builder{"data"}
      .input("x", element_type::float32, {"batch", 4})
      .node("Transpose", {"x"}, {"t"}, {{"perm", {1, 0}}})
      .node("Split", {"t"}, {"a", "b"}, {{"axis", 0}})
      .node("Concat", {"b", "a"}, {"c"}, {{"axis", 0}})
      .node("Transpose", {"c"}, {"y"}, {{"perm", {1, 0}}})
      .output("y", element_type::float32, {"batch", 4})
      .metadata("author", "test")
      .bytes();
}

tensor iota(shape_type shape) {
  tensor t(element_type::float32, std::move(shape));
  std::iota(t.data<float>().begin(), t.data<float>().end(), 0.0F);
  return t;
}

TEST(session, runs_with_several_batch_sizes) {
  const auto s = session::load(data_model());
  for (const std::int64_t batch : {1, 3, 1, 0, 7}) {
    const auto out = s.run({{"x", iota({batch, 4})}});
    const auto y = out.at("y").data<float>();
    ASSERT_EQ(out.at("y").shape(), (shape_type{batch, 4}));
    for (std::size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(y[i], static_cast<float>(i / 4 * 4 + (i + 2) % 4));
    }
  }
}

TEST(session, describes_inputs_outputs_and_metadata) {
  const auto s = session::load(data_model());
  ASSERT_EQ(s.inputs().size(), 1U);
  EXPECT_EQ(to_string(s.inputs()[0]), "float32[batch, 4]");
  ASSERT_EQ(s.outputs().size(), 1U);
  EXPECT_EQ(to_string(s.outputs()[0]), "float32[batch, 4]");
  EXPECT_EQ(s.metadata().at("author"), "test");
  EXPECT_THAT(s.dump_graph(), HasSubstr("Concat"));
}

TEST(session, refuses_wrong_inputs_by_name) {
  const auto s = session::load(model_builder{}
                                   .input("a", element_type::float32, {"n", 2})
                                   .input("b", element_type::float32, {"n", 2})
                                   .node("Concat", {"a", "b"}, {"y"}, {{"axis", 1}})
                                   .output("y", element_type::float32, {"n", 4})
                                   .bytes());
  const auto run = [&](std::vector<named_input> in) { return caught([&] { s.run(in); }); };
  const tensor good = iota({3, 2});
  const tensor wide = iota({3, 5});
  const tensor flat = iota({6});
  const tensor longer = iota({4, 2});
  const tensor ints(element_type::int64, {3, 2});
  error e = run({{"a", good}});
  EXPECT_EQ(e.subject(), "input 'b'");
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_THAT(e.message(), HasSubstr("float32[n, 2]"));
  EXPECT_EQ(run({{"a", good}, {"b", wide}}).subject(), "input 'b'");
  EXPECT_THAT(run({{"a", good}, {"b", flat}}).message(), HasSubstr("rank"));
  EXPECT_THAT(run({{"a", good}, {"b", longer}}).message(), HasSubstr("'n' is 3 in input 'a'"));
  EXPECT_THAT(run({{"a", good}, {"b", ints}}).message(), HasSubstr("int64"));
  EXPECT_EQ(run({{"a", good}, {"b", good}, {"c", good}}).subject(), "input 'c'");
  EXPECT_THAT(run({{"a", good}, {"a", good}}).message(), HasSubstr("twice"));
}

TEST(session, runs_into_given_tensors) {
  const auto s = session::load(data_model());
  tensor y(element_type::float32, {2, 4});
  tensor made;
  const tensor x = iota({2, 4});
  s.run_into({{"x", x}}, {{"y", y}});
  EXPECT_EQ(y.data<float>()[0], 2.0F);
  s.run_into({{"x", x}}, {{"y", made}});
  EXPECT_THAT(made.shape(), ElementsAre(2, 4));
  tensor small(element_type::float32, {1, 4});
  const error e = caught([&] { s.run_into({{"x", x}}, {{"y", small}}); });
  EXPECT_EQ(e.subject(), "output 'y'");
  EXPECT_THAT(e.message(), HasSubstr("float32[2, 4]"));
  EXPECT_EQ(caught([&] { s.run_into({{"x", x}}, {{"z", y}}); }).subject(), "output 'z'");
}

TEST(session, allocates_nothing_once_a_shape_is_known) {
  const auto s = session::load(data_model(), {.threads = 2});
  const tensor small = iota({2, 4});
  const tensor large = iota({50, 4});
  tensor small_out(element_type::float32, {2, 4});
  tensor large_out(element_type::float32, {50, 4});
  const std::vector<named_input> small_in{{"x", small}}, large_in{{"x", large}};
  const std::vector<named_output> small_to{{"y", small_out}}, large_to{{"y", large_out}};
  s.run_into(small_in, small_to);
  s.run_into(large_in, large_to);
  allocations = 0;
  counting = true;
  for (int i = 0; i < 10; ++i) {
    s.run_into(small_in, small_to);
    s.run_into(large_in, large_to);
  }
  counting = false;
  EXPECT_EQ(allocations.load(), 0U);
  EXPECT_EQ(large_out.data<float>()[4], 6.0F);
}

TEST(session, reads_and_writes_memory_of_the_caller_without_allocating) {
  const custom_operator twice{
      .domain = "com.example", .name = "Twice", .compute = [](custom_run& run) {
        std::ranges::transform(run.input(0).data<float>(), run.output(0).data<float>().begin(),
                               [](float v) { return 2 * v; });
      }};
  const auto s = session::load(model_builder{}
                                   .opset(1, "com.example")
                                   .input("x", element_type::float32, {"n", 4})
                                   .node("Twice", {"x"}, {"t"}, {}, "", "com.example")
                                   .node("Relu", {"t"}, {"y"})
                                   .output("y", element_type::float32, {"n", 4})
                                   .bytes(),
                               {.threads = 1, .operators = {twice}});
  // One float behind a boundary of 64 bytes: aligned for its type and no more.
  alignas(64) std::array<float, 32> in{}, out{};
  std::iota(in.begin(), in.end(), -8.0F);
  const std::span<const float> from(in.data() + 1, 16);
  const std::span<float> to(out.data() + 1, 16);
  const tensor x = tensor::view(from, {4, 4});
  tensor y = tensor::view(to, {4, 4});
  const std::vector<named_input> inputs{{"x", x}};
  const std::vector<named_output> outputs{{"y", y}};
  s.run_into(inputs, outputs);
  EXPECT_EQ(out[16], 16.0F);
  in[16] = 100;
  allocations = 0;
  counting = true;
  for (int i = 0; i < 10; ++i) s.run_into(inputs, outputs);
  counting = false;
  EXPECT_EQ(allocations.load(), 0U);
  EXPECT_EQ(out[16], 200.0F);
  EXPECT_EQ(out[0], 0.0F);
  EXPECT_EQ(out[17], 0.0F);

  tensor constant = tensor::view(from, {4, 4});
  EXPECT_THAT(caught([&] { s.run_into({{"x", x}}, {{"y", constant}}); }).message(),
              HasSubstr("read-only"));
  EXPECT_EQ(caught([&] { tensor::view(to, {4, 5}); }).code(), errc::invalid_argument);
}

TEST(session, writes_into_memory_of_the_caller_in_stages_too) {
  const auto s = session::load(model_builder{}
                                   .input("x", element_type::float32, {4})
                                   .node("NonZero", {"x"}, {"where"})
                                   .node("Add", {"x", "x"}, {"twice"})
                                   .node("Identity", {"where"}, {"again"})
                                   .output("where", element_type::int64, {1, "n"})
                                   .output("twice", element_type::float32, {4})
                                   .output("again", element_type::int64, {1, "n"})
                                   .bytes());
  const tensor x = tensor::copy<float>({0, 1, 0, 2}, {4});
  std::array<float, 4> twice{};
  std::array<std::int64_t, 2> where{}, again{};
  tensor to_twice = tensor::view(std::span<float>(twice), {4});
  tensor to_where = tensor::view(std::span<std::int64_t>(where), {1, 2});
  tensor to_again = tensor::view(std::span<std::int64_t>(again), {1, 2});
  tensor made;
  s.run_into({{"x", x}}, {{"twice", to_twice}, {"where", to_where}, {"again", to_again}});
  EXPECT_THAT(twice, ElementsAre(0, 2, 0, 4));
  EXPECT_THAT(where, ElementsAre(1, 3));
  EXPECT_THAT(again, ElementsAre(1, 3));
  s.run_into({{"x", x}}, {{"twice", to_twice}, {"where", made}});
  EXPECT_THAT(made.data<std::int64_t>(), ElementsAre(1, 3));
  tensor small(element_type::float32, {3});
  EXPECT_EQ(caught([&] { s.run_into({{"x", x}}, {{"twice", small}}); }).subject(),
            "output 'twice'");
}

TEST(session, is_safe_from_several_threads) {
  const auto s = session::load(data_model(), {.threads = 2, .cached_plans = 2});
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const tensor x = iota({1 + (i + t) % 4, 4});
        const auto out = s.run({{"x", x}});
        const auto y = out.at("y").data<float>();
        for (std::size_t k = 0; k < y.size(); ++k) {
          if (y[k] != static_cast<float>(k / 4 * 4 + (k + 2) % 4)) ++wrong;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(session, stops_when_cancelled) {
  const auto s = session::load(data_model());
  std::stop_source source;
  source.request_stop();
  const error e = caught(
      [&] { s.run({{"x", iota({1, 4})}}, {.cancel = {source.get_token(), deadline::never()}}); });
  EXPECT_EQ(e.code(), errc::cancelled);
}

TEST(session, lists_every_missing_operator) {
  const auto model = model_builder{}
                         .input("x", element_type::float32, {2})
                         .node("NoSuchOp", {"x"}, {"a"}, {}, "first")
                         .node("Fancy", {"a"}, {"b"}, {}, "second", "com.example")
                         .node("Identity", {"b"}, {"y"})
                         .opset(1, "com.example")
                         .output("y", element_type::float32, {2})
                         .bytes();
  const error e = caught([&] { session::load(model); });
  EXPECT_EQ(e.code(), errc::unimplemented);
  EXPECT_THAT(e.message(), HasSubstr("NoSuchOp version 17 (node 'first')"));
  EXPECT_THAT(e.message(), HasSubstr("com.example.Fancy version 1 (node 'second')"));
  EXPECT_THAT(e.message(), HasSubstr("lacks 2"));
}

// Types and attributes that no kernel takes, found when the nodes are compiled.
TEST(session, lists_every_node_that_cannot_be_computed) {
  const auto model = model_builder{}
                         .input("x", element_type::string, {2})
                         .node("Sin", {"x"}, {"a"}, {}, "first")
                         .node("Cos", {"x"}, {"b"}, {}, "second")
                         .output("a", element_type::string, {2})
                         .output("b", element_type::string, {2})
                         .bytes();
  const error e = caught([&] { session::load(model); });
  EXPECT_EQ(e.code(), errc::unimplemented);
  EXPECT_THAT(e.message(), HasSubstr("2 nodes cannot be computed"));
  EXPECT_THAT(e.message(), HasSubstr("node 'first' (Sin): "));
  EXPECT_THAT(e.message(), HasSubstr("node 'second' (Cos): "));
}

// Kernels that may take minutes within one node ask too.
TEST(session, stops_within_one_long_node) {
  const auto s =
      session::load(model_builder{}
                        .input("a", element_type::float32, {"i", "j"})
                        .node("Einsum", {"a", "a", "a"}, {"y"}, {{"equation", "ij,kj,lj->ikl"}})
                        .output("y", element_type::float32, {"i", "i", "i"})
                        .bytes(),
                    {.threads = 1});
  const tensor a(element_type::float32, {256, 1024});  // 2^34 products
  const auto start = std::chrono::steady_clock::now();
  const error e = caught(
      [&] { s.run({{"a", a}}, {.cancel = {{}, deadline::after(std::chrono::milliseconds(50))}}); });
  EXPECT_EQ(e.code(), errc::deadline_exceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(session, keeps_to_its_memory_limit) {
  const auto model = model_builder{}
                         .input("x", element_type::float32, {"n", 1})
                         .initializer("shape", tensor::copy<std::int64_t>({1, 1024}, {2}))
                         .node("Tile", {"x", "shape"}, {"y"})
                         .output("y", element_type::float32, {"n", 1024})
                         .bytes();
  const auto s = session::load(model, {.memory_limit = 1 << 20});
  EXPECT_NO_THROW(s.run({{"x", iota({4, 1})}}));
  const error e = caught([&] { s.run({{"x", iota({1000, 1})}}); });
  EXPECT_EQ(e.code(), errc::resource_exhausted);
  EXPECT_THAT(e.message(), HasSubstr("memory_limit"));
  EXPECT_NO_THROW(s.run({{"x", iota({4, 1})}}));
}

TEST(session, takes_shapes_from_inputs) {
  const auto model = model_builder{}
                         .input("x", element_type::float32, {"n"})
                         .input("shape", element_type::int64, {2})
                         .node("Reshape", {"x", "shape"}, {"y"})
                         .output("y", element_type::float32, {"a", "b"})
                         .bytes();
  const auto s = session::load(model);
  const auto run = [&](std::int64_t a, std::int64_t b) {
    const auto shape = tensor::copy<std::int64_t>({a, b}, {2});
    return s.run({{"x", iota({6})}, {"shape", shape}}).at("y").shape();
  };
  EXPECT_THAT(run(2, 3), ElementsAre(2, 3));
  EXPECT_THAT(run(3, 2), ElementsAre(3, 2));
  EXPECT_THAT(run(-1, 6), ElementsAre(1, 6));
  EXPECT_EQ(caught([&] { run(4, 2); }).code(), errc::invalid_argument);
}

TEST(session, takes_shapes_that_the_model_computes) {
  const auto model = model_builder{}
                         .input("x", element_type::float32, {100})
                         .initializer("k", tensor::copy<std::int64_t>({2}, {1}))
                         .node("TopK", {"x", "k"}, {"v", "shape"})
                         .node("ConstantOfShape", {"shape"}, {"y"}, {}, "fill")
                         .output("y", element_type::float32, {"a", "b"})
                         .bytes();
  for (const bool optimize : {true, false}) {
    const auto s = session::load(model, {.optimize = optimize});
    tensor x = iota({100});
    EXPECT_THAT(s.run({{"x", x}}).at("y").shape(), ElementsAre(99, 98));
    x.data<float>()[7] = 1000;
    EXPECT_THAT(s.run({{"x", x}}).at("y").shape(), ElementsAre(7, 99));
    tensor y;
    s.run_into({{"x", x}}, {{"y", y}});
    EXPECT_THAT(y.shape(), ElementsAre(7, 99));
    tensor small(element_type::float32, {1, 1});
    EXPECT_EQ(caught([&] { s.run_into({{"x", x}}, {{"y", small}}); }).subject(), "output 'y'");
  }
  const auto tight = session::load(model, {.memory_limit = 8192});
  EXPECT_EQ(caught([&] { tight.run({{"x", iota({100})}}); }).code(), errc::resource_exhausted);
}

TEST(session, takes_a_large_shape_only_to_a_point) {
  // The split sizes are a wide operand that a plan must know.
  const auto model = model_builder{}
                         .input("x", element_type::float32, {"n"})
                         .node("NonZero", {"x"}, {"where"})
                         .node("Squeeze", {"where"}, {"sizes"})
                         .node("ConstantOfShape", {"sizes"}, {"y"})
                         .output("y", element_type::float32, {})
                         .bytes();
  const auto s = session::load(model);
  const error e = caught([&] { s.run({{"x", iota({5000})}}); });
  EXPECT_EQ(e.code(), errc::unimplemented);
}

TEST(session, computes_shapes_from_shapes) {
  // The usual export of x.view(x.shape[0], -1): Shape, Gather, Unsqueeze, Concat, Reshape.
  const auto model = model_builder{}
                         .input("x", element_type::float32, {"n", "a", "b"})
                         .initializer("zero", tensor::scalar<std::int64_t>(0))
                         .initializer("axes", tensor::copy<std::int64_t>({0}, {1}))
                         .initializer("rest", tensor::copy<std::int64_t>({-1}, {1}))
                         .node("Shape", {"x"}, {"s"})
                         .node("Gather", {"s", "zero"}, {"n"})
                         .node("Unsqueeze", {"n", "axes"}, {"n1"})
                         .node("Concat", {"n1", "rest"}, {"target"}, {{"axis", 0}})
                         .node("Reshape", {"x", "target"}, {"y"})
                         .output("y", element_type::float32, {"n", "ab"})
                         .bytes();
  for (const bool optimize : {true, false}) {
    const auto s = session::load(model, {.optimize = optimize});
    EXPECT_THAT(s.run({{"x", iota({2, 3, 4})}}).at("y").shape(), ElementsAre(2, 12));
    EXPECT_THAT(s.run({{"x", iota({5, 1, 2})}}).at("y").shape(), ElementsAre(5, 2));
  }
}

TEST(session, hands_out_constants_inputs_and_repeats) {
  const auto model = model_builder{}
                         .input("x", element_type::float32, {2})
                         .initializer("c", tensor::copy<float>({5, 6}, {2}))
                         .node("Identity", {"x"}, {"same"})
                         .node("Identity", {"c"}, {"constant"})
                         .node("Concat", {"x", "c"}, {"both"}, {{"axis", 0}})
                         .node("Identity", {"both"}, {"again"})
                         .output("same", element_type::float32, {2})
                         .output("constant", element_type::float32, {2})
                         .output("both", element_type::float32, {4})
                         .output("again", element_type::float32, {4})
                         .bytes();
  for (const bool optimize : {true, false}) {
    const auto s = session::load(model, {.optimize = optimize});
    const auto out = s.run({{"x", tensor::copy<float>({1, 2}, {2})}});
    EXPECT_THAT(out.at("same").data<float>(), ElementsAre(1, 2));
    EXPECT_THAT(out.at("constant").data<float>(), ElementsAre(5, 6));
    EXPECT_THAT(out.at("both").data<float>(), ElementsAre(1, 2, 5, 6));
    EXPECT_THAT(out.at("again").data<float>(), ElementsAre(1, 2, 5, 6));
    // Outputs that are not asked for need no memory of the caller.
    tensor again;
    s.run_into({{"x", tensor::copy<float>({3, 4}, {2})}}, {{"again", again}});
    EXPECT_THAT(again.data<float>(), ElementsAre(3, 4, 5, 6));
  }
}

TEST(session, checks_indices_in_the_data) {
  const auto s = session::load(model_builder{}
                                   .input("x", element_type::float32, {3})
                                   .input("i", element_type::int64, {"n"})
                                   .node("Gather", {"x", "i"}, {"y"}, {}, "pick")
                                   .output("y", element_type::float32, {"n"})
                                   .bytes());
  const tensor x = iota({3});
  const auto good = s.run({{"x", x}, {"i", tensor::copy<std::int64_t>({2, -3}, {2})}});
  EXPECT_THAT(good.at("y").data<float>(), ElementsAre(2, 0));
  const error e =
      caught([&] { s.run({{"x", x}, {"i", tensor::copy<std::int64_t>({0, 3}, {2})}}); });
  EXPECT_EQ(e.code(), errc::invalid_argument);
  EXPECT_THAT(e.subject(), HasSubstr("pick"));
}

// Constants of a file stay in the file's memory: at any offset, packed or read again in each run.
TEST(session, loads_the_same_from_a_file) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("mizzen_session_" + std::to_string(::getpid()) + ".onnx");
  const tensor x = iota({2, 64});
  for (std::size_t shift = 0; shift < 9; ++shift) {
    tensor weights = iota({64, 64});
    for (float& v : weights.data<float>()) v = v / 2048.0F - 1.0F;
    tensor steps(element_type::int64, {1024});
    for (std::size_t i = 0; i < 1024; ++i)
      steps.data<std::int64_t>()[i] = static_cast<std::int64_t>(i);
    const std::string pad(shift, 'p');
    model_builder m;
    m.input("x", element_type::float32, {"n", 64})
        .input("i", element_type::int64, {"k"})
        .initializer("w" + pad, weights)
        .initializer("steps", steps)
        .initializer("table", iota({2048}))
        .node("MatMul", {"x", "w" + pad}, {"y"})
        .node("Gather", {"steps", "i"}, {"j"})
        .node("Gather", {"table", "j"}, {"z"})
        .output("y", element_type::float32, {"n", 64})
        .output("z", element_type::float32, {"k"});
    m.save(path);
    const auto from_file = session::load(path);
    const auto from_bytes = session::load(m.bytes());
    const tensor i = tensor::copy<std::int64_t>({0, 1, 511, 1023}, {4});
    for (int run = 0; run < 2; ++run) {
      const auto a = from_file.run({{"x", x}, {"i", i}});
      const auto b = from_bytes.run({{"x", x}, {"i", i}});
      EXPECT_TRUE(std::ranges::equal(a.at("y").data<float>(), b.at("y").data<float>())) << shift;
      EXPECT_THAT(a.at("z").data<float>(), ElementsAre(0, 1, 511, 1023));
    }
  }
  std::filesystem::remove(path);
}

TEST(session, names_a_missing_file_and_device) {
  EXPECT_EQ(caught([] { session::load("/no/such/model.onnx"); }).code(), errc::not_found);
  EXPECT_EQ(caught([] { session::load("/"); }).code(), errc::invalid_argument);
  EXPECT_EQ(caught([] { session::load(data_model(), {.device = "tpu"}); }).code(), errc::not_found);
  const error e = caught([] { session::load(data_model(), {.device = "cuda:0"}); });
  EXPECT_EQ(e.code(), errc::unavailable);
  EXPECT_THAT(e.message(), HasSubstr("plug-in"));
  EXPECT_EQ(devices().front().name, "cpu");
  EXPECT_TRUE(devices().front().available);
}

}  // namespace
}  // namespace mizzen::inference
