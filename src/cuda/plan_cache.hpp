// What is worth keeping between processes: compiled kernels, the choice of algorithms. One file for
// each, in a folder that any number of processes share.
//
// File: "MZPLAN" and two digits of the format's version; key and content, each as 8 bytes of length
// (little-endian) and the bytes; 8 bytes of FNV-1a over all before. Anything else is no entry: it
// is made anew and written over.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::cuda {

// Thread safe. A cache that cannot be read or written is empty: nothing here throws but bad_alloc.
class plan_cache {
 public:
  // An empty path: nothing is kept. The folder is made when something is.
  explicit plan_cache(std::filesystem::path folder, std::size_t most_files = 4096)
      : folder_(std::move(folder)), most_files_(most_files) {}

  // The content kept under exactly this key.
  std::optional<std::string> find(std::string_view key) const;

  // That; made and kept where there is none.
  std::string get(std::string_view key, const std::function<std::string()>& make) const;

  bool keeps() const noexcept { return !folder_.empty(); }

  // The oldest go where there are too many. Written whole or not at all.
  void put(std::string_view key, std::string_view content) const;

  std::filesystem::path file_of(std::string_view key) const;

 private:
  void make_room() const;

  std::filesystem::path folder_;
  std::size_t most_files_;
};

// The key of kernels compiled for a GPU: all that decides what comes of the text. gpu: its name,
// and the versions of driver and compiler.
std::string module_key(std::string_view gpu, int capability, std::string_view source);

}  // namespace mizzen::cuda
