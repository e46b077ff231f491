// Any bytes: replay ends with an error or with records, and what it took, compacted, tells the
// same.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/journal.hpp>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mizzen::kubernetes;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);

  // As the bytes of a file, and as lines with the right checksums, else few get past those.
  std::string checked(journal_state::header());
  for (std::size_t begin = 0; begin < bytes.size();) {
    const auto end = std::min(bytes.find('\n', begin), bytes.size());
    const auto entry = mizzen::json::parse(bytes.substr(begin, end - begin), nullptr, false);
    if (!entry.is_discarded()) checked += journal_state::line(entry);
    begin = end + 1;
  }
  for (const auto file : {bytes, std::string_view(checked)}) {
    try {
      journal_state state;
      if (state.replay(file) > file.size()) std::abort();
      journal_state again;
      const auto kept = state.compacted(std::numeric_limits<std::int64_t>::min());
      if (again.replay(kept) != kept.size()) std::abort();
      if (again.records().size() != state.records().size()) std::abort();
    } catch (const mizzen::error&) {
    }
  }
  return 0;
}
