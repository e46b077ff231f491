// The NVIDIA Management Library, loaded at run time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mizzen::tracking::detail {

// What of one GPU could be read.
struct gpu_state {
  std::optional<std::uint64_t> memory_used = {}, memory_total = {};  // bytes
  std::optional<unsigned> utilization = {};                          // percent
  std::optional<unsigned> power = {}, power_limit = {};              // milliwatts
};

class nvml {
 public:
  // Loads libnvidia-ml.so.1; null, with the reason, where that or the driver is not there.
  static std::unique_ptr<nvml> open(std::string& reason);
  ~nvml();
  nvml(const nvml&) = delete;
  nvml& operator=(const nvml&) = delete;

  std::vector<std::string> names() const;
  std::vector<gpu_state> read() const;

 private:
  struct library;
  explicit nvml(std::unique_ptr<library> loaded);
  std::unique_ptr<library> library_;
};

}  // namespace mizzen::tracking::detail
