#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/watch_decoder.hpp>

#include <kubernetes/codec/json_reader.hpp>
#include <kubernetes/codec/stream.hpp>
#include <kubernetes/codec/wire.hpp>

#include <array>
#include <utility>

namespace mizzen::kubernetes {
namespace {

constexpr std::array<std::string_view, 5> names{"ADDED", "MODIFIED", "DELETED", "BOOKMARK",
                                                "ERROR"};

watch_type type_of_name(std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<watch_type>(i);
  }
  throw error(errc::data_loss, "type",
              "there is no event type \"" + std::string(name.substr(0, 40)) + '"');
}

}  // namespace

std::string_view to_string(watch_type type) noexcept {
  return names[static_cast<std::size_t>(type)];
}

struct watch_frame_decoder::state {
  state(body_encoding chosen, decoder_limits bounds) : encoding(chosen), limits(bounds) {}

  std::optional<std::string_view> json_event();
  std::optional<std::string_view> protobuf_event();
  void read_json(std::string_view text, watch_frame& frame);
  void read_protobuf(std::string_view message, watch_frame& frame);
  std::string subject() const { return "watch event " + std::to_string(count); }

  body_encoding encoding;
  decoder_limits limits;
  detail::byte_queue bytes;
  detail::json_scanner scanner;
  std::size_t pending = 0;  // bytes of the event handed out last, still in the queue
  std::size_t count = 0;
  std::string type;
};

// The whole event at the front of the queue, or nothing yet.
std::optional<std::string_view> watch_frame_decoder::state::json_event() {
  if (scanner.scanned() == 0) {
    detail::skip_space(bytes);
    if (bytes.empty()) return std::nullopt;
    if (bytes.view().front() != '{') detail::throw_damaged(subject(), "expected a JSON object");
  }
  const auto size = scanner.size(bytes.view());
  if (scanner.too_deep()) detail::throw_damaged(subject(), "the nesting is too deep");
  if (scanner.scanned() > limits.item_bytes) detail::throw_too_large(subject(), limits.item_bytes);
  if (!size) return std::nullopt;
  scanner.reset();
  pending = *size;
  return bytes.view().substr(0, *size);
}

std::optional<std::string_view> watch_frame_decoder::state::protobuf_event() {
  const std::string_view text = bytes.view();
  if (text.size() < 4) return std::nullopt;
  std::size_t size = 0;
  for (const char c : text.substr(0, 4)) size = size << 8 | static_cast<unsigned char>(c);
  if (size > limits.item_bytes) detail::throw_too_large(subject(), limits.item_bytes);
  if (text.size() - 4 < size) return std::nullopt;
  pending = size + 4;
  return text.substr(4, size);
}

void watch_frame_decoder::state::read_json(std::string_view text, watch_frame& frame) {
  const detail::place top;
  detail::json_reader reader(text);
  std::string scratch;
  bool typed = false;
  reader.expect('{', top, "an object");
  if (!reader.take('}')) {
    do {
      const std::string_view name = reader.string(top, scratch);
      const bool is_type = name == "type";
      const bool is_object = name == "object";
      reader.expect(':', top, "':'");
      if (is_type) {
        const detail::place here{nullptr, "type"};
        if (typed) reader.fail(here, "the member is there twice");
        typed = true;
        frame.type = type_of_name(reader.string(here, scratch));
      } else {
        const detail::place here{nullptr, is_object ? "object" : ""};
        const std::string_view value = reader.skip(here, detail::max_depth + 1);
        if (!is_object) continue;
        if (!frame.object.empty()) reader.fail(here, "the member is there twice");
        frame.object = value;
      }
    } while (reader.take(','));
    reader.expect('}', top, "',' or '}'");
  }
  reader.end(top);
  if (!typed) reader.fail({nullptr, "type"}, "it is missing");
  if (frame.object.empty()) reader.fail({nullptr, "object"}, "it is missing");
}

void watch_frame_decoder::state::read_protobuf(std::string_view message, watch_frame& frame) {
  const detail::place top;
  detail::wire_reader reader(message);
  std::string_view raw;
  bool typed = false;
  while (!reader.done()) {
    const detail::tag found = reader.tag(top);
    if (found.wire != detail::wire::bytes || found.number > 2) {
      reader.skip(found.wire, top);
      continue;
    }
    const std::string_view value = reader.bytes(top);
    if (found.number == 1) {
      typed = true;
      frame.type = type_of_name(value);
      continue;
    }
    detail::wire_reader extension(value);
    while (!extension.done()) {
      const detail::tag part = extension.tag(top);
      if (part.number == 1 && part.wire == detail::wire::bytes) {
        raw = extension.bytes(top);
      } else {
        extension.skip(part.wire, top);
      }
    }
  }
  if (!typed) detail::throw_damaged("type", "it is missing");
  const protobuf_envelope envelope = read_protobuf_envelope(raw);
  if (!envelope.content_encoding.empty() ||
      (!envelope.content_type.empty() &&
       envelope.content_type != "application/vnd.kubernetes.protobuf")) {
    throw error(errc::unimplemented, "object", "the content is not plain protobuf");
  }
  frame.object = envelope.raw;
  frame.api_version = envelope.api_version;
  frame.kind = envelope.kind;
}

watch_frame_decoder::watch_frame_decoder(body_encoding encoding, decoder_limits limits)
    : state_(std::make_unique<state>(encoding, limits)) {}
watch_frame_decoder::~watch_frame_decoder() = default;
watch_frame_decoder::watch_frame_decoder(watch_frame_decoder&&) noexcept = default;
watch_frame_decoder& watch_frame_decoder::operator=(watch_frame_decoder&&) noexcept = default;

void watch_frame_decoder::feed(std::string_view piece) {
  state_->bytes.consume(std::exchange(state_->pending, 0));
  state_->bytes.append(piece);
}

std::optional<watch_frame> watch_frame_decoder::next() {
  state& s = *state_;
  s.bytes.consume(std::exchange(s.pending, 0));
  const bool json = s.encoding == body_encoding::json;
  const auto event = json ? s.json_event() : s.protobuf_event();
  if (!event) return std::nullopt;
  watch_frame frame;
  try {
    json ? s.read_json(*event, frame) : s.read_protobuf(*event, frame);
  } catch (const error& problem) {
    const std::string& field = problem.subject();
    throw error(problem.code() == errc::unimplemented ? errc::unimplemented : errc::data_loss,
                s.subject() + (field.empty() ? "" : ": " + field), problem.message());
  }
  ++s.count;
  return frame;
}

bool watch_frame_decoder::mid_event() const noexcept {
  const std::string_view text = state_->bytes.view().substr(state_->pending);
  return state_->encoding == body_encoding::json
             ? text.find_first_not_of(" \n\r\t") != std::string_view::npos
             : !text.empty();
}

body_encoding watch_frame_decoder::encoding() const noexcept { return state_->encoding; }
std::size_t watch_frame_decoder::count() const noexcept { return state_->count; }

meta_v1::status watch_frame_decoder::read_status(const watch_frame& frame) const {
  return encoding() == body_encoding::json ? from_json<meta_v1::status>(frame.object)
                                           : from_protobuf<meta_v1::status>(frame.object);
}

}  // namespace mizzen::kubernetes
