// Any bytes, in any cuts, as what a WebSocket server sends: no crash, no overrun, no message beyond
// the limit, and the same messages whatever the cuts.
#include "http/websocket_frames.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace mizzen::http::detail;

std::string run(std::string_view bytes, std::size_t piece) {
  constexpr std::size_t max = 300;
  websocket_inbound machine(max);
  std::string seen;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const std::string part(bytes.substr(at, piece));
    std::string_view data = part;
    for (;;) {
      const auto what = machine.next(data);
      if (what == websocket_inbound::event::need_more) break;
      if (machine.payload().size() > max) std::abort();
      seen += std::to_string(static_cast<int>(what)) + ":";
      if (what == websocket_inbound::event::failed) return seen + machine.failure();
      seen.append(machine.payload()) += ";";
    }
    if (!data.empty()) std::abort();
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (run(text, std::max<std::size_t>(text.size(), 1)) != run(text, piece)) std::abort();
  return 0;
}
