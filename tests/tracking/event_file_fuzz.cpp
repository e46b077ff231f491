// Any bytes, as an event of TensorBoard and as an event file.
#include "tracking/event_file.hpp"
#include "tracking/event_reader.hpp"

#include <mizzen/core/error.hpp>

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unistd.h>

namespace t = mizzen::tracking::detail;

namespace {

// A file in memory with these bytes.
class memory_file {
 public:
  explicit memory_file(std::string_view bytes) : number_(::memfd_create("events", MFD_CLOEXEC)) {
    if (number_ < 0) std::abort();
    while (!bytes.empty()) {
      const auto written = ::write(number_, bytes.data(), bytes.size());
      if (written <= 0) std::abort();
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  ~memory_file() { ::close(number_); }
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(number_); }

 private:
  int number_;
};

std::size_t read_all(std::string_view bytes) {
  const memory_file file(bytes);
  t::event_file_reader reader(file.path());
  std::size_t events = 0;
  for (std::size_t calls = 0; calls <= bytes.size(); ++calls) {
    try {
      const auto event = reader.next();
      if (!event) return events;
      if (event->values.size() > bytes.size()) std::abort();
      ++events;
    } catch (const mizzen::error& e) {
      if (e.code() != mizzen::errc::data_loss) std::abort();
      if (!reader.can_go_on()) return events;
    }
  }
  std::abort();  // it does not end
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  bool whole = true;
  try {
    t::read_event(input);
  } catch (const mizzen::error& e) {
    if (e.code() != mizzen::errc::data_loss) std::abort();
    whole = false;
  }
  read_all(input);
  // In a frame whose checksums are right, between two good ones.
  std::string framed;
  t::append_scalar_event(framed, 1, 1, "before", 1);
  t::append_event_frame(framed, input);
  t::append_scalar_event(framed, 2, 2, "after", 2);
  if (read_all(framed) != (whole ? 3U : 2U)) std::abort();
  return 0;
}
