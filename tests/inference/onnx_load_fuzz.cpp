// Any bytes as a model: loaded with and without the passes (types, shapes, folding), within tight
// limits. What is wrong must be a mizzen::error.
#include <mizzen/inference.hpp>

#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mizzen::inference::session;
  for (const bool optimize : {true, false}) {
    try {
      session::load(std::as_bytes(std::span(data, size)),
                    {.threads = 1, .memory_limit = std::size_t{1} << 20, .optimize = optimize});
    } catch (const mizzen::error&) {
    }
  }
  return 0;
}
