// Any bytes, in any cuts, as a request and as a response: no crash, no overrun, and a failure or a
// message in the end that does not depend on the cuts.
#include "http/parser.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct outcome {
  bool done;
  int failed;
  std::string body;
  std::size_t headers;
  bool operator==(const outcome&) const = default;
};

template <typename Parser>
outcome run(std::string_view text, std::size_t piece) {
  Parser parser({.max_header = 512, .max_body = 1024});
  std::string buffer;
  for (std::size_t at = 0; at < text.size() && !parser.done() && !parser.failure(); at += piece) {
    buffer += text.substr(at, piece);
    for (;;) {
      const std::size_t taken = parser.put(buffer);
      if (taken > buffer.size()) std::abort();
      buffer.erase(0, taken);
      if (taken == 0 || parser.done() || parser.failure()) break;
    }
  }
  parser.put_eof();
  if (parser.done() && parser.get().body.size() > 1024) std::abort();
  if (!parser.done()) return {false, 0, {}, 0};
  return {true, 0, parser.get().body, parser.get().headers.size()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t all = std::max<std::size_t>(text.size(), 1);
  using namespace mizzen::http::detail;
  // A limit can strike earlier in one cut than in another, so only successes are compared.
  const outcome whole = run<request_parser>(text, all);
  const outcome cut = run<request_parser>(text, piece);
  if (whole.done && cut.done && !(whole == cut)) std::abort();
  const outcome answer = run<response_parser>(text, all);
  const outcome cut_answer = run<response_parser>(text, piece);
  if (answer.done && cut_answer.done && !(answer == cut_answer)) std::abort();
  return 0;
}
