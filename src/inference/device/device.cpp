#include "inference/device/device.hpp"

#include "inference/cpu/cpu_device.hpp"

#include <mizzen/core/cpu.hpp>
#include <mizzen/core/error.hpp>

namespace mizzen::inference {
namespace {

constexpr std::string_view no_cuda = "no CUDA plug-in (libmizzen_cuda.so) is installed";

}  // namespace

std::vector<device_info> devices() {
  const unsigned cpus = available_cpus();
  return {
      {"cpu", std::to_string(cpus) + (cpus == 1 ? " processor" : " processors"), true, ""},
      {"cuda:0", "NVIDIA GPU", false, std::string(no_cuda)},
  };
}

namespace detail {

std::unique_ptr<device> make_device(const session_options& options) {
  const std::string& name = options.device;
  if (name == "cpu") return std::make_unique<cpu_device>(options.threads, options.spin);
  const std::string subject = "device '" + name + "'";
  if (name == "cuda" || name.starts_with("cuda:")) {
    throw error(errc::unavailable, subject, no_cuda);
  }
  throw error(errc::not_found, subject,
              "there is no such device; see mizzen::inference::devices()");
}

}  // namespace detail
}  // namespace mizzen::inference
