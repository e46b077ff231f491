// Kubeconfigs from untrusted bytes: a config or an error, in bounded time and memory.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/kubeconfig.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mizzen::kubernetes;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const kubeconfig read = kubeconfig::parse(text, "fuzz", "/folder");
    load_options options;
    options.environment = [](const std::string&) { return std::nullopt; };
    for (const auto& [name, context] : read.contexts) {
      options.context = name;
      try {
        config::from_kubeconfig(read, options);
      } catch (const mizzen::error&) {
      }
    }
  } catch (const mizzen::error&) {
  }
  return 0;
}
