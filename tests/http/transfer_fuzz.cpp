// Any bytes, as the heads of answers to a download that breaks off again and again: what is here is
// always a beginning of one body.
#include <mizzen/core/error.hpp>
#include <mizzen/http/transfer.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

class counting_sink final : public mizzen::http::resumable_sink {
 public:
  std::uint64_t bytes = 0;

 private:
  void restart(const mizzen::http::response&) override { bytes = 0; }
  void append(std::string_view piece) override { bytes += piece.size(); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  counting_sink sink;
  // Lines of: status, ETag, Content-Range, each ended by a tab; what follows is body.
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto field = [&] {
      const std::string_view one = line.substr(0, line.find('\t'));
      line.remove_prefix(std::min(one.size() + 1, line.size()));
      return std::string(one);
    };
    mizzen::http::request what;
    sink.prepare(what);
    const bool for_rest = what.headers.contains("Range");
    const std::uint64_t before = sink.received();
    mizzen::http::response head;
    const std::string status = field();
    head.status = status == "206" ? 206 : status == "416" ? 416 : 200;
    try {
      head.headers.add("ETag", field());
      head.headers.add("Content-Range", field());
      if (head.status == 416) {
        if (sink.starts_over(head) != for_rest) std::abort();
        continue;
      }
      sink.begin(head);
    } catch (const mizzen::error&) {
      continue;
    }
    if (sink.received() != (head.status == 206 ? before : 0)) std::abort();
    if (head.status == 206 && !for_rest) std::abort();
    sink.write(line);
    if (sink.bytes != sink.received()) std::abort();
  }
  return 0;
}
