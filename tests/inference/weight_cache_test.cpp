// Weights that sessions share, and memory that they give back.
#include "inference/runtime/shared_weights.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace mizzen::inference {
namespace {

tensor noise(shape_type shape, unsigned seed) {
  tensor t(element_type::float32, std::move(shape));
  std::minstd_rand random(seed);
  for (float& v : t.data<float>()) v = static_cast<float>(random() % 2000) / 1000.0F - 1.0F;
  return t;
}

// A product with weights, and rows of a table.
std::vector<std::byte> model(std::int64_t width, unsigned seed, bool relu = false) {
  model_builder m;
  m.input("x", element_type::float32, {"n", width})
      .input("i", element_type::int64, {"k"})
      .initializer("w", noise({width, width}, seed))
      .initializer("table", noise({width, width}, 77))
      .node("MatMul", {"x", "w"}, {relu ? "m" : "y"})
      .node("Gather", {"table", "i"}, {"z"});
  if (relu) m.node("Relu", {"m"}, {"y"});
  m.output("y", element_type::float32, {"n", width});
  m.output("z", element_type::float32, {"k", width});
  return m.bytes();
}

std::vector<float> result(const session& s, std::int64_t width) {
  const tensor x = noise({3, width}, 5);
  const auto out = s.run({{"x", x}, {"i", tensor::copy<std::int64_t>({1, 0}, {2})}});
  std::vector<float> all;
  for (const char* name : {"y", "z"}) {
    const auto values = out.at(name).data<float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

std::size_t resident_bytes() {
  std::size_t whole = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> whole >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(weight_cache, lets_sessions_of_one_model_share_and_holds_nothing_itself) {
  const auto weights = std::make_shared<weight_cache>();
  const auto bytes = model(64, 1);
  const auto alone = result(session::load(bytes), 64);
  {
    std::optional<session> first = session::load(bytes, {.weights = weights});
    EXPECT_EQ(weights->size(), 2U);  // the packed matrix, the table
    EXPECT_EQ(weights->hits(), 0U);
    const session second = session::load(bytes, {.threads = 2, .weights = weights});
    EXPECT_EQ(weights->size(), 2U);
    EXPECT_EQ(weights->hits(), 2U);
    EXPECT_EQ(result(*first, 64), alone);
    EXPECT_EQ(result(second, 64), alone);
    first.reset();
    EXPECT_EQ(weights->size(), 2U);
    EXPECT_EQ(result(second, 64), alone);
  }
  EXPECT_EQ(weights->size(), 0U);
  EXPECT_EQ(result(session::load(bytes, {.weights = weights}), 64), alone);
}

TEST(weight_cache, tells_models_apart_by_content) {
  const auto weights = std::make_shared<weight_cache>();
  const auto a = session::load(model(64, 1), {.weights = weights});
  const auto b = session::load(model(64, 2), {.weights = weights});
  EXPECT_EQ(weights->size(), 3U);  // the tables are equal
  EXPECT_EQ(weights->hits(), 1U);
  // What a kernel does besides counts: here it has a Relu fused.
  const auto c = session::load(model(64, 1, true), {.weights = weights});
  EXPECT_EQ(result(a, 64), result(session::load(model(64, 1)), 64));
  EXPECT_EQ(result(b, 64), result(session::load(model(64, 2)), 64));
  EXPECT_EQ(result(c, 64), result(session::load(model(64, 1, true)), 64));
  EXPECT_NE(result(a, 64), result(b, 64));
  EXPECT_NE(result(a, 64), result(c, 64));
}

TEST(weight_cache, is_safe_from_several_threads) {
  const auto weights = std::make_shared<weight_cache>();
  const auto bytes = model(64, 1);
  const auto alone = result(session::load(bytes), 64);
  std::vector<std::vector<float>> results(4);
  {
    std::vector<std::jthread> threads;
    for (auto& r : results) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5; ++i) r = result(session::load(bytes, {.weights = weights}), 64);
      });
    }
  }
  for (const auto& r : results) EXPECT_EQ(r, alone);
  EXPECT_EQ(weights->size(), 0U);
}

TEST(weight_cache, keeps_the_second_session_small) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("mizzen_weights_" + std::to_string(::getpid()) + ".onnx");
  {
    const auto bytes = model(2048, 1);  // 2 × 16 MiB
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  const auto weights = std::make_shared<weight_cache>();
  const session first = session::load(path, {.threads = 1, .weights = weights});
  const std::size_t before = resident_bytes();
  const session second = session::load(path, {.threads = 1, .weights = weights});
  const std::size_t after = resident_bytes();
  std::filesystem::remove(path);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_LT(after, before + (std::size_t{4} << 20));
#endif
  EXPECT_EQ(result(first, 2048), result(second, 2048));
}

TEST(keyed_hash, tells_contents_apart_and_keys_too) {
  const detail::keyed_hash hash;
  std::map<detail::keyed_hash::value, int> seen;
  std::vector<std::byte> bytes(100);
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = std::byte{1};
      EXPECT_EQ(++seen[hash(std::span(bytes).first(size))], 1) << size << " " << i;
      bytes[i] = std::byte{0};
    }
    if (size % 8 != 0) continue;
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = std::byte{255};
      EXPECT_EQ(++seen[hash(std::span(bytes).first(size))], 1) << size << " " << i;
      bytes[i] = std::byte{0};
    }
  }
  EXPECT_EQ(hash(bytes), hash(bytes));
  bytes[3] = std::byte{9};
  EXPECT_NE(hash(bytes), detail::keyed_hash()(bytes));
}

// A wide intermediate value, in a graph that is planned whole and in the body of a loop.
std::vector<std::byte> wide_model(bool in_loop) {
  const auto fill = [](model_builder& m, const std::string& in, const std::string& out) {
    m.initializer("repeats", tensor::copy<std::int64_t>({4096, 1}, {2}))
        .initializer("axes", tensor::copy<std::int64_t>({0}, {1}))
        .node("Tile", {in, "repeats"}, {"wide"})
        .node("Relu", {"wide"}, {"positive"})
        .node("ReduceMax", {"positive"}, {out}, {{"axes", {0}}, {"keepdims", 1}});
  };
  model_builder m;
  m.input("x", element_type::float32, {1, 1024});
  if (in_loop) {
    model_builder body;
    body.input("i", element_type::int64, {})
        .input("go", element_type::boolean, {})
        .input("v", element_type::float32, {1, 1024});
    fill(body, "v", "next");
    body.node("Identity", {"go"}, {"go_on"})
        .output("go_on", element_type::boolean, {})
        .output("next", element_type::float32, {1, 1024});
    m.initializer("trips", tensor::scalar<std::int64_t>(2))
        .node("Loop", {"trips", "", "x"}, {"y"}, {{"body", body}});
  } else {
    fill(m, "x", "y");
  }
  m.output("y", element_type::float32, {1, 1024});
  return m.bytes();
}

TEST(session, gives_the_memory_of_runs_back) {
  for (const bool in_loop : {false, true}) {
    const auto s = session::load(wide_model(in_loop), {.threads = 1});
    const tensor x = noise({1, 1024}, 1);
    const auto before = s.run({{"x", x}});
    const std::size_t used = resident_bytes();
    s.release_memory();
#ifndef __SANITIZE_ADDRESS__
    // Of 16 MiB of working memory.
    EXPECT_LT(resident_bytes() + (std::size_t{12} << 20), used) << in_loop;
#endif
    const auto after = s.run({{"x", x}});
    EXPECT_TRUE(std::ranges::equal(before.at("y").data<float>(), after.at("y").data<float>()));
  }
}

TEST(session, gives_memory_back_while_it_runs) {
  const auto s = session::load(wide_model(true), {.threads = 2});
  const tensor x = noise({1, 1024}, 1);
  const auto expected = s.run({{"x", x}});
  std::jthread other([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) s.release_memory();
  });
  for (int i = 0; i < 5; ++i) {
    const auto out = s.run({{"x", x}});
    EXPECT_TRUE(std::ranges::equal(out.at("y").data<float>(), expected.at("y").data<float>()));
  }
}

}  // namespace
}  // namespace mizzen::inference
