#include "digits.hpp"

#include <mizzen/core.hpp>

#include <charconv>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <utility>

namespace digits {
namespace {

// One number up to the next comma; moves `text` past it.
float next_number(std::string_view& text, float most, const std::string& subject) {
  float value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || !(value >= 0 && value <= most)) {
    throw mizzen::error(mizzen::errc::invalid_argument, subject,
                        "expected a number from 0 to " + std::to_string(static_cast<int>(most)));
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(',')) text.remove_prefix(1);
  return value;
}

void append(data_set& to, const data_set& from, std::size_t row) {
  const auto first = from.images.begin() + static_cast<std::ptrdiff_t>(row * pixels);
  to.images.insert(to.images.end(), first, first + pixels);
  to.labels.push_back(from.labels[row]);
}

}  // namespace

data_set read_csv(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    throw mizzen::error(mizzen::errc::not_found, path.string(), "cannot be opened for reading");
  }
  data_set data;
  std::string line;
  for (std::size_t row = 1; std::getline(file, line); ++row) {
    const std::string subject = path.string() + ":" + std::to_string(row);
    std::string_view rest = line;
    for (std::size_t i = 0; i < pixels; ++i) data.images.push_back(next_number(rest, 16, subject));
    data.labels.push_back(static_cast<std::int64_t>(next_number(rest, 9, subject)));
    if (!rest.empty() && rest != "\r") {
      throw mizzen::error(mizzen::errc::invalid_argument, subject, "has more than 65 columns");
    }
  }
  return data;
}

void write_csv(const data_set& data, const std::filesystem::path& path) {
  std::ofstream file(path);
  file.precision(9);
  for (std::size_t row = 0; row < data.size(); ++row) {
    for (std::size_t i = 0; i < pixels; ++i) file << data.images[row * pixels + i] << ',';
    file << data.labels[row] << '\n';
  }
  if (!file.flush()) {
    throw mizzen::error(mizzen::errc::unavailable, path.string(), "could not be written");
  }
}

std::string digest(const data_set& data) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&hash](const void* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      hash = (hash ^ static_cast<const unsigned char*>(bytes)[i]) * 0x100000001b3;
    }
  };
  add(data.images.data(), data.images.size() * sizeof(float));
  add(data.labels.data(), data.labels.size() * sizeof(std::int64_t));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

split_data split(const data_set& data, std::uint32_t seed) {
  std::vector<std::size_t> order(data.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // std::shuffle differs between standard libraries; the generator itself does not.
  std::mt19937 random(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);

  split_data parts;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool train = i < order.size() * 7 / 10;
    const bool validation = !train && i < order.size() * 8 / 10;
    append(train ? parts.train : validation ? parts.validation : parts.test, data, order[i]);
  }
  for (data_set* part : {&parts.train, &parts.validation, &parts.test}) {
    for (float& pixel : part->images) pixel /= 16;
  }
  return parts;
}

}  // namespace digits
