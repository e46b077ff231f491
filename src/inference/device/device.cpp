#include "inference/device/device.hpp"

#include "inference/cpu/cpu_device.hpp"
#include "inference/device/plugin_device.hpp"

#include <mizzen/core/cpu.hpp>
#include <mizzen/core/error.hpp>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mizzen::inference {
namespace {

// N of "cuda:N", 0 of "cuda"; nullopt for any other name.
std::optional<std::uint32_t> cuda_index(std::string_view name) {
  if (name == "cuda") return 0;
  if (!name.starts_with("cuda:")) return std::nullopt;
  name.remove_prefix(5);
  std::uint32_t index = 0;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), index);
  if (failed != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return index;
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

namespace detail {

std::unique_ptr<device> make_device(const session_options& options) {
  const std::string& name = options.device;
  if (name == "cpu") return std::make_unique<cpu_device>(options.threads, options.spin);
  const std::string subject = "device '" + name + "'";
  if (const auto index = cuda_index(name)) {
    std::shared_ptr<const plugin_library> library;
    try {
      library = find_cuda_plugin();
    } catch (const error& e) {
      throw error(errc::unavailable, subject, e.message());
    }
    return std::make_unique<plugin_device>(std::move(library), *index, options);
  }
  throw error(errc::not_found, subject,
              "there is no such device; see mizzen::inference::devices()");
}

}  // namespace detail
}  // namespace mizzen::inference
