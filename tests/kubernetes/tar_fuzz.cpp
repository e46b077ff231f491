// Any bytes, in any cuts, as the archive that a container sends: no crash, no overrun, and the same
// entries whatever the cuts.
#include "kubernetes/tar.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace mizzen::kubernetes::detail;

std::string run(std::string_view bytes, std::size_t piece) {
  tar_reader reader;
  std::string seen;
  std::uint64_t left = 0;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    std::string_view data = bytes.substr(at, piece);
    for (bool more = true; more;) {
      switch (reader.next(data)) {
        case tar_reader::event::entry:
          left = reader.entry().size;
          seen += ";" + reader.entry().path + ">" + reader.entry().link + "=";
          break;
        case tar_reader::event::content:
          if (reader.content().empty() || reader.content().size() > left) std::abort();
          left -= reader.content().size();
          seen += reader.content();
          break;
        case tar_reader::event::failed:
          return seen + "!" + reader.failure();
        case tar_reader::event::end:
        case tar_reader::event::need_more:
          more = false;
          break;
      }
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + std::size_t{data[0]} * 3;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (run(text, std::max<std::size_t>(text.size(), 1)) != run(text, piece)) std::abort();
  return 0;
}
