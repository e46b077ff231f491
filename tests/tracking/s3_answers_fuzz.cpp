// Any bytes, as what an object store answers.
#include "tracking/s3_messages.hpp"
#include "tracking/s3_settings.hpp"
#include "tracking/xml.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace t = mizzen::tracking::detail;

// Whatever it is, it is read or refused with data_loss.
template <typename Read>
void read_or_refuse(Read read) {
  try {
    read();
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::data_loss) std::abort();
  }
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_or_refuse([&] {
    const t::xml_element root = t::parse_xml(text);
    // What was read can be written, and is read as the same again.
    const std::string again = "<a>" + t::escape_xml(root.text) + "</a>";
    if (t::parse_xml(again).text != root.text) std::abort();
  });
  read_or_refuse([&] {
    std::vector<mizzen::tracking::artifact_info> entries;
    t::add_entries(t::parse_listing(text), "r/", "r/f/", entries);
    for (const auto& each : entries) {
      if (!each.path.starts_with("f/") || each.path.size() < 3) std::abort();
    }
  });
  read_or_refuse([&] {
    if (t::parse_upload_id(text).empty()) std::abort();
  });
  const mizzen::http::response answer{.status = 403, .body = std::string(text)};
  if (std::string_view(t::s3_error("GET /", answer).what()).empty()) std::abort();
  t::parse_ini(text);
  return 0;
}
