// Reads NumPy's .npy files into tensors. Source: numpy.lib.format, versions 1 and 2.
#pragma once

#include <mizzen/inference/tensor.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace mizzen::inference {

inline tensor read_npy(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[8];
  if (!in.read(magic, 8) || std::memcmp(magic, "\x93NUMPY", 6) != 0) {
    throw std::runtime_error(path.string() + ": not an .npy file");
  }
  const std::size_t width = magic[6] == 1 ? 2 : 4;
  std::uint32_t length = 0;
  in.read(reinterpret_cast<char*>(&length), static_cast<std::streamsize>(width));
  std::string header(length, ' ');
  in.read(header.data(), length);
  const auto after = [&](const std::string& key) {
    const std::size_t at = header.find("'" + key + "'");
    if (at == std::string::npos) throw std::runtime_error(path.string() + ": no " + key);
    return header.substr(header.find(':', at) + 1);
  };
  const std::map<std::string, element_type> types{
      {"<f4", element_type::float32}, {"<f8", element_type::float64},
      {"<i4", element_type::int32},   {"<i8", element_type::int64},
      {"|b1", element_type::boolean}, {"|u1", element_type::uint8},
      {"|i1", element_type::int8},    {"<i2", element_type::int16},
      {"<u2", element_type::uint16},  {"<u4", element_type::uint32},
      {"<u8", element_type::uint64},  {"<f2", element_type::float16}};
  const std::string descr = after("descr");
  const std::size_t quote = descr.find('\'');
  const element_type type = types.at(descr.substr(quote + 1, 3));
  if (after("fortran_order").substr(0, 5) != " Fals") {
    throw std::runtime_error(path.string() + ": column-major");
  }
  shape_type shape;
  const std::string text = after("shape");
  for (std::size_t i = text.find('(') + 1; text[i] != ')';) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    std::size_t used = 0;
    shape.push_back(std::stoll(text.substr(i), &used));
    i += used;
  }
  tensor result(type, shape);
  const auto bytes = result.mutable_bytes();
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw std::runtime_error(path.string() + ": too short");
  return result;
}

}  // namespace mizzen::inference
