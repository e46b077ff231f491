#include "cuda/plan_cache.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mizzen::cuda {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "MZPLAN01";
constexpr std::uintmax_t most_bytes = std::uintmax_t{256} << 20;  // of a file that is read

std::uint64_t checksum(std::string_view bytes, std::uint64_t hash = 14695981039346656037U) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

void append(std::string& to, std::uint64_t number) {
  for (int i = 0; i < 8; ++i) to += static_cast<char>(number >> (8 * i) & 0xff);
}

// Takes from the front; false where there is too little.
bool take(std::string_view& from, std::uint64_t& number) {
  if (from.size() < 8) return false;
  number = 0;
  for (std::size_t i = 8; i-- > 0;) number = number << 8U | static_cast<unsigned char>(from[i]);
  from.remove_prefix(8);
  return true;
}

bool take(std::string_view& from, std::string_view& text) {
  std::uint64_t size = 0;
  if (!take(from, size) || size > from.size()) return false;
  text = from.substr(0, size);
  from.remove_prefix(size);
  return true;
}

}  // namespace

fs::path plan_cache::file_of(std::string_view key) const {
  // Two names that are equal cost a miss: the key in the file tells.
  std::string name;
  for (std::uint64_t hash : {checksum(key), checksum(key, 0x9e3779b97f4a7c15U)}) {
    for (int i = 0; i < 16; ++i, hash >>= 4U) name += "0123456789abcdef"[hash & 15U];
  }
  return folder_ / (name + ".plan");
}

std::optional<std::string> plan_cache::find(std::string_view key) const {
  if (folder_.empty()) return std::nullopt;
  const fs::path path = file_of(key);
  std::error_code failed;
  const std::uintmax_t size = fs::file_size(path, failed);
  if (failed || size > most_bytes) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::string_view rest = bytes;
  if (!rest.starts_with(magic)) return std::nullopt;
  rest.remove_prefix(magic.size());
  std::string_view found_key, content;
  std::uint64_t sum = 0;
  if (!take(rest, found_key) || !take(rest, content)) return std::nullopt;
  const std::size_t covered = bytes.size() - rest.size();
  if (!take(rest, sum) || !rest.empty() || found_key != key) return std::nullopt;
  if (sum != checksum(std::string_view(bytes).substr(0, covered))) return std::nullopt;
  return std::string(content);
}

std::string plan_cache::get(std::string_view key, const std::function<std::string()>& make) const {
  if (auto kept = find(key)) return *std::move(kept);
  std::string made = make();
  put(key, made);
  return made;
}

std::string module_key(std::string_view gpu, int capability, std::string_view source) {
  return "module 1 " + std::string(gpu) + " sm_" + std::to_string(capability) + "\n" +
         std::string(source);
}

void plan_cache::put(std::string_view key, std::string_view content) const {
  if (folder_.empty()) return;
  std::error_code failed;
  fs::create_directories(folder_, failed);
  make_room();
  std::string bytes(magic);
  append(bytes, key.size());
  bytes += key;
  append(bytes, content.size());
  bytes += content;
  append(bytes, checksum(bytes));
  static std::atomic<unsigned> number = 0;
  const fs::path path = file_of(key);
  fs::path temporary = path;
  temporary += "." + std::to_string(::getpid()) + "." + std::to_string(++number);
  {
    std::ofstream file(temporary, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
      fs::remove(temporary, failed);
      return;
    }
  }
  fs::rename(temporary, path, failed);
  if (failed) fs::remove(temporary, failed);
}

void plan_cache::make_room() const {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code failed;
  for (fs::directory_iterator it(folder_, failed), end; !failed && it != end;
       it.increment(failed)) {
    std::error_code unknown;
    const auto written = it->last_write_time(unknown);
    if (!unknown && it->is_regular_file(unknown)) files.emplace_back(written, it->path());
  }
  if (files.size() < most_files_) return;
  // A quarter at once, so that not each new one looks for the oldest.
  const std::size_t gone = files.size() - most_files_ + std::max<std::size_t>(1, most_files_ / 4);
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i < std::min(gone, files.size()); ++i)
    fs::remove(files[i].second, failed);
}

}  // namespace mizzen::cuda
