// Loading: files that are mapped, and what stops it.
#include "caught.hpp"
#include "inference/device/device.hpp"
#include "inference/graph/constant_memory.hpp"
#include "inference/graph/import.hpp"
#include "inference/graph/shape_inference.hpp"
#include "inference/passes/passes.hpp"
#include "optimised.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stop_token>
#include <string>
#include <unistd.h>

namespace mizzen::inference {
namespace {

using test::caught;

std::vector<std::byte> small_model() {
  return model_builder{}
      .input("x", f32, {2, 64})
      .initializer("w", noise({64, 64}))
      .node("MatMul", {"x", "w"}, {"y"})
      .output("y", f32, {2, 64})
      .bytes();
}

bool is_mapped(const std::filesystem::path& file) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    if (line.ends_with(file.string())) return true;
  }
  return false;
}

// A table that is read as it is, and weights that are packed.
TEST(session, maps_its_file_while_a_kernel_reads_it) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("mizzen_mapped_" + std::to_string(::getpid()) + ".onnx");
  for (const bool with_table : {true, false}) {
    tensor table(element_type::uint8, {64, 1024});
    for (std::size_t i = 0; i < table.size(); ++i) {
      table.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i % 251);
    }
    model_builder m;
    m.input("x", element_type::float32, {2, 64})
        .input("i", element_type::int64, {1})
        .initializer("w", noise({64, 64}, 3))
        .node("MatMul", {"x", "w"}, {"y"})
        .output("y", element_type::float32, {2, 64});
    if (with_table) {
      m.initializer("table", table)
          .node("Gather", {"table", "i"}, {"z"})
          .output("z", element_type::uint8, {1, 1024});
    }
    m.save(path);
    const tensor x = noise({2, 64}, 4);
    const auto row = tensor::copy<std::int64_t>({5}, {1});
    const auto expected = session::load(path).run({{"x", x}, {"i", row}});
    EXPECT_FALSE(is_mapped(path));
    {
      const auto s = session::load(path, {.map_weights = true});
      EXPECT_EQ(is_mapped(path), with_table);
      // As a new version of a model is to be put in its place.
      std::filesystem::remove(path);
      const auto out = s.run({{"x", x}, {"i", row}});
      EXPECT_TRUE(std::ranges::equal(out.at("y").data<float>(), expected.at("y").data<float>()));
      if (with_table) {
        EXPECT_TRUE(std::ranges::equal(out.at("z").data<std::uint8_t>(),
                                       table.data<std::uint8_t>().subspan(5 * 1024, 1024)));
      }
    }
    EXPECT_FALSE(is_mapped(path.string() + " (deleted)"));
  }
}

TEST(session, maps_no_file_that_is_damaged) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("mizzen_mapped_" + std::to_string(::getpid()) + ".onnx");
  const auto bytes = small_model();
  for (const std::size_t size : {bytes.size() / 2, std::size_t{0}}) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(size));
    EXPECT_THROW(session::load(path, {.map_weights = true}), error) << size;
    EXPECT_FALSE(is_mapped(path));
  }
  std::filesystem::remove(path);
}

TEST(constant_memory, is_zeroed_and_aligned_at_each_size) {
  for (const std::int64_t size : {0, 1, 1000, 300'000, 1'000'000}) {
    tensor t = detail::make_constant(f32, {size, 1});
    EXPECT_EQ(t.shape(), (shape_type{size, 1}));
    EXPECT_FALSE(t.read_only());
    const auto values = t.data<float>();
    EXPECT_TRUE(std::ranges::all_of(values, [](float v) { return v == 0; }));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(values.data()) % 64, 0U);
    if (size != 0) values.back() = 1;
  }
  EXPECT_EQ(detail::make_constant(element_type::string, {2}).size(), 2U);
  EXPECT_EQ(caught([] { detail::make_constant(f32, {std::int64_t{1} << 46}); }).code(),
            errc::resource_exhausted);
}

// Much work for few numbers, and none of it needs an input.
std::vector<std::byte> laborious_model() {
  return model_builder{}
      .input("x", f32, {256, 256})
      .initializer("a", noise({256, 1024}))
      .node("Einsum", {"a", "a", "a"}, {"c"}, {{"equation", "ij,kj,lj->il"}})  // 2^34 products
      .node("Add", {"x", "c"}, {"y"})
      .output("y", f32, {256, 256})
      .bytes();
}

TEST(session, is_not_loaded_where_the_caller_has_enough) {
  std::stop_source source;
  source.request_stop();
  const error cancelled =
      caught([&] { session::load(small_model(), {.cancel = {source.get_token(), {}}}); });
  EXPECT_EQ(cancelled.code(), errc::cancelled);
  const auto start = std::chrono::steady_clock::now();
  const error late = caught([&] {
    session::load(laborious_model(),
                  {.threads = 1, .cancel = {{}, deadline::after(std::chrono::milliseconds(50))}});
  });
  EXPECT_EQ(late.code(), errc::deadline_exceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
}

TEST(fold_constants, leaves_to_the_run_what_takes_too_long) {
  const auto bytes = laborious_model();
  detail::tensor_source source{std::nullopt, 1 << 30};
  detail::imported_model m =
      detail::import_model(detail::parse_model(bytes), source, detail::custom_operators({}));
  detail::infer_graph(m.g);
  const auto device = detail::make_device({.threads = 1});
  const logger log;
  const std::function<void(std::string_view, const std::string&)> nobody;
  detail::loading_limits limits;
  limits.folding = std::chrono::milliseconds(20);
  detail::pass_context context{*device, log, 1 << 30, nobody, limits};
  EXPECT_FALSE(detail::fold_constants(m.g, context));
  EXPECT_EQ(m.g.nodes.size(), 2U);
  EXPECT_EQ(limits.folding, std::chrono::nanoseconds(0));
}

// What hangs on no input is computed where shapes are worked out, if it was not before.
TEST(session, stops_while_it_plans) {
  const auto model = model_builder{}
                         .input("x", f32, {"n", 64})
                         .initializer("a", noise({64, 256}))
                         .initializer("b", noise({1024, 256}))
                         .node("Einsum", {"a", "b", "b"}, {"c"}, {{"equation", "ij,kj,lj->i"}})
                         .node("Add", {"x", "c"}, {"y"})
                         .output("y", f32, {"n", 64})
                         .bytes();  // 2^34 products for 64 numbers
  const auto s = session::load(model, {.threads = 1, .optimize = false});
  const auto start = std::chrono::steady_clock::now();
  const error e = caught([&] {
    s.run({{"x", noise({2, 64})}},
          {.cancel = {{}, deadline::after(std::chrono::milliseconds(50))}});
  });
  EXPECT_EQ(e.code(), errc::deadline_exceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
}

}  // namespace
}  // namespace mizzen::inference
