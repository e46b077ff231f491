// Any bytes, in any cuts, as the chunks of a body and as gzip: no crash, no overrun, and the same
// outcome whatever the cuts.
#include "http/body.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using namespace mizzen::http::detail;

struct outcome {
  bool done = false;
  bool failed = false;
  std::string body;
  bool operator==(const outcome&) const = default;
};

outcome decode(framing how, std::string_view text, std::size_t piece) {
  body_decoder decoder(how, 100);
  outcome result;
  for (std::size_t at = 0; at < text.size() && !decoder.done() && !decoder.failure();) {
    std::string buffer(text.substr(at, piece));
    const auto made = decoder.decode(buffer.data(), buffer.size());
    if (made.used > buffer.size() || made.payload.size() > made.used) std::abort();
    result.body += made.payload;
    at += made.used;
  }
  result.done = decoder.done();
  result.failed = decoder.failure() != nullptr;
  return result;
}

outcome unzip(std::string_view text, std::size_t piece) {
  gunzip machine;
  outcome result;
  try {
    for (std::size_t at = 0; at < text.size(); at += piece) {
      const std::string part(text.substr(at, piece));
      machine.put(part);
      for (;;) {
        const std::string_view more = machine.next();
        if (more.empty()) break;
        if (result.body.size() < 1'000'000) result.body += more;
      }
    }
    result.done = machine.complete();
  } catch (const std::runtime_error&) {
    result.failed = true;
    result.body.clear();  // how much came before depends on the cuts
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t all = std::max<std::size_t>(text.size(), 1);
  for (const framing how : {framing::chunked, framing::length, framing::until_end}) {
    if (!(decode(how, text, all) == decode(how, text, piece))) std::abort();
  }
  if (!(unzip(text, all) == unzip(text, piece))) std::abort();
  return 0;
}
