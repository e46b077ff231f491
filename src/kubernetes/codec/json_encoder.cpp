// Structs into JSON text, by their tables.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <core/base64.hpp>
#include <kubernetes/codec/json_reader.hpp>
#include <kubernetes/codec/text.hpp>
#include <kubernetes/codec/values.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <optional>

namespace mizzen::kubernetes::detail {
namespace {

class json_encoder {
 public:
  explicit json_encoder(std::string& out) : out_(out) {}

  void write_object(const struct_type& type, const void* object, const place& where, int levels);

 private:
  void write_field(const field& each, const void* at, const place& here, int levels);
  void key(std::string_view name, bool& first, const place& here) {
    if (!first) out_ += ',';
    first = false;
    string(name, here);
    out_ += ':';
  }
  void string(std::string_view text, const place& here) {
    if (!append_json_string(text, out_)) {
      throw error(errc::data_loss, here.to_string(),
                  "the text is not UTF-8, so JSON cannot hold it");
    }
  }
  template <typename Number>
  void digits(Number value) {
    std::array<char, 32> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    out_.append(buffer.data(), end);
  }

  void write(scalar kind, const std::string& value, const place& here) {
    if (kind != scalar::bytes) return string(value, here);
    out_ += '"';
    out_ += mizzen::detail::base64_encode(value);
    out_ += '"';
  }
  void write(scalar, bool value, const place&) { out_ += value ? "true" : "false"; }
  void write(scalar, std::int32_t value, const place&) { digits(value); }
  void write(scalar, std::int64_t value, const place&) { digits(value); }
  void write(scalar, double value, const place& here) {
    if (!std::isfinite(value)) {
      throw error(errc::invalid_argument, here.to_string(), "JSON has no infinity and no NaN");
    }
    digits(value);
  }
  void write(scalar, const time& value, const place&) {
    out_ += '"';
    append_rfc3339(out_, value.at.time_since_epoch().count());
    out_ += '"';
  }
  void write(scalar, const micro_time& value, const place&) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(value.at);
    out_ += '"';
    append_rfc3339(out_, seconds.time_since_epoch().count(),
                   static_cast<std::int32_t>((value.at - seconds).count()));
    out_ += '"';
  }
  void write(scalar, const quantity& value, const place& here) { string(value.to_string(), here); }
  void write(scalar, const int_or_string& value, const place& here) {
    value.is_string() ? string(value.text(), here) : digits(value.number());
  }
  void write(scalar, const raw_json& value, const place& here) { raw(value.text, here); }
  // Text that somebody else made: checked, for it would spoil the whole document.
  void raw(std::string_view text, const place& here) {
    if (text.empty()) {
      out_ += "null";
      return;
    }
    try {
      json_reader reader(text);
      const place top;
      reader.skip(top, max_depth);
      reader.end(top);
    } catch (const error& problem) {
      throw error(errc::data_loss, here.to_string(),
                  "what is kept here is not JSON: " + problem.message());
    }
    out_ += text;
  }

  std::string& out_;
};

void json_encoder::write_object(const struct_type& type, const void* object, const place& where,
                                int levels) {
  if (levels <= 0) {
    throw error(errc::invalid_argument, where.to_string(), "the nesting is too deep");
  }
  const auto& kept = member<unknown>(object, type.unknown_offset);
  if (!kept.protobuf_fields().empty()) {
    throw error(errc::failed_precondition, where.to_string(),
                "it holds protobuf fields that this version does not know and JSON cannot express: "
                "write it as protobuf, or drop them with unknown.clear()");
  }
  out_ += '{';
  bool first = true;
  // A kind inside of another object says nothing new, and protobuf leaves it out, too.
  if (type.is_kind() && where.parent == nullptr) {
    out_ += "\"kind\":\"";
    out_ += type.kind;
    out_ += "\",\"apiVersion\":\"";
    out_ += type.api_version;
    out_ += '"';
    first = false;
  }
  for (std::size_t i = 0; i < type.field_count; ++i) {
    const field& each = type.fields[i];
    const void* const at = static_cast<const char*>(object) + each.offset;
    if (!each.always && is_zero(each, at)) continue;
    const place here{&where, each.key()};
    if (!first) out_ += ',';
    first = false;
    out_ += '"';
    out_ += each.key();
    out_ += "\":";
    write_field(each, at, here, levels);
  }
  for (const auto& [name, text] : kept.json_members()) {
    const place here{&where, name};
    key(name, first, here);
    raw(text, here);
  }
  out_ += '}';
}

void json_encoder::write_field(const field& each, const void* at, const place& here, int levels) {
  const bool nested = each.scalar == scalar::object;
  bool first = true;
  place element{&here, {}, 0};
  const auto next = [&] {
    if (element.index++ > 0) out_ += ',';
  };
  switch (each.form) {
    case form::plain:
      if (nested) return write_object(*each.type, at, here, levels - 1);
      return with_type(each.scalar,
                       [&]<typename T>() { write(each.scalar, *static_cast<const T*>(at), here); });
    case form::optional:
      return with_type(each.scalar, [&]<typename T>() {
        write(each.scalar, **static_cast<const std::optional<T>*>(at), here);
      });
    case form::box:
      return write_object(*each.type, each.type->box.get(at), here, levels - 1);
    case form::vector:
      out_ += '[';
      if (nested) {
        const auto [data, count] = each.type->vector.view(at);
        for (std::size_t i = 0; i < count; ++i) {
          if (i != 0) out_ += ',';
          element.index = static_cast<std::ptrdiff_t>(i);
          write_object(*each.type, static_cast<const char*>(data) + i * each.type->size, element,
                       levels - 1);
        }
      } else {
        with_type(each.scalar, [&]<typename T>() {
          for (const T& value : *static_cast<const std::vector<T>*>(at)) {
            next();
            write(each.scalar, value, here);
          }
        });
      }
      out_ += ']';
      return;
    case form::map:
      out_ += '{';
      if (nested) {
        for (std::size_t i = 0; i < each.type->map.size(at); ++i) {
          const auto [name, value] = each.type->map.entry(at, i);
          const place entry{&here, *name};
          key(*name, first, entry);
          write_object(*each.type, value, entry, levels - 1);
        }
      } else {
        with_type(each.scalar, [&]<typename T>() {
          for (const auto& [name, value] : *static_cast<const string_map<T>*>(at)) {
            const place entry{&here, name};
            key(name, first, entry);
            if constexpr (std::is_same_v<T, time>) {
              if (value == time{}) {  // as Go writes its zero time
                out_ += "null";
                continue;
              }
            }
            write(each.scalar, value, entry);
          }
        });
      }
      out_ += '}';
      return;
    case form::map_of_lists:
      out_ += '{';
      for (const auto& [name, values] :
           *static_cast<const string_map<std::vector<std::string>>*>(at)) {
        const place entry{&here, name};
        key(name, first, entry);
        out_ += '[';
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (i != 0) out_ += ',';
          string(values[i], entry);
        }
        out_ += ']';
      }
      out_ += '}';
      return;
  }
}

}  // namespace

void encode_json(const struct_type& type, const void* object, std::string& out) {
  const place top;
  json_encoder(out).write_object(type, object, top, max_depth);
}

}  // namespace mizzen::kubernetes::detail
