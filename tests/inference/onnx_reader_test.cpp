// The reader against damage: every truncation, every flipped bit, claims beyond the file.
#include "caught.hpp"
#include "inference/onnx/external_file.hpp"
#include "inference/onnx/model.hpp"
#include "inference/onnx/tensor_data.hpp"
#include "inference/onnx/wire.hpp"

#include <mizzen/inference.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace mizzen::inference {
namespace {

using namespace detail;
using mizzen::test::caught;
using ::testing::HasSubstr;

std::vector<std::byte> sample_model() {
  return model_builder{"sample"}
      .input("x", element_type::float32, {"n", 4})
      .initializer("shape", tensor::copy<std::int64_t>({0, 2, 2}, {3}))
      .initializer("w", tensor::copy<float>({1, 2, 3, 4}, {2, 2}))
      .node("Reshape", {"x", "shape"}, {"r"}, {{"allowzero", 0}}, "reshape")
      .node("Transpose", {"r"}, {"t"}, {{"perm", {0, 2, 1}}})
      .node("Concat", {"t", "r"}, {"y"}, {{"axis", -1}})
      .output("y", element_type::float32, {"n", 2, 4})
      .metadata("key", "value")
      .bytes();
}

TEST(onnx_reader, reads_what_the_builder_writes) {
  const auto bytes = sample_model();
  const model_proto model = parse_model(bytes);
  EXPECT_EQ(model.ir_version, 8);
  ASSERT_TRUE(model.graph);
  EXPECT_EQ(model.graph->name, "sample");
  ASSERT_EQ(model.graph->nodes.size(), 3U);
  EXPECT_EQ(model.graph->nodes[0].name, "reshape");
  EXPECT_EQ(model.graph->nodes[1].attributes[0].ints, (std::vector<std::int64_t>{0, 2, 1}));
  EXPECT_EQ(model.graph->nodes[2].attributes[0].i, -1);
  EXPECT_EQ(model.graph->inputs[0].shape->at(0).param, "n");
  EXPECT_EQ(model.metadata.at(0).second, "value");
}

// Whatever prefix is read, it is either an error or a model that loads (when only trailing fields
// are cut off).
TEST(onnx_reader, survives_truncation_at_every_byte) {
  const auto bytes = sample_model();
  std::size_t errors = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    try {
      session::load(std::span(bytes).first(size));
    } catch (const error& e) {
      ++errors;
      EXPECT_FALSE(e.subject().empty()) << "at " << size;
    }
  }
  EXPECT_GT(errors, bytes.size() / 2);
}

TEST(onnx_reader, survives_every_flipped_bit) {
  const auto good = sample_model();
  std::size_t errors = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      auto bytes = good;
      bytes[i] ^= static_cast<std::byte>(1 << bit);
      try {
        const auto s = session::load(bytes, {.threads = 1, .memory_limit = 1 << 20});
        tensor x(element_type::float32, {2, 4});
        s.run({{"x", x}});
      } catch (const error& e) {
        ++errors;
        EXPECT_FALSE(e.subject().empty());
      }
    }
  }
  EXPECT_GT(errors, good.size());
}

TEST(onnx_reader, names_the_path_of_damage) {
  wire_writer attribute;
  attribute.string(1, "perm");
  attribute.string(3, "a string where an integer belongs");
  wire_writer node;
  node.string(4, "Transpose");
  node.message(5, wire_writer());
  node.message(5, attribute);
  wire_writer graph;
  graph.message(1, wire_writer());
  graph.message(1, node);
  wire_writer model;
  model.message(7, graph);
  const auto bytes = model.take();
  const error e = caught([&] { parse_model(bytes); });
  EXPECT_EQ(e.code(), errc::data_loss);
  EXPECT_EQ(e.subject(), "model.graph.node[1].attribute[1].i");
}

TEST(onnx_reader, refuses_numbers_of_more_than_64_bits) {
  std::vector<std::byte> bytes(12, std::byte{0xFF});
  bytes[0] = std::byte{0x08};  // ir_version
  const error e = caught([&] { parse_model(bytes); });
  EXPECT_EQ(e.subject(), "model.ir_version");
  EXPECT_THAT(e.message(), HasSubstr("64 bits"));
}

TEST(onnx_reader, refuses_deeply_nested_graphs) {
  wire_writer graph;
  for (int depth = 0; depth < 100; ++depth) {
    wire_writer attribute;
    attribute.message(6, graph);
    wire_writer node;
    node.message(5, attribute);
    wire_writer outer;
    outer.message(1, node);
    graph = std::move(outer);
  }
  wire_writer model;
  model.message(7, graph);
  const auto bytes = model.take();
  EXPECT_EQ(caught([&] { parse_model(bytes); }).code(), errc::resource_exhausted);
}

// A model with one initializer w, whose message the test makes.
std::vector<std::byte> with_initializer(const wire_writer& tensor_message) {
  wire_writer node;
  node.string(1, "w");
  node.string(2, "y");
  node.string(4, "Identity");
  wire_writer output;
  output.string(1, "y");
  wire_writer graph;
  graph.message(1, node);
  graph.message(5, tensor_message);
  graph.message(12, output);
  wire_writer opset;
  opset.int64(2, 17);
  wire_writer model;
  model.int64(1, 8);
  model.message(7, graph);
  model.message(8, opset);
  return model.take();
}

wire_writer tensor_header(std::vector<std::int64_t> dims, element_type type) {
  wire_writer t;
  t.packed(1, std::span<const std::int64_t>(dims));
  t.int64(2, static_cast<std::int64_t>(type));
  t.string(8, "w");
  return t;
}

TEST(onnx_reader, refuses_a_claimed_gigabyte_before_allocating) {
  for (const bool raw : {true, false}) {
    wire_writer t = tensor_header({1 << 28}, element_type::float32);
    const std::vector<float> few{1, 2, 3};
    if (raw) {
      t.bytes(9, std::as_bytes(std::span(few)));
    } else {
      t.packed(4, few);
    }
    const auto bytes = with_initializer(t);
    const error e = caught([&] { session::load(bytes); });
    EXPECT_EQ(e.code(), errc::invalid_argument);
    EXPECT_EQ(e.subject(), "model.graph.initializer[0] 'w'");
    EXPECT_THAT(e.message(), HasSubstr("268435456"));
  }
}

TEST(onnx_reader, refuses_overflowing_and_negative_shapes) {
  const std::int64_t huge = std::int64_t{1} << 62;
  EXPECT_EQ(caught([&] {
              session::load(with_initializer(tensor_header({huge, huge}, element_type::float32)));
            }).code(),
            errc::out_of_range);
  EXPECT_EQ(caught([&] {
              session::load(with_initializer(tensor_header({-1}, element_type::float32)));
            }).code(),
            errc::invalid_argument);
}

TEST(onnx_reader, reads_every_typed_list) {
  tensor_source source{std::nullopt, 1 << 20};
  tensor_proto p;
  p.dims = {2};
  p.int32_data = {1, 0};
  for (const element_type type : {element_type::int8, element_type::uint8, element_type::int16,
                                  element_type::uint16, element_type::int32, element_type::boolean,
                                  element_type::float16, element_type::bfloat16}) {
    p.data_type = static_cast<std::int32_t>(type);
    const tensor t = make_tensor(p, "t", source);
    EXPECT_EQ(t.type(), type);
    EXPECT_EQ(t.bytes()[0], std::byte{1});
  }
  p.int32_data = {300, 0};
  p.data_type = static_cast<std::int32_t>(element_type::uint8);
  EXPECT_EQ(caught([&] { make_tensor(p, "t", source); }).code(), errc::invalid_argument);
}

class external_data : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("mizzen_external_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_ / "model" / "sub");
    write(folder_ / "model" / "sub" / "w.bin", 12);
    write(folder_ / "outside.bin", 12);
    std::filesystem::create_symlink(folder_ / "outside.bin", folder_ / "model" / "link.bin");
    std::filesystem::create_directory_symlink(folder_, folder_ / "model" / "up");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static void write(const std::filesystem::path& path, std::size_t size) {
    std::ofstream out(path, std::ios::binary);
    const float values[] = {1, 2, 3};
    out.write(reinterpret_cast<const char*>(values), static_cast<std::streamsize>(size));
  }

  session load(const std::string& location, std::vector<std::int64_t> dims = {3},
               const std::string& offset = "0") {
    wire_writer t = tensor_header(std::move(dims), element_type::float32);
    const auto entry = [&](const std::string& key, const std::string& value) {
      wire_writer e;
      e.string(1, key);
      e.string(2, value);
      t.message(13, e);
    };
    entry("location", location);
    entry("offset", offset);
    t.int64(14, 1);
    const auto bytes = with_initializer(t);
    const auto path = folder_ / "model" / "m.onnx";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return session::load(path, {.map_weights = map_});
  }

  std::filesystem::path folder_;
  bool map_ = false;
};

TEST_F(external_data, is_read_below_the_folder) {
  for (const bool map : {false, true}) {
    map_ = map;
    const auto out = load("sub/w.bin").run(tensor_map{});
    EXPECT_THAT(out.at("y").data<float>(), ::testing::ElementsAre(1, 2, 3));
    const auto part = load("sub/w.bin", {1}, "8").run(tensor_map{});
    EXPECT_THAT(part.at("y").data<float>(), ::testing::ElementsAre(3));
  }
}

// Large enough that it is not copied: at a place that is aligned, and at one that is not.
TEST_F(external_data, is_the_same_where_it_is_mapped) {
  std::vector<float> values(2048);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (const std::size_t at : {4096, 4098}) {
    {
      std::ofstream out(folder_ / "model" / "large.bin", std::ios::binary);
      out << std::string(at, ' ');
      out.write(reinterpret_cast<const char*>(values.data()),
                static_cast<std::streamsize>(values.size() * sizeof(float)));
    }
    for (const bool map : {false, true}) {
      map_ = map;
      const auto out = load("large.bin", {2048}, std::to_string(at)).run(tensor_map{});
      EXPECT_THAT(out.at("y").data<float>(), ::testing::ElementsAreArray(values)) << at << map;
    }
  }
}

TEST_F(external_data, never_leaves_the_folder) {
  for (const bool map : {false, true}) {
    map_ = map;
    for (const std::string location :
         {"../outside.bin", "sub/../../outside.bin", "link.bin", "up/outside.bin", "", ".."}) {
      EXPECT_EQ(caught([&] { load(location); }).code(), errc::permission_denied) << location;
    }
    EXPECT_EQ(caught([&] { load((folder_ / "outside.bin").string()); }).code(),
              errc::permission_denied);
  }
}

// Both ways in which a path is confined.
TEST_F(external_data, is_confined_with_and_without_openat2) {
  const auto model = folder_ / "model";
  std::filesystem::create_symlink("w.bin", model / "sub" / "link.bin");
  std::filesystem::create_directory_symlink("sub", model / "alias");
  ASSERT_EQ(::mkfifo((model / "fifo").c_str(), 0600), 0);
  for (const confinement how : {confinement::best, confinement::by_component}) {
    const auto open = [&](const std::string& location) {
      return open_below(model, location, "tensor 't'", how);
    };
    for (const std::string location : {"sub/w.bin", "./sub/w.bin", "sub//w.bin", "sub/./w.bin"}) {
      EXPECT_EQ(open(location).size, 12U) << location;
    }
    const auto code = [&](const std::string& location) {
      const error e = caught([&] { open(location); });
      EXPECT_EQ(e.subject(), "tensor 't'");
      return e.code();
    };
    for (const std::string location :
         {"../outside.bin", "sub/../sub/w.bin", "/etc/passwd", "link.bin", "sub/link.bin",
          "alias/w.bin", "up/outside.bin", "", "..", "sub/w.bin/", "sub/w.bin/x"}) {
      EXPECT_EQ(code(location), errc::permission_denied) << location;
    }
    EXPECT_EQ(code(std::string("sub/w.bin\0x", 11)), errc::permission_denied);
    EXPECT_THAT(caught([&] { open("alias/w.bin"); }).message(), HasSubstr("symbolic link"));
    EXPECT_EQ(code("none.bin"), errc::not_found);
    EXPECT_EQ(code("none/w.bin"), errc::not_found);
    EXPECT_EQ(code("sub"), errc::invalid_argument);
    EXPECT_EQ(code("fifo"), errc::invalid_argument);
    const error e = caught([&] { open("*/_ORT_MEM_ADDR_/*"); });
    EXPECT_EQ(e.code(), errc::permission_denied);
    EXPECT_THAT(e.message(), HasSubstr("save the model with its data"));
    // Below a folder that is none of a model's, the files of devices.
    EXPECT_EQ(caught([&] { open_below("/dev", "null", "t", how); }).code(), errc::invalid_argument);
    EXPECT_NE(caught([&] { open_below("/proc/self", "fd/0", "t", how); }).code(), errc::internal);
  }
}

TEST_F(external_data, must_be_there_and_long_enough) {
  for (const bool map : {false, true}) {
    map_ = map;
    EXPECT_EQ(caught([&] { load("none.bin"); }).code(), errc::not_found);
    EXPECT_EQ(caught([&] { load("sub/w.bin", {1 << 28}); }).code(), errc::data_loss);
    EXPECT_EQ(caught([&] { load("sub/w.bin", {3}, "4"); }).code(), errc::data_loss);
    EXPECT_EQ(caught([&] { load("sub/w.bin", {3}, "-4"); }).code(), errc::invalid_argument);
    EXPECT_EQ(caught([&] { load("sub/w.bin", {3}, "18446744073709551615"); }).code(),
              errc::data_loss);
    EXPECT_EQ(caught([&] { load("*/_ORT_MEM_ADDR_/*"); }).code(), errc::permission_denied);
  }
}

TEST(model_builder, names_what_is_wrong) {
  const auto check = [](const model_builder& b) { return caught([&] { b.bytes(); }); };
  model_builder unknown_input;
  unknown_input.node("Identity", {"x"}, {"y"}).output("y", element_type::float32, {});
  EXPECT_THAT(check(unknown_input).message(), HasSubstr("'x'"));
  model_builder twice;
  twice.input("x", element_type::float32, {}).node("Identity", {"x"}, {"x"});
  EXPECT_THAT(check(twice).message(), HasSubstr("twice"));
  EXPECT_THAT(check(model_builder{}).message(), HasSubstr("no output"));
}

TEST(model_builder, saves_whole_files) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("mizzen_builder_" + std::to_string(::getpid()) + ".onnx");
  model_builder b;
  b.input("x", element_type::float32, {2}).node("Identity", {"x"}, {"y"});
  b.output("y", element_type::float32, {2});
  b.save(path);
  EXPECT_EQ(std::filesystem::file_size(path), b.bytes().size());
  EXPECT_NO_THROW(session::load(path));
  std::filesystem::remove(path);
  EXPECT_EQ(caught([&] { b.save("/no/such/folder/m.onnx"); }).code(), errc::not_found);
}

}  // namespace
}  // namespace mizzen::inference
