// What receivers of OpenTelemetry answer, and what the environment says of them.
#include "tracking/otlp_message.hpp"
#include "tracking/otlp_settings.hpp"

#include <mizzen/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace t = mizzen::tracking::detail;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto answer = t::decode_otlp_response(text); answer && answer->message.size() > size) {
    std::abort();
  }
  if (t::decode_otlp_error(text).size() > size) std::abort();
  t::otlp_target_of(text);
  try {
    for (const auto& [key, value] : t::parse_otlp_pairs("FIELD", text)) {
      if (key.size() + value.size() > size) std::abort();
    }
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::invalid_argument) std::abort();
  }
  return 0;
}
