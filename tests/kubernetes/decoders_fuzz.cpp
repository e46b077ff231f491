// The list and the watch decoder: however the bytes are cut into pieces, the outcome is the same.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/watch_decoder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace mizzen;
using namespace mizzen::kubernetes;

namespace {

constexpr decoder_limits limits{.item_bytes = 1'000};

std::string list_outcome(body_encoding encoding, std::string_view body, std::size_t piece) {
  std::string outcome;
  try {
    list_item_decoder decoder(encoding, limits);
    for (std::size_t at = 0; at < body.size(); at += piece) {
      decoder.feed(body.substr(at, piece));
      while (const auto item = decoder.next()) (outcome += item->object) += '\n';
    }
    decoder.finish();
    outcome += decoder.metadata().resource_version + decoder.kind();
  } catch (const error& problem) {
    outcome += to_string(problem.code());
  }
  return outcome;
}

std::string watch_outcome(body_encoding encoding, std::string_view body, std::size_t piece) {
  std::string outcome;
  try {
    watch_frame_decoder decoder(encoding, limits);
    for (std::size_t at = 0; at < body.size(); at += piece) {
      decoder.feed(body.substr(at, piece));
      while (const auto frame = decoder.next()) {
        (outcome += to_string(frame->type)) += frame->object;
        outcome += '\n';
      }
    }
    outcome += decoder.mid_event() ? "cut" : "";
  } catch (const error& problem) {
    outcome += to_string(problem.code());
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(static_cast<const char*>(static_cast<const void*>(data)) + 2,
                               size - 2);
  const auto encoding = data[0] % 2 == 0 ? body_encoding::json : body_encoding::protobuf;
  const auto outcome = data[0] % 4 < 2 ? list_outcome : watch_outcome;
  const std::size_t piece = data[1] % 16 + std::size_t{1};
  const std::size_t whole = std::max<std::size_t>(bytes.size(), 1);
  if (outcome(encoding, bytes, piece) != outcome(encoding, bytes, whole)) std::abort();
  return 0;
}
