// Models on the device of the plug-in under test, against the processor.
#pragma once

#include "../inference/optimised.hpp"

#include <mizzen/inference.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace mizzen::inference {

// A part that the processor computes instead of the device fails the test.
// Whether the device is the emulated one, which does as MIZZEN_EMULATED_… tell it.
inline bool is_emulated() {
  return devices().at(1).description.find("emulating") != std::string::npos;
}

inline session on_device(const model_builder& model,
                         gpu_options::arithmetic math = gpu_options::arithmetic::float32) {
  session_options options;
  options.device = "cuda:0";
  options.gpu.math = math;
  options.gpu.cache = "";
  options.log = logger(
      [](const log_record& r) {
        std::string text(r.message);
        for (const log_field& f : r.fields) text += " " + f.value.dump();
        ADD_FAILURE() << text;
      },
      log_level::warning);
  return session::load(model.bytes(), options);
}

inline void expect_near(const tensor_map& actual, const tensor_map& expected, float tolerance) {
  for (const auto& [name, t] : expected) {
    ASSERT_EQ(actual.at(name).shape(), t.shape()) << name;
    if (t.type() == element_type::boolean) {
      const auto a = actual.at(name).data<bool>();
      const auto b = t.data<bool>();
      for (std::size_t i = 0; i < b.size(); ++i) ASSERT_EQ(a[i], b[i]) << name << "[" << i << "]";
      continue;
    }
    if (t.type() == element_type::int64 || t.type() == element_type::int32) {
      ASSERT_EQ(actual.at(name).bytes().size(), t.bytes().size());
      EXPECT_TRUE(std::equal(t.bytes().begin(), t.bytes().end(), actual.at(name).bytes().begin()))
          << name;
      continue;
    }
    const auto a = actual.at(name).data<float>();
    const auto b = t.data<float>();
    for (std::size_t i = 0; i < b.size(); ++i) {
      const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
      ASSERT_TRUE(same || std::abs(a[i] - b[i]) <= tolerance * std::max(1.0F, std::abs(b[i])))
          << name << "[" << i << "]: " << a[i] << " where it is " << b[i];
    }
  }
}

// Nodes of the graph itself, not of those in its nodes.
inline std::size_t outer_nodes(const std::string& graph) {
  std::size_t n = 0;
  for (std::size_t at = 0; at < graph.size(); at = graph.find('\n', at) + 1) {
    const std::string_view line = std::string_view(graph).substr(at);
    if (!line.starts_with(' ') && !line.starts_with("inputs") && !line.starts_with("outputs")) ++n;
  }
  return n;
}

// The whole model in one part of the device, with the results of the processor.
inline void same_on_device(const model_builder& model, const tensor_map& inputs,
                           float tolerance = 2e-5F,
                           gpu_options::arithmetic math = gpu_options::arithmetic::float32) {
  const auto expected = session::load(model.bytes()).run(inputs);
  const session device = on_device(model, math);
  EXPECT_EQ(outer_nodes(device.dump_graph()), 1U) << device.dump_graph();
  for (int round = 0; round < 2; ++round) expect_near(device.run(inputs), expected, tolerance);
}

}  // namespace mizzen::inference
