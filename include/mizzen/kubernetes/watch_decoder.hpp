// Reads a watch stream while it arrives.
#pragma once

#include <mizzen/kubernetes/list_decoder.hpp>
#include <mizzen/kubernetes/serialization.hpp>
#include <mizzen/kubernetes/types/meta_v1.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mizzen::kubernetes {

enum class watch_type : std::uint8_t { added, modified, deleted, bookmark, error };

// "ADDED", "MODIFIED", …: as on the wire.
std::string_view to_string(watch_type type) noexcept;

// One event: views that live until the next call on its decoder.
struct watch_frame {
  watch_type type = watch_type::added;
  std::string_view object = {};       // JSON text, or a bare protobuf message
  std::string_view api_version = {};  // of the object; in JSON only read for errors
  std::string_view kind = {};
};

// Cuts a watch stream into events: JSON objects {"type", "object"} one after another, or
// length-prefixed protobuf messages (application/vnd.kubernetes.protobuf;stream=watch). No socket
// in it. Use and errors as list_item_decoder; the subject is "watch event 17".
class watch_frame_decoder {
 public:
  explicit watch_frame_decoder(body_encoding encoding, decoder_limits limits = {});
  ~watch_frame_decoder();
  watch_frame_decoder(watch_frame_decoder&&) noexcept;
  watch_frame_decoder& operator=(watch_frame_decoder&&) noexcept;

  void feed(std::string_view piece);
  // The next whole event, or nothing until more is fed.
  std::optional<watch_frame> next();
  // Whether a part of an event has come and its rest has not: a stream that ends here was cut.
  bool mid_event() const noexcept;

  body_encoding encoding() const noexcept;
  std::size_t count() const noexcept;

  // Reads the Status of an error event.
  meta_v1::status read_status(const watch_frame& frame) const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// An event with its object decoded. Of a bookmark only metadata.resource_version (and annotations)
// mean something; of an error only `status`.
template <typename Kind>
struct watch_event {
  watch_type type = watch_type::added;
  Kind object = {};
  box<meta_v1::status> status = {};
};

// watch_frame_decoder with objects decoded.
template <typename Kind>
class watch_decoder {
 public:
  explicit watch_decoder(body_encoding encoding, decoder_limits limits = {})
      : frames_(encoding, limits) {}

  void feed(std::string_view piece) { frames_.feed(piece); }

  std::optional<watch_event<Kind>> next() {
    std::optional<watch_event<Kind>> event;
    const auto frame = frames_.next();
    if (!frame) return event;
    event.emplace().type = frame->type;
    try {
      if (frame->type == watch_type::error) {
        event->status = frames_.read_status(*frame);
      } else if (frames_.encoding() == body_encoding::json) {
        codec<Kind>::from_json(frame->object, event->object);
      } else {
        codec<Kind>::from_protobuf(frame->object, event->object);
      }
    } catch (const error& problem) {
      throw error(problem.code(),
                  "watch event " + std::to_string(frames_.count() - 1) + ": " + problem.subject(),
                  problem.message());
    }
    return event;
  }
  bool mid_event() const noexcept { return frames_.mid_event(); }
  std::size_t count() const noexcept { return frames_.count(); }

 private:
  watch_frame_decoder frames_;
};

}  // namespace mizzen::kubernetes
