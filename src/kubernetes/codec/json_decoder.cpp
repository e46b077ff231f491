// JSON text into structs, by their tables.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <core/base64.hpp>
#include <kubernetes/codec/json_reader.hpp>
#include <kubernetes/codec/values.hpp>

#include <bitset>
#include <chrono>
#include <cstring>
#include <limits>
#include <optional>

namespace mizzen::kubernetes::detail {
namespace {

class json_decoder {
 public:
  explicit json_decoder(std::string_view text) : reader_(text) {}

  void document(const struct_type& type, void* object) {
    const place top;
    read_object(type, object, top, max_depth);
    reader_.end(top);
  }

 private:
  void read_object(const struct_type& type, void* object, const place& where, int levels);
  void read_field(const field& each, void* object, const place& here, int levels);
  void read_type_meta(const struct_type& type, bool version, const place& here);
  void read_lists(string_map<std::vector<std::string>>& map, const place& here, int levels);
  template <typename Each>
  void read_elements(const place& here, int levels, Each each);
  template <typename Each>
  void read_entries(const place& here, int levels, Each each);

  void read(scalar kind, std::string& out, const place& here);
  void read(scalar, bool& out, const place& here) { out = reader_.boolean(here); }
  void read(scalar, std::int32_t& out, const place& here) {
    using limits = std::numeric_limits<std::int32_t>;
    out = static_cast<std::int32_t>(reader_.integer(here, limits::min(), limits::max()));
  }
  void read(scalar, std::int64_t& out, const place& here) {
    using limits = std::numeric_limits<std::int64_t>;
    out = reader_.integer(here, limits::min(), limits::max());
  }
  void read(scalar, double& out, const place& here) { out = reader_.number(here); }
  void read(scalar, time& out, const place& here) {
    out.at = std::chrono::sys_seconds(std::chrono::seconds(read_instant(here).seconds));
  }
  void read(scalar, micro_time& out, const place& here) {
    const instant read = read_instant(here);
    out.at = std::chrono::sys_seconds(std::chrono::seconds(read.seconds)) +
             std::chrono::microseconds(read.nanos / 1000);
  }
  void read(scalar, quantity& out, const place& here);
  void read(scalar, int_or_string& out, const place& here);
  void read(scalar, raw_json& out, const place& here) {
    out.text = std::string(reader_.skip(here, max_depth));
  }
  instant read_instant(const place& here);

  json_reader reader_;
  std::string scratch_;
};

// The field of a name. The server writes fields in the order of the table, so the search goes on
// where the last one ended.
std::size_t find_field(const struct_type& type, std::string_view name, std::size_t hint) {
  const auto matches = [&](std::size_t i) {
    const field& each = type.fields[i];
    return each.name_size == name.size() && std::memcmp(each.name, name.data(), name.size()) == 0;
  };
  for (std::size_t i = hint; i < type.field_count; ++i) {
    if (matches(i)) return i;
  }
  for (std::size_t i = 0; i < hint && i < type.field_count; ++i) {
    if (matches(i)) return i;
  }
  return type.field_count;
}

void json_decoder::read_object(const struct_type& type, void* object, const place& where,
                               int levels) {
  reader_.expect('{', where, "an object");
  if (levels <= 0) reader_.fail(where, "the nesting is too deep");
  if (reader_.take('}')) return;
  std::bitset<first_embedded + 2> seen;
  std::size_t hint = 0;
  do {
    if (reader_.peek() != '"') reader_.expect('"', where, "the name of a member");
    const std::string_view name = reader_.string(where, scratch_);
    const std::size_t index = find_field(type, name, hint);
    if (index < type.field_count) {
      const field& each = type.fields[index];
      const place here{&where, each.key()};
      if (seen[index]) reader_.fail(here, "the member is there twice");
      seen.set(index);
      hint = index + 1;
      reader_.expect(':', here, "':'");
      if (!reader_.take_null(here)) read_field(each, object, here, levels - 1);
      continue;
    }
    if (type.is_kind() && (name == "kind" || name == "apiVersion")) {
      const bool version = name == "apiVersion";
      const place here{&where, version ? "apiVersion" : "kind"};
      const std::size_t bit = first_embedded + (version ? 1 : 0);
      if (seen[bit]) reader_.fail(here, "the member is there twice");
      seen.set(bit);
      reader_.expect(':', here, "':'");
      if (!reader_.take_null(here)) read_type_meta(type, version, here);
      continue;
    }
    std::string key(name);
    const place here{&where, key};
    reader_.expect(':', here, "':'");
    std::string text(reader_.skip(here, levels - 1));
    member<unknown>(object, type.unknown_offset).add_json(std::move(key), std::move(text));
  } while (reader_.take(','));
  reader_.expect('}', where, "',' or '}'");
}

void json_decoder::read_type_meta(const struct_type& type, bool version, const place& here) {
  const std::string_view found = reader_.string(here, scratch_);
  const std::string_view wanted = version ? type.api_version : type.kind;
  if (found != wanted && !found.empty()) {
    reader_.fail(here, "expected \"" + std::string(wanted) + "\", found \"" +
                           std::string(found.substr(0, 100)) + '"');
  }
}

template <typename Each>
void json_decoder::read_elements(const place& here, int levels, Each each) {
  reader_.expect('[', here, "an array");
  if (levels <= 0) reader_.fail(here, "the nesting is too deep");
  if (reader_.take(']')) return;
  place element{&here, {}, 0};
  do {
    each(element);
    ++element.index;
  } while (reader_.take(','));
  reader_.expect(']', here, "',' or ']'");
}

template <typename Each>
void json_decoder::read_entries(const place& here, int levels, Each each) {
  reader_.expect('{', here, "an object");
  if (levels <= 0) reader_.fail(here, "the nesting is too deep");
  if (reader_.take('}')) return;
  do {
    if (reader_.peek() != '"') reader_.expect('"', here, "the name of a member");
    const std::string key(reader_.string(here, scratch_));
    const place entry{&here, key};
    reader_.expect(':', entry, "':'");
    each(entry, key);
  } while (reader_.take(','));
  reader_.expect('}', here, "',' or '}'");
}

void json_decoder::read_lists(string_map<std::vector<std::string>>& map, const place& here,
                              int levels) {
  read_entries(here, levels, [&](const place& entry, std::string_view key) {
    auto& list = string_map_access::append(map, key);
    if (reader_.take_null(entry)) return;
    read_elements(entry, levels - 1, [&](const place& element) {
      read(scalar::string, list.emplace_back(), element);
    });
  });
  if (!string_map_access::finish(map)) reader_.fail(here, "a member is there twice");
}

void json_decoder::read_field(const field& each, void* object, const place& here, int levels) {
  void* const at = static_cast<char*>(object) + each.offset;
  const bool nested = each.scalar == scalar::object;
  switch (each.form) {
    case form::plain:
      if (nested) return read_object(*each.type, at, here, levels);
      return with_type(each.scalar,
                       [&]<typename T>() { read(each.scalar, *static_cast<T*>(at), here); });
    case form::optional:
      return with_type(each.scalar, [&]<typename T>() {
        read(each.scalar, static_cast<std::optional<T>*>(at)->emplace(), here);
      });
    case form::box:
      return read_object(*each.type, each.type->box.fill(at), here, levels);
    case form::vector:
      return read_elements(here, levels, [&](const place& element) {
        // As in Go, a null element is a zero one.
        const bool null = reader_.take_null(element);
        if (nested) {
          void* const added = each.type->vector.append(at);
          if (!null) read_object(*each.type, added, element, levels - 1);
          return;
        }
        with_type(each.scalar, [&]<typename T>() {
          T value{};
          if (!null) read(each.scalar, value, element);
          static_cast<std::vector<T>*>(at)->push_back(std::move(value));
        });
      });
    case form::map:
      if (nested) {
        read_entries(here, levels, [&](const place& entry, std::string_view key) {
          void* const added = each.type->map.append(at, key);
          if (reader_.take_null(entry)) return;
          read_object(*each.type, added, entry, levels - 1);
        });
        if (!each.type->map.finish(at)) reader_.fail(here, "a member is there twice");
        return;
      }
      return with_type(each.scalar, [&]<typename T>() {
        auto& map = *static_cast<string_map<T>*>(at);
        read_entries(here, levels, [&](const place& entry, std::string_view key) {
          T& value = string_map_access::append(map, key);
          if (!reader_.take_null(entry)) read(each.scalar, value, entry);
        });
        if (!string_map_access::finish(map)) reader_.fail(here, "a member is there twice");
      });
    case form::map_of_lists:
      return read_lists(*static_cast<string_map<std::vector<std::string>>*>(at), here, levels);
  }
}

void json_decoder::read(scalar kind, std::string& out, const place& here) {
  const std::string_view text = reader_.string(here, scratch_);
  if (kind == scalar::bytes) {
    auto decoded = mizzen::detail::base64_decode(text);
    if (!decoded) reader_.fail(here, "the string is not base64");
    out = std::move(*decoded);
  } else {
    out = std::string(text);  // a new one: assigning would round its size up
  }
}

void json_decoder::read(scalar, quantity& out, const place& here) {
  const std::string_view text =
      reader_.peek() == '"' ? reader_.string(here, scratch_) : reader_.number_text(here);
  if (!is_quantity(text)) {
    reader_.fail(here,
                 "\"" + std::string(text.substr(0, 60)) +
                     "\" is not a quantity: expected a number with a suffix such as m, k, Gi");
  }
  out = quantity_access::make(text);
}

void json_decoder::read(scalar, int_or_string& out, const place& here) {
  if (reader_.peek() == '"') {
    out = int_or_string(std::string(reader_.string(here, scratch_)));
    return;
  }
  std::int32_t number = 0;
  read(scalar::int32, number, here);
  out = number;
}

instant json_decoder::read_instant(const place& here) {
  const std::string_view text = reader_.string(here, scratch_);
  const auto read = read_rfc3339(text);
  if (!read) {
    reader_.fail(here, "\"" + std::string(text.substr(0, 60)) +
                           "\" is not a time in the form of 2006-01-02T15:04:05Z");
  }
  return *read;
}

}  // namespace

void decode_json(const struct_type& type, void* object, std::string_view text) {
  json_decoder(text).document(type, object);
}

}  // namespace mizzen::kubernetes::detail
