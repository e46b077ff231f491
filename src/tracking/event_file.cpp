#include "tracking/event_file.hpp"

#include "tracking/crc32c.hpp"
#include "tracking/protobuf.hpp"

#include <charconv>
#include <cstring>
#include <span>

namespace mizzen::tracking::detail {
namespace {

// Fields: Event, Summary, Summary.Value, SourceMetadata.
constexpr unsigned event_wall_time = 1;
constexpr unsigned event_step = 2;
constexpr unsigned event_file_version = 3;
constexpr unsigned event_summary = 5;
constexpr unsigned event_source_metadata = 10;
constexpr unsigned summary_value = 1;
constexpr unsigned value_tag = 1;
constexpr unsigned value_simple = 2;
constexpr unsigned metadata_writer = 1;

constexpr std::string_view mark_prefix = "mizzen ";

std::string event_at(double wall_time) {
  std::string event;
  put_fixed_field(event, event_wall_time, wall_time);
  return event;
}

std::uint32_t masked_checksum(std::string_view text) {
  const std::uint32_t crc = crc32c(std::as_bytes(std::span(text.data(), text.size())));
  return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

template <typename T>
T get(std::string_view from) {
  T value{};
  std::memcpy(&value, from.data(), sizeof value);
  return value;
}

std::string mark_text(std::string_view log) {
  return std::string(mark_prefix).append(log).append(" ");
}

}  // namespace

void append_event_frame(std::string& to, std::string_view message) {
  std::string length;
  put_raw(length, std::uint64_t{message.size()});
  to += length;
  put_raw(to, masked_checksum(length));
  to += message;
  put_raw(to, masked_checksum(message));
}

void append_version_event(std::string& to, double wall_time) {
  std::string event = event_at(wall_time);
  put_bytes_field(event, event_file_version, "brain.Event:2");
  append_event_frame(to, event);
}

void append_scalar_event(std::string& to, double wall_time, std::int64_t step, std::string_view tag,
                         float value) {
  std::string one;
  put_bytes_field(one, value_tag, tag);
  put_fixed_field(one, value_simple, value);
  std::string summary;
  put_bytes_field(summary, summary_value, one);
  std::string event = event_at(wall_time);
  put_varint_field(event, event_step, static_cast<std::uint64_t>(step));
  put_bytes_field(event, event_summary, summary);
  append_event_frame(to, event);
}

void append_mark_event(std::string& to, double wall_time, std::string_view log,
                       std::uint64_t position) {
  std::string metadata;
  put_bytes_field(metadata, metadata_writer, mark_text(log) + std::to_string(position));
  std::string event = event_at(wall_time);
  put_bytes_field(event, event_source_metadata, metadata);
  append_event_frame(to, event);
}

std::optional<std::uint64_t> read_event_length(std::string_view head) {
  if (head.size() < event_frame_head) return std::nullopt;
  if (masked_checksum(head.substr(0, 8)) != get<std::uint32_t>(head.substr(8))) return std::nullopt;
  return get<std::uint64_t>(head);
}

bool check_event(std::string_view message, std::string_view tail) {
  return tail.size() >= event_frame_tail && masked_checksum(message) == get<std::uint32_t>(tail);
}

std::optional<std::uint64_t> read_mark_event(std::string_view message, std::string_view log) {
  // As append_mark_event writes it, to the byte: the time, then the one field.
  const std::string text = mark_text(log);
  constexpr std::size_t before = 9 + 2 + 2;  // wall_time; key and length of metadata and of writer
  if (message.size() <= before + text.size() || message.size() > 120 + before) return std::nullopt;
  if (message.substr(before, text.size()) != text ||
      static_cast<unsigned char>(message[9]) !=
          (event_source_metadata << 3 | static_cast<unsigned>(wire_type::bytes))) {
    return std::nullopt;
  }
  std::uint64_t position = 0;
  const char* const first = message.data() + before + text.size();
  const char* const last = message.data() + message.size();
  const auto [end, failed] = std::from_chars(first, last, position);
  if (failed != std::errc{} || end != last) return std::nullopt;
  return position;
}

}  // namespace mizzen::tracking::detail
