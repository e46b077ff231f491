#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/list_decoder.hpp>

#include <kubernetes/codec/json_reader.hpp>
#include <kubernetes/codec/stream.hpp>
#include <kubernetes/codec/text.hpp>
#include <kubernetes/codec/wire.hpp>

#include <algorithm>

namespace mizzen::kubernetes {

std::optional<body_encoding> body_encoding_of(std::string_view content_type) noexcept {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.starts_with(' ') || type.starts_with('\t')) type.remove_prefix(1);
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  const auto is = [type](std::string_view name) {
    return std::equal(type.begin(), type.end(), name.begin(), name.end(), [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    });
  };
  if (is("application/json")) return body_encoding::json;
  if (is("application/vnd.kubernetes.protobuf")) return body_encoding::protobuf;
  return std::nullopt;
}

// The position in the body, and what has been read of it.
struct list_item_decoder::state {
  enum class step : std::uint8_t {
    start,
    json_name,  // a member of the list, or its end if none came yet
    json_colon,
    json_value,
    json_item,         // an element, or the end of the array if none came yet
    json_after_item,   // a comma, or the end of the array
    json_after_value,  // a comma, or the end of the list
    envelope_field,
    list_field,
    done,
  };

  state(body_encoding chosen, decoder_limits bounds) : encoding(chosen), limits(bounds) {}

  std::optional<list_item> next_json();
  std::optional<list_item> next_protobuf();
  bool read_envelope_field();
  std::optional<list_item> read_list_field(bool& more);
  std::optional<std::string_view> value();
  void read_member(std::string_view text);
  bool take(char c);
  std::string subject() const { return "items[" + std::to_string(count) + ']'; }
  list_item item(std::string_view object) {
    ++count;
    return {object, api_version, kind};
  }
  void keep(std::size_t size) {
    kept += size;
    if (kept > limits.item_bytes) detail::throw_too_large("unknown members", limits.item_bytes);
  }
  // Runs a reader whose errors become those of the list.
  template <typename Read>
  void reading(std::string_view what, Read read) {
    try {
      read();
    } catch (const error& problem) {
      std::string place(what);
      if (!problem.subject().empty()) place += '.' + problem.subject();
      throw error(errc::data_loss, place, problem.message());
    }
  }

  body_encoding encoding;
  decoder_limits limits;
  detail::byte_queue bytes;
  detail::json_scanner scanner;
  step at = step::start;
  std::string member;          // whose value comes
  std::uint64_t raw_left = 0;  // of the list message
  std::size_t pending = 0;     // bytes of the item handed out last, still in the queue
  std::size_t count = 0;
  std::size_t kept = 0;  // bytes of unknown members
  bool first = true;
  bool items_seen = false;
  meta_v1::list_meta metadata;
  std::string api_version;
  std::string kind;
  kubernetes::unknown unknown;
};

bool list_item_decoder::state::take(char c) {
  if (bytes.view().front() != c) return false;
  bytes.consume(1);
  return true;
}

// The whole value at the front of the queue, or nothing yet.
std::optional<std::string_view> list_item_decoder::state::value() {
  const auto size = scanner.size(bytes.view());
  if (scanner.too_deep()) detail::throw_damaged(subject(), "the nesting is too deep");
  if (scanner.scanned() > limits.item_bytes) detail::throw_too_large(subject(), limits.item_bytes);
  if (!size) return std::nullopt;
  if (*size == 0) detail::throw_damaged(subject(), "a JSON value is missing");
  scanner.reset();
  return bytes.view().substr(0, *size);
}

void list_item_decoder::state::read_member(std::string_view text) {
  reading(member, [&] {
    const detail::place top;
    std::string scratch;
    detail::json_reader reader(text);
    if (member == "kind" || member == "apiVersion") {
      (member == "kind" ? kind : api_version) = std::string(reader.string(top, scratch));
      reader.end(top);
    } else if (member == "metadata") {
      if (text != "null") codec<meta_v1::list_meta>::from_json(text, metadata);
    } else {
      reader.skip(top, detail::max_depth);
      reader.end(top);
      keep(member.size() + text.size());
      unknown.add_json(member, std::string(text));
    }
  });
}

std::optional<list_item> list_item_decoder::state::next_json() {
  while (true) {
    detail::skip_space(bytes);
    if (bytes.empty()) return std::nullopt;
    switch (at) {
      case step::start:
        if (!take('{')) detail::throw_damaged("list", "expected a JSON object");
        at = step::json_name;
        break;
      case step::json_name: {
        if (first && take('}')) {
          at = step::done;
          break;
        }
        if (bytes.view().front() != '"') {
          detail::throw_damaged("list", "expected the name of a member");
        }
        const auto name = value();
        if (!name) return std::nullopt;
        reading("list", [&] {
          detail::json_reader reader(*name);
          std::string scratch;
          member = std::string(reader.string({}, scratch));
        });
        bytes.consume(name->size());
        first = false;
        at = step::json_colon;
        break;
      }
      case step::json_colon:
        if (!take(':')) detail::throw_damaged(member, "expected ':'");
        at = step::json_value;
        break;
      case step::json_value: {
        if (member == "items" && bytes.view().front() == '[') {
          if (items_seen) detail::throw_damaged("items", "the member is there twice");
          items_seen = true;
          first = true;
          bytes.consume(1);
          at = step::json_item;
          break;
        }
        const auto text = value();
        if (!text) return std::nullopt;
        if (member == "items") {
          if (*text != "null" || items_seen) detail::throw_damaged("items", "expected an array");
          items_seen = true;
        } else {
          read_member(*text);
        }
        bytes.consume(text->size());
        at = step::json_after_value;
        break;
      }
      case step::json_item: {
        if (first && take(']')) {
          at = step::json_after_value;
          break;
        }
        const auto object = value();
        if (!object) return std::nullopt;
        first = false;
        pending = object->size();
        at = step::json_after_item;
        return item(*object);
      }
      case step::json_after_item:
        if (take(',')) {
          at = step::json_item;
        } else if (take(']')) {
          at = step::json_after_value;
        } else {
          detail::throw_damaged(subject(), "expected ',' or ']' before it");
        }
        break;
      case step::json_after_value:
        first = false;
        if (take(',')) {
          at = step::json_name;
        } else if (take('}')) {
          at = step::done;
        } else {
          detail::throw_damaged(member, "expected ',' or '}' after it");
        }
        break;
      default:
        detail::throw_damaged("list", "something follows the list");
    }
  }
}

// A field of the envelope. False if it has not all come.
bool list_item_decoder::state::read_envelope_field() {
  const std::string_view text = bytes.view();
  const auto tag = detail::front_varint(text, "envelope");
  if (!tag) return false;
  const auto length = detail::front_varint(text.substr(tag->size), "envelope");
  if (!length) return false;
  const std::uint64_t number = tag->value >> 3;
  if (static_cast<detail::wire>(tag->value & 7) != detail::wire::bytes) {
    detail::throw_damaged("envelope", "a field has another wire type");
  }
  const std::size_t head = tag->size + length->size;
  if (number == 2) {  // the list itself: not waited for
    if (items_seen) detail::throw_damaged("envelope", "it holds two lists");
    items_seen = true;
    raw_left = length->value;
    bytes.consume(head);
    at = step::list_field;
    return true;
  }
  if (length->value > limits.item_bytes) detail::throw_too_large("envelope", limits.item_bytes);
  if (text.size() - head < length->value) return false;
  const std::string_view body = text.substr(head, static_cast<std::size_t>(length->value));
  if (number == 1) {
    const detail::place top{nullptr, "envelope"};
    detail::wire_reader reader(body);
    while (!reader.done()) {
      const detail::tag part = reader.tag(top);
      if (part.wire == detail::wire::bytes && part.number <= 2) {
        (part.number == 1 ? api_version : kind) = std::string(reader.bytes(top));
      } else {
        reader.skip(part.wire, top);
      }
    }
  } else if ((number == 3 && !body.empty()) ||
             (number == 4 && !body.empty() && body != "application/vnd.kubernetes.protobuf")) {
    throw error(errc::unimplemented, "envelope",
                "the content is \"" + std::string(body.substr(0, 100)) + "\", not plain protobuf");
  }
  bytes.consume(head + body.size());
  return true;
}

// A field of the list. `more` is false if it has not all come.
std::optional<list_item> list_item_decoder::state::read_list_field(bool& more) {
  more = false;
  if (raw_left == 0) {
    at = step::envelope_field;
    more = true;
    return std::nullopt;
  }
  const std::string_view text = bytes.view().substr(
      0, static_cast<std::size_t>(std::min<std::uint64_t>(raw_left, bytes.view().size())));
  const bool last = text.size() == raw_left;  // nothing of the list is still to come
  const auto missing = [&]() -> std::optional<list_item> {
    if (last) detail::throw_damaged(subject(), "the message is cut short");
    return std::nullopt;
  };
  const auto tag = detail::front_varint(text, subject());
  if (!tag) return missing();
  const auto kind_of = static_cast<detail::wire>(tag->value & 7);
  std::size_t head = tag->size;
  std::uint64_t size = 0;
  switch (kind_of) {
    case detail::wire::bytes: {
      const auto length = detail::front_varint(text.substr(head), subject());
      if (!length) return missing();
      head += length->size;
      size = length->value;
      break;
    }
    case detail::wire::varint: {
      const auto number = detail::front_varint(text.substr(head), subject());
      if (!number) return missing();
      size = number->size;
      break;
    }
    case detail::wire::fixed64:
      size = 8;
      break;
    case detail::wire::fixed32:
      size = 4;
      break;
    default:
      detail::throw_damaged(subject(), "this is no field of protobuf");
  }
  if (size > limits.item_bytes) detail::throw_too_large(subject(), limits.item_bytes);
  if (text.size() - head < size) return missing();
  const auto whole = head + static_cast<std::size_t>(size);
  const std::string_view body = text.substr(head, static_cast<std::size_t>(size));
  raw_left -= whole;
  more = true;
  const std::uint64_t number = tag->value >> 3;
  if (kind_of == detail::wire::bytes && number == 2) {
    pending = whole;
    return item(body);
  }
  if (kind_of == detail::wire::bytes && number == 1) {
    reading("metadata", [&] { codec<meta_v1::list_meta>::from_protobuf(body, metadata); });
  } else {
    keep(whole);
    unknown.add_protobuf(text.substr(0, whole));
  }
  bytes.consume(whole);
  return std::nullopt;
}

std::optional<list_item> list_item_decoder::state::next_protobuf() {
  constexpr std::string_view magic("k8s\0", 4);
  while (true) {
    switch (at) {
      case step::start:
        if (!magic.starts_with(bytes.view().substr(0, magic.size()))) {
          detail::throw_damaged("envelope", "it does not begin with the bytes \"k8s\\0\"");
        }
        if (bytes.view().size() < magic.size()) return std::nullopt;
        bytes.consume(magic.size());
        at = step::envelope_field;
        break;
      case step::envelope_field:
        if (bytes.empty() || !read_envelope_field()) return std::nullopt;
        break;
      default: {
        bool more = false;
        auto found = read_list_field(more);
        if (found || !more) return found;
      }
    }
  }
}

list_item_decoder::list_item_decoder(body_encoding encoding, decoder_limits limits)
    : state_(std::make_unique<state>(encoding, limits)) {}
list_item_decoder::~list_item_decoder() = default;
list_item_decoder::list_item_decoder(list_item_decoder&&) noexcept = default;
list_item_decoder& list_item_decoder::operator=(list_item_decoder&&) noexcept = default;

void list_item_decoder::feed(std::string_view piece) {
  // The item handed out last may go now; its bytes stay until here so that it can be read in place.
  state_->bytes.consume(std::exchange(state_->pending, 0));
  state_->bytes.append(piece);
}

std::optional<list_item> list_item_decoder::next() {
  state_->bytes.consume(std::exchange(state_->pending, 0));
  return state_->encoding == body_encoding::json ? state_->next_json() : state_->next_protobuf();
}

void list_item_decoder::finish() {
  state& s = *state_;
  if (next()) detail::throw_damaged(s.subject(), "it was not taken before finish()");
  const bool whole = s.encoding == body_encoding::json
                         ? s.at == state::step::done
                         : s.at == state::step::envelope_field && s.bytes.empty();
  if (!whole) detail::throw_damaged(s.subject(), "the list is cut short");
  if (!s.items_seen) {
    detail::throw_damaged("items", "there are none: this is no list" +
                                       (s.kind.empty() ? std::string() : " but a " + s.kind));
  }
}

body_encoding list_item_decoder::encoding() const noexcept { return state_->encoding; }
std::size_t list_item_decoder::count() const noexcept { return state_->count; }
const meta_v1::list_meta& list_item_decoder::metadata() const noexcept { return state_->metadata; }
const std::string& list_item_decoder::api_version() const noexcept { return state_->api_version; }
const std::string& list_item_decoder::kind() const noexcept { return state_->kind; }
const unknown& list_item_decoder::unknown_members() const noexcept { return state_->unknown; }

namespace detail {

std::string list_head(std::string_view api_version, std::string_view kind,
                      const meta_v1::list_meta& metadata, const kubernetes::unknown& unknown) {
  if (!unknown.protobuf_fields().empty()) {
    throw error(
        errc::failed_precondition, "list",
        "it holds protobuf fields that JSON cannot express: drop them with unknown.clear()");
  }
  std::string out = "{\"kind\":";
  append_json_string(std::string(kind) + "List", out);
  out += ",\"apiVersion\":";
  append_json_string(api_version, out);
  out += ",\"metadata\":";
  codec<meta_v1::list_meta>::to_json(metadata, out);
  for (const auto& [name, text] : unknown.json_members()) {
    out += ',';
    append_json_string(name, out);
    out += ':' + text;
  }
  return out + ",\"items\":[";
}

}  // namespace detail
}  // namespace mizzen::kubernetes
