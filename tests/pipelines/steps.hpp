// Steps, and a folder that goes away, for the tests of pipelines.
#pragma once

#include <mizzen/pipelines.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace mizzen::pipelines::test {

class pipeline_test : public testing::Test {
 protected:
  pipeline_test() : root(std::filesystem::temp_directory_path() / ("mizzen-" + random_hex_id())) {}
  ~pipeline_test() override { std::filesystem::remove_all(root); }

  run_options options() const { return {.root = root, .parallelism = 2}; }

  std::filesystem::path root;
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A dataset with the text; a parameter with its length.
struct make_io {
  in<std::string> text = "data";
  out<dataset> data;
  out<int> length;
};
BOOST_DESCRIBE_STRUCT(make_io, (), (text, data, length))
inline void make(make_io& io) {
  io.data->write(*io.text);
  io.data->metadata["source"] = *io.text;
  io.length = static_cast<int>(io.text->size());
}

// A model that holds the data and the factor.
struct train_io {
  in<dataset> data;
  in<double> rate = 0.5;
  int epochs = 3;
  out<pipelines::model> model;
  out<double> score;
};
BOOST_DESCRIBE_STRUCT(train_io, (), (data, rate, epochs, model, score))
inline void train(train_io& io) {
  io.model->write(io.data->read() + "*" + std::to_string(io.epochs));
  io.score = io.rate * io.epochs;
}

// A number from a number: for graphs where only the order counts.
struct add_io {
  in<int> a = 0;
  in<int> b = 0;
  out<int> sum;
};
BOOST_DESCRIBE_STRUCT(add_io, (), (a, b, sum))
inline void add(add_io& io) { io.sum = io.a + io.b; }

struct nothing_io {};
BOOST_DESCRIBE_STRUCT(nothing_io, (), ())

// Runs and returns the message of the error that body throws.
inline std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const error& caught) {
    return caught.what();
  }
  return "nothing thrown";
}

inline std::vector<std::string> states(const run_result& result) {
  std::vector<std::string> lines;
  for (const task_result& task : result.tasks) {
    lines.push_back(task.name + " " + std::string(to_string(task.state)));
  }
  return lines;
}

}  // namespace mizzen::pipelines::test
