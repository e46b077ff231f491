// Reads TensorBoard's event files, whoever wrote them: frames (event_file.hpp) around Event
// messages (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto and
// tensor.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking::detail {

// One value of an event's summary.
struct event_value {
  std::string tag = {};
  // simple_value, or the element of a tensor that holds one number.
  std::optional<double> number = std::nullopt;
  // What the metadata says that it is for: "scalars", "text", "histograms" …; many writers say so
  // with the first value of a tag only.
  std::string plugin = {};
  // What it is where there is no number: "image", "histogram", "audio", "tensor", "".
  std::string_view kind = {};
};

struct event_record {
  double wall_time = 0;  // seconds since 1970-01-01 UTC
  std::int64_t step = 0;
  std::vector<event_value> values = {};
};

// Throws error(data_loss) for what is no message.
event_record read_event(std::string_view message);

// The events of a file, one after the other, in bounded memory: messages beyond 4 MiB (graphs,
// images) are passed over, as no scalar is in one.
class event_file_reader {
 public:
  static constexpr std::uint64_t largest = std::uint64_t{4} << 20;

  // Throws error(permission_denied).
  explicit event_file_reader(const std::filesystem::path& path);

  // Nothing at the end, which is also where a last frame is cut short (the writer is at it, or
  // died). Throws error(data_loss) for a frame or message that is damaged; where can_go_on() the
  // next call goes on behind it.
  std::optional<event_record> next();
  bool can_go_on() const noexcept { return !lost_; }
  std::uint64_t passed_over() const noexcept { return passed_over_; }

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  std::uint64_t at_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t passed_over_ = 0;
  bool lost_ = false;
  std::string message_;
};

}  // namespace mizzen::tracking::detail
