// The folders that tests/models writes: a model, inputs, and the answers of the reference.
#pragma once

#include "npy.hpp"

#include <mizzen/inference/session.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace mizzen::inference {

struct test_case {
  tensor_map inputs, outputs;
  double relative = 1e-4, absolute = 0.0;  // the tolerance of the case, where it states one
};

inline std::vector<test_case> read_cases(const std::filesystem::path& folder) {
  std::vector<test_case> cases;
  std::ifstream listing(folder / "cases.txt");
  for (std::string line; std::getline(listing, line);) {
    std::istringstream fields(line);
    std::size_t index = 0;
    std::string kind, file, name;
    fields >> index >> kind >> file >> name;
    cases.resize(std::max(cases.size(), index + 1));
    if (kind == "tolerance") {
      cases[index].relative = std::stod(file);
      cases[index].absolute = std::stod(name);
      continue;
    }
    auto& tensors = kind == "input" ? cases[index].inputs : cases[index].outputs;
    tensors.emplace(name, read_npy(folder / file));
  }
  return cases;
}

}  // namespace mizzen::inference
