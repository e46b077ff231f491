// The digits data set: reading, splitting, and the file that the pipeline hands from step to step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace digits {

constexpr std::size_t pixels = 64;  // 8 x 8
constexpr std::size_t classes = 10;

// Row-major images [size, 64] with their classes.
struct data_set {
  std::vector<float> images;
  std::vector<std::int64_t> labels;

  std::size_t size() const { return labels.size(); }
};

// Reads CSV rows of 64 pixels (0 to 16) and a class (0 to 9). Throws mizzen::error naming the line.
data_set read_csv(const std::filesystem::path& path);

// Writes what read_csv() reads; pixels keep their full precision.
void write_csv(const data_set& data, const std::filesystem::path& path);

// A short fingerprint of the content (FNV-1a, 16 hexadecimal digits).
std::string digest(const data_set& data);

struct split_data {
  data_set train, validation, test;
};

// Scales pixels to 0..1, shuffles with the seed (the same on every machine) and splits 70/10/20.
split_data split(const data_set& data, std::uint32_t seed);

}  // namespace digits
