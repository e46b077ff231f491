// Protobuf messages into structs, by their tables.
//
// As Go's generated code reads them: a value that Go keeps as a value is written even when it is
// zero, and reads as zero, which is absent here; an empty Time is no time.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <kubernetes/codec/values.hpp>
#include <kubernetes/codec/wire.hpp>

#include <bit>
#include <bitset>
#include <chrono>
#include <optional>

namespace mizzen::kubernetes::detail {
namespace {

// A field as it lies in its message: where its tag is.
struct raw_field {
  const char* start = nullptr;
  detail::tag tag = {};
};

void read_message(const struct_type& type, void* object, std::string_view message,
                  const place& where, int levels);

void expect(const raw_field& raw, wire kind, const place& here) {
  if (raw.tag.wire != kind) wire_reader::fail(here, "the field has another wire type");
}

// Calls each(number, wire, reader) for the fields of a message of a value type; it reads what it
// knows and says so.
template <typename Each>
void each_field(std::string_view message, const place& here, Each each) {
  wire_reader reader(message);
  while (!reader.done()) {
    const tag found = reader.tag(here);
    if (!each(found, reader)) reader.skip(found.wire, here);
  }
}

// A message whose field 1 holds the text: Quantity, RawExtension, FieldsV1.
std::string_view first_bytes(std::string_view message, const place& here) {
  std::string_view text;
  each_field(message, here, [&](tag found, wire_reader& reader) {
    if (found.number != 1 || found.wire != wire::bytes) return false;
    text = reader.bytes(here);
    return true;
  });
  return text;
}

instant read_timestamp(std::string_view message, const place& here) {
  instant result;
  each_field(message, here, [&](tag found, wire_reader& reader) {
    if (found.wire != wire::varint || found.number > 2) return false;
    const std::uint64_t value = reader.varint(here);
    if (found.number == 1) {
      result.seconds = static_cast<std::int64_t>(value);
    } else {
      result.nanos = static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
    }
    return true;
  });
  // What years of four digits can say: beyond it the JSON form has no text for it.
  if (result.seconds < first_second || result.seconds > last_second || result.nanos < 0 ||
      result.nanos > 999'999'999) {
    wire_reader::fail(here, "the time is outside the years 0 to 9999");
  }
  return result;
}

// Values from their bytes; false means absent.
bool read(std::string_view bytes, std::string& out, const place&) {
  out = std::string(bytes);  // a new one: assigning would round its size up
  return true;
}
bool read(std::string_view bytes, time& out, const place& here) {
  const instant read = read_timestamp(bytes, here);
  out.at = std::chrono::sys_seconds(std::chrono::seconds(read.seconds));
  return read.seconds != 0 || read.nanos != 0;
}
bool read(std::string_view bytes, micro_time& out, const place& here) {
  const instant read = read_timestamp(bytes, here);
  out.at = std::chrono::sys_seconds(std::chrono::seconds(read.seconds)) +
           std::chrono::microseconds(read.nanos / 1'000);
  return read.seconds != 0 || read.nanos != 0;
}
bool read(std::string_view bytes, quantity& out, const place& here) {
  const std::string_view text = first_bytes(bytes, here);
  if (text.empty()) {
    out = quantity();
    return true;
  }
  if (!is_quantity(text)) wire_reader::fail(here, "this is not a quantity");
  out = quantity_access::make(text);
  return true;
}
bool read(std::string_view bytes, raw_json& out, const place& here) {
  out.text = std::string(first_bytes(bytes, here));
  return true;
}
bool read(std::string_view bytes, int_or_string& out, const place& here) {
  std::uint64_t kind = 0;
  std::int32_t number = 0;
  std::string_view text;
  each_field(bytes, here, [&](tag found, wire_reader& reader) {
    if (found.number == 3 && found.wire == wire::bytes) {
      text = reader.bytes(here);
      return true;
    }
    if (found.wire != wire::varint || found.number > 2) return false;
    const std::uint64_t value = reader.varint(here);
    if (found.number == 1) {
      kind = value;
    } else {
      number = static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
    }
    return true;
  });
  if (kind > 1) wire_reader::fail(here, "it is neither a number nor a string");
  out = kind == 0 ? int_or_string(number) : int_or_string(std::string(text));
  return true;
}

// Values that are not length delimited.
template <typename T>
constexpr bool is_number = std::is_arithmetic_v<T>;

template <typename T>
T read_number(wire_reader& reader, const place& here) {
  if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(reader.fixed64(here));
  } else if constexpr (std::is_same_v<T, bool>) {
    return reader.varint(here) != 0;
  } else {
    return static_cast<T>(reader.varint(here));  // 32-bit numbers are cut off, as protobuf says
  }
}
template <typename T>
constexpr wire number_wire = std::is_same_v<T, double> ? wire::fixed64 : wire::varint;

template <typename T>
bool read_value(wire_reader& reader, const raw_field& raw, T& out, const place& here) {
  if constexpr (is_number<T>) {
    expect(raw, number_wire<T>, here);
    out = read_number<T>(reader, here);
    return true;
  } else {
    expect(raw, wire::bytes, here);
    return read(reader.bytes(here), out, here);
  }
}

// The entries of a map come one by one: {key 1, value 2}.
struct map_entry {
  std::string_view key;
  std::string_view value;  // without it: empty
};
map_entry read_entry(std::string_view message, const place& here) {
  map_entry entry;
  each_field(message, here, [&](tag found, wire_reader& reader) {
    if (found.wire != wire::bytes || found.number > 2) return false;
    (found.number == 1 ? entry.key : entry.value) = reader.bytes(here);
    return true;
  });
  return entry;
}

// All entries of a map that follow one another, beginning with the one whose tag has been read.
template <typename Add>
void read_entries(wire_reader& reader, const raw_field& raw, const place& here, Add add) {
  expect(raw, wire::bytes, here);
  const std::string_view tag(raw.start, static_cast<std::size_t>(reader.position() - raw.start));
  do {
    const map_entry entry = read_entry(reader.bytes(here), here);
    const place each{&here, entry.key};
    add(entry, each);
  } while (reader.take(tag));
}

void read_vector(const field& each, void* at, wire_reader& reader, const raw_field& raw,
                 const place& here, int levels) {
  const auto tag_size = static_cast<std::size_t>(reader.position() - raw.start);
  if (each.scalar == scalar::object) {
    expect(raw, wire::bytes, here);
    const std::string_view bytes = reader.bytes(here);
    const std::size_t before = each.type->vector.view(at).second;
    if (before == 0) {
      each.type->vector.reserve(at, reader.count_same(raw.start, tag_size) + 1);
    }
    const place element{&here, {}, static_cast<std::ptrdiff_t>(before)};
    read_message(*each.type, each.type->vector.append(at), bytes, element, levels - 1);
    return;
  }
  with_type(each.scalar, [&]<typename T>() {
    auto& vector = *static_cast<std::vector<T>*>(at);
    const place element{&here, {}, static_cast<std::ptrdiff_t>(vector.size())};
    if constexpr (is_number<T>) {
      if (raw.tag.wire == wire::bytes) {  // packed
        wire_reader packed(reader.bytes(here));
        while (!packed.done()) vector.push_back(read_number<T>(packed, element));
        return;
      }
    }
    T value{};
    read_value(reader, raw, value, element);
    if constexpr (!is_number<T>) {
      if (vector.empty()) vector.reserve(reader.count_same(raw.start, tag_size) + 1);
    }
    vector.push_back(std::move(value));
  });
}

void read_map(const field& each, void* at, wire_reader& reader, const raw_field& raw,
              const place& here, int levels) {
  if (each.scalar == scalar::object) {
    read_entries(reader, raw, here, [&](const map_entry& entry, const place& place) {
      void* const value = each.type->map.append(at, entry.key);
      read_message(*each.type, value, entry.value, place, levels - 1);
    });
    return;
  }
  with_type(each.scalar, [&]<typename T>() {
    if constexpr (!is_number<T>) {
      auto& map = *static_cast<string_map<T>*>(at);
      if (map.empty()) {
        const auto size = static_cast<std::size_t>(reader.position() - raw.start);
        // The count goes on from behind the first entry.
        wire_reader ahead = reader;
        ahead.bytes(here);
        map.reserve(ahead.count_same(raw.start, size) + 1);
      }
      read_entries(reader, raw, here, [&](const map_entry& entry, const place& place) {
        read(entry.value, string_map_access::append(map, entry.key), place);
      });
    }
  });
}

void read_lists(void* at, wire_reader& reader, const raw_field& raw, const place& here) {
  auto& map = *static_cast<string_map<std::vector<std::string>>*>(at);
  read_entries(reader, raw, here, [&](const map_entry& entry, const place& place) {
    auto& list = string_map_access::append(map, entry.key);
    each_field(entry.value, place, [&](tag found, wire_reader& items) {
      if (found.number != 1 || found.wire != wire::bytes) return false;
      list.emplace_back(items.bytes(place));
      return true;
    });
  });
}

void read_field(const field& each, void* object, wire_reader& reader, const raw_field& raw,
                const place& here, int levels) {
  void* const at = static_cast<char*>(object) + each.offset;
  const bool nested = each.scalar == scalar::object;
  switch (each.form) {
    case form::plain:
      if (nested) {
        expect(raw, wire::bytes, here);
        return read_message(*each.type, at, reader.bytes(here), here, levels - 1);
      }
      return with_type(each.scalar,
                       [&]<typename T>() { read_value(reader, raw, *static_cast<T*>(at), here); });
    case form::optional:
      return with_type(each.scalar, [&]<typename T>() {
        T value{};
        if (read_value(reader, raw, value, here)) {
          *static_cast<std::optional<T>*>(at) = std::move(value);
        }
      });
    case form::box:
      expect(raw, wire::bytes, here);
      return read_message(*each.type, each.type->box.fill(at), reader.bytes(here), here,
                          levels - 1);
    case form::vector:
      return read_vector(each, at, reader, raw, here, levels);
    case form::map:
      return read_map(each, at, reader, raw, here, levels);
    case form::map_of_lists:
      return read_lists(at, reader, raw, here);
  }
}

// Keeps a field, inside of the messages that its scope is embedded in.
void keep_unknown(const struct_type& type, std::size_t scope, void* object,
                  std::string_view whole) {
  std::string text(whole);
  for (; scope != 0; scope = type.scopes[scope].parent) {
    std::string outer;
    append_bytes(outer, type.scopes[scope].number, text);
    text = std::move(outer);
  }
  member<unknown>(object, type.unknown_offset).add_protobuf(text);
}

// The fields of a struct that have come.
using seen_fields = std::bitset<first_embedded>;

void read_scope(const struct_type& type, std::size_t scope, void* object, std::string_view message,
                seen_fields& seen, const place& where, int levels) {
  if (levels <= 0) wire_reader::fail(where, "the nesting is too deep");
  wire_reader reader(message);
  const auto& numbers = type.scopes[scope];
  while (!reader.done()) {
    const char* const start = reader.position();
    const raw_field raw{start, reader.tag(where)};
    const std::uint8_t index =
        raw.tag.number <= numbers.top ? numbers.numbers[raw.tag.number] : no_field;
    if (index < first_embedded) {
      const field& each = type.fields[index];
      const place here{&where, each.key()};
      const bool repeated =
          each.form == form::vector || each.form == form::map || each.form == form::map_of_lists;
      // Protobuf would merge them. No encoder of Kubernetes writes that, and it could be used to
      // make reading a message of n bytes take n² steps.
      if (seen[index] && !repeated) wire_reader::fail(here, "the field is there twice");
      seen.set(index);
      read_field(each, object, reader, raw, here, levels);
    } else if (index != no_field) {
      expect(raw, wire::bytes, where);
      read_scope(type, std::size_t{index} - first_embedded, object, reader.bytes(where), seen,
                 where, levels - 1);
    } else {
      reader.skip(raw.tag.wire, where);
      keep_unknown(type, scope, object,
                   {start, static_cast<std::size_t>(reader.position() - start)});
    }
  }
}

// Puts the entries of a map in order; false if a key is there twice.
bool finish_map(const field& each, void* at) {
  if (each.form == form::map_of_lists) {
    return string_map_access::finish(*static_cast<string_map<std::vector<std::string>>*>(at));
  }
  if (each.scalar == scalar::object) return each.type->map.finish(at);
  return with_type(each.scalar, [at]<typename T>() {
    return string_map_access::finish(*static_cast<string_map<T>*>(at));
  });
}

void read_message(const struct_type& type, void* object, std::string_view message,
                  const place& where, int levels) {
  seen_fields seen;
  read_scope(type, 0, object, message, seen, where, levels);
  for (std::size_t i = 0; i < type.field_count; ++i) {
    const field& each = type.fields[i];
    if (!seen[i] || (each.form != form::map && each.form != form::map_of_lists)) continue;
    if (!finish_map(each, static_cast<char*>(object) + each.offset)) {
      const place here{&where, each.key()};
      wire_reader::fail(here, "a key is there twice");
    }
  }
}

void need_protobuf(const struct_type& type) {
  if (!type.protobuf) {
    throw error(errc::unimplemented, type.name, "this type is read and written as JSON only");
  }
}

}  // namespace

void decode_protobuf(const struct_type& type, void* object, std::string_view message) {
  need_protobuf(type);
  const place top;
  read_message(type, object, message, top, max_depth);
}

}  // namespace mizzen::kubernetes::detail

namespace mizzen::kubernetes {

protobuf_envelope read_protobuf_envelope(std::string_view message) {
  using namespace detail;
  const place top{nullptr, "envelope"};
  constexpr std::string_view magic("k8s\0", 4);
  if (!message.starts_with(magic)) {
    wire_reader::fail(top, "it does not begin with the bytes \"k8s\\0\"");
  }
  protobuf_envelope result;
  each_field(message.substr(magic.size()), top, [&](tag found, wire_reader& reader) {
    if (found.wire != wire::bytes || found.number > 4) return false;
    const std::string_view value = reader.bytes(top);
    switch (found.number) {
      case 1:
        each_field(value, top, [&](tag part, wire_reader& meta) {
          if (part.wire != wire::bytes || part.number > 2) return false;
          (part.number == 1 ? result.api_version : result.kind) = meta.bytes(top);
          return true;
        });
        break;
      case 2:
        result.raw = value;
        break;
      case 3:
        result.content_encoding = value;
        break;
      default:
        result.content_type = value;
    }
    return true;
  });
  return result;
}

namespace detail {

std::string_view open_envelope(const struct_type& type, std::string_view message) {
  const protobuf_envelope found = read_protobuf_envelope(message);
  if (type.is_kind() && (found.kind != type.kind || found.api_version != type.api_version)) {
    throw error(errc::invalid_argument, "envelope",
                "expected " + std::string(type.kind) + " of " + type.api_version + ", found " +
                    std::string(found.kind.substr(0, 100)) + " of " +
                    std::string(found.api_version.substr(0, 100)));
  }
  if (!found.content_encoding.empty() ||
      (!found.content_type.empty() &&
       found.content_type != "application/vnd.kubernetes.protobuf")) {
    throw error(errc::unimplemented, "envelope",
                "the content is of type \"" + std::string(found.content_type.substr(0, 100)) +
                    "\", not plain protobuf");
  }
  return found.raw;
}

}  // namespace detail
}  // namespace mizzen::kubernetes
