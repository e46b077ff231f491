// Where a session can run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mizzen::inference {

// One device, or one that could be there: unavailable ones are listed with the reason.
struct device_info {
  std::string name;         // for session_options::device: "cpu", "cuda:0"
  std::string description;  // in words: "AMD EPYC, 2 processors"
  bool available = false;
  std::string reason;  // why it is not available; empty when it is
};

// All devices known to this process. Looks at each call; never throws for a missing device.
std::vector<device_info> devices();

// Waits until the work that is in a stream of a GPU (CUstream, cudaStream_t) is done; null: all
// work of this process on it. Nothing to wait for on "cpu". Throws as session::load() for a device
// that is not there.
void synchronize(std::string_view device, void* stream = nullptr);

}  // namespace mizzen::inference
