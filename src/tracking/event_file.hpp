// TensorBoard's event files: TFRecord frames around Event messages (tensorflow/core/lib/io/
// record_writer.cc, tensorflow/core/util/event.proto, framework/summary.proto), without any I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::tracking::detail {

// Appends the frame of any message to a buffer.
void append_event_frame(std::string& to, std::string_view message);

// Appends the frame of an event to a buffer. Times are in seconds since 1970-01-01 UTC.
void append_version_event(std::string& to, double wall_time);  // the first of a file
void append_scalar_event(std::string& to, double wall_time, std::int64_t step, std::string_view tag,
                         float value);
// Says up to which position of a log the events before it are; readers pass over it.
void append_mark_event(std::string& to, double wall_time, std::string_view log,
                       std::uint64_t position);

// A frame's head: length of the message after it, absent when damaged. The frame ends with four
// more bytes after the message.
constexpr std::size_t event_frame_head = 12;
constexpr std::size_t event_frame_tail = 4;
constexpr std::size_t event_message_size = 64 << 10;  // of ours, at most
std::optional<std::uint64_t> read_event_length(std::string_view head);

// Whether a message is as its checksum says; the position of a mark of this log, if it is one.
bool check_event(std::string_view message, std::string_view tail);
std::optional<std::uint64_t> read_mark_event(std::string_view message, std::string_view log);

}  // namespace mizzen::tracking::detail
