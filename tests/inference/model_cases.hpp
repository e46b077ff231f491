// The folders that tests/models writes: a model, inputs, and the answers of the reference.
#pragma once

#include "npy.hpp"

#include <mizzen/inference/session.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace mizzen::inference {

struct test_case {
  tensor_map inputs, outputs;
  double relative = 1e-4, absolute = 0.0;  // the tolerance of the case, where it states one
};

// The elements of a type that NumPy lacks, from their bits, one element a byte or two.
inline tensor pack_bits(const tensor& bits, std::string_view name) {
  element_type type = element_type::undefined;
  for (std::int32_t i = 1; i <= static_cast<std::int32_t>(element_type::int2); ++i) {
    if (to_string(static_cast<element_type>(i)) == name) type = static_cast<element_type>(i);
  }
  tensor result(type, bits.shape());
  const auto to = result.mutable_bytes();
  const auto from = bits.bytes();
  const std::size_t width = bit_width(type);
  if (width >= 8) {
    std::copy(from.begin(), from.end(), to.begin());
    return result;
  }
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const auto low = from[i] & static_cast<std::byte>((1U << width) - 1);
    to[i * width / 8] |= low << (i * width % 8);
  }
  return result;
}

// The folder that a command of prepare.sh prints; empty if it cannot be made.
inline std::filesystem::path prepared(const char* command) {
  std::filesystem::path result;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command, "r"), ::pclose);
  std::array<char, 4096> line{};
  if (pipe && std::fgets(line.data(), line.size(), pipe.get()) != nullptr) {
    std::string text(line.data());
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (std::filesystem::exists(text + "/.complete")) result = text;
  }
  return result;
}

inline std::vector<test_case> read_cases(const std::filesystem::path& folder) {
  std::vector<test_case> cases;
  std::ifstream listing(folder / "cases.txt");
  for (std::string line; std::getline(listing, line);) {
    std::istringstream fields(line);
    std::size_t index = 0;
    std::string kind, file, name, small_type;
    fields >> index >> kind >> file >> name >> small_type;
    cases.resize(std::max(cases.size(), index + 1));
    if (kind == "tolerance") {
      cases[index].relative = std::stod(file);
      cases[index].absolute = std::stod(name);
      continue;
    }
    auto& tensors = kind == "input" ? cases[index].inputs : cases[index].outputs;
    tensor values = read_npy(folder / file);
    tensors.emplace(name, small_type.empty() ? std::move(values) : pack_bits(values, small_type));
  }
  return cases;
}

}  // namespace mizzen::inference
