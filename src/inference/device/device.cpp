#include "inference/device/device.hpp"

#include "inference/cpu/cpu_device.hpp"
#include "inference/device/memory_space.hpp"
#include "inference/device/plugin_device.hpp"

#include <mizzen/core/cpu.hpp>
#include <mizzen/core/error.hpp>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

namespace mizzen::inference {
namespace {

[[noreturn]] void no_such_device(std::string_view name) {
  throw error(errc::not_found, "device '" + std::string(name) + "'",
              "there is no such device; see mizzen::inference::devices()");
}

}  // namespace

std::vector<device_info> devices() {
  const unsigned cpus = available_cpus();
  std::vector<device_info> list = {
      {"cpu", std::to_string(cpus) + (cpus == 1 ? " processor" : " processors"), true, ""}};
  try {
    for (device_info& one : detail::find_cuda_plugin()->devices()) list.push_back(std::move(one));
  } catch (const error& e) {
    list.push_back({"cuda:0", "NVIDIA GPU", false, e.message()});
  }
  return list;
}

void synchronize(std::string_view device, void* stream) {
  if (const auto space = detail::find_memory_space(device)) space->wait(stream);
}

namespace detail {

std::int64_t cuda_index(std::string_view name) noexcept {
  if (name == "cuda") return 0;
  if (!name.starts_with("cuda:")) return -1;
  name.remove_prefix(5);
  std::uint32_t index = 0;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), index);
  return failed == std::errc() && end == name.data() + name.size() ? std::int64_t{index} : -1;
}

std::shared_ptr<const memory_space> find_memory_space(std::string_view device) {
  if (device == "cpu") return nullptr;
  const std::int64_t index = cuda_index(device);
  if (index < 0) no_such_device(device);
  // Never closed: tensors may live until the process ends.
  static std::mutex mutex;
  static auto& spaces = *new std::map<std::string, std::shared_ptr<const memory_space>>;
  const char* named = std::getenv("MIZZEN_CUDA_PLUGIN");
  const std::string name = "cuda:" + std::to_string(index);
  const std::lock_guard lock(mutex);
  auto& space = spaces[(named != nullptr ? named : "") + ("\n" + name)];
  if (space) return space;
  try {
    space =
        std::make_shared<const memory_space>(find_cuda_plugin(), static_cast<std::uint32_t>(index));
  } catch (const error& e) {
    if (e.code() == errc::not_found) throw;
    throw error(errc::unavailable, "device '" + name + "'", e.message());
  }
  return space;
}

std::unique_ptr<device> make_device(const session_options& options) {
  const std::string& name = options.device;
  if (name == "cpu") return std::make_unique<cpu_device>(options.threads, options.spin);
  const std::string subject = "device '" + name + "'";
  if (const std::int64_t index = cuda_index(name); index >= 0) {
    std::shared_ptr<const plugin_library> library;
    try {
      library = find_cuda_plugin();
    } catch (const error& e) {
      throw error(errc::unavailable, subject, e.message());
    }
    return std::make_unique<plugin_device>(std::move(library), static_cast<std::uint32_t>(index),
                                           options);
  }
  no_such_device(name);
}

}  // namespace detail
}  // namespace mizzen::inference
