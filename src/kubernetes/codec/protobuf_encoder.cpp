// Structs into protobuf messages, by their tables.
#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/serialization.hpp>

#include <kubernetes/codec/wire.hpp>

#include <bit>
#include <chrono>
#include <optional>
#include <type_traits>

namespace mizzen::kubernetes::detail {
namespace {

class protobuf_encoder {
 public:
  explicit protobuf_encoder(std::string& out) : out_(out) {}

  void write_struct(const struct_type& type, const void* object, const place& where, int levels) {
    if (levels <= 0) {
      throw error(errc::invalid_argument, where.to_string(), "the nesting is too deep");
    }
    const auto& kept = member<unknown>(object, type.unknown_offset);
    if (!kept.json_members().empty()) {
      const place here{&where, kept.json_members()[0].first};
      throw error(errc::failed_precondition, here.to_string(),
                  "this version does not know the member, so protobuf cannot express it: write the "
                  "object as JSON, or drop it with unknown.clear()");
    }
    write_scope(type, 0, object, where, levels);
    out_ += kept.protobuf_fields();
  }

 private:
  void write_scope(const struct_type& type, std::size_t scope, const void* object,
                   const place& where, int levels) {
    for (std::size_t i = 0; i < type.field_count; ++i) {
      const field& each = type.fields[i];
      const void* const at = static_cast<const char*>(object) + each.offset;
      if (each.scope != scope || (!each.always && is_zero(each, at))) continue;
      const place here{&where, each.key()};
      write_field(each, at, here, levels);
    }
    for (std::size_t child = 1; child < type.scope_count; ++child) {
      if (type.scopes[child].parent != scope) continue;
      append_nested(out_, type.scopes[child].number,
                    [&] { write_scope(type, child, object, where, levels); });
    }
  }

  void write_field(const field& each, const void* at, const place& here, int levels) {
    const bool nested = each.scalar == scalar::object;
    const auto object = [&](const void* value, const place& where) {
      append_nested(out_, each.number, [&] { write_struct(*each.type, value, where, levels - 1); });
    };
    switch (each.form) {
      case form::plain:
        if (nested) return object(at, here);
        return with_type(each.scalar,
                         [&]<typename T>() { write(each.number, *static_cast<const T*>(at)); });
      case form::optional:
        return with_type(each.scalar, [&]<typename T>() {
          write(each.number, **static_cast<const std::optional<T>*>(at));
        });
      case form::box:
        return object(each.type->box.get(at), here);
      case form::vector:
        if (nested) {
          const auto [data, count] = each.type->vector.view(at);
          for (std::size_t i = 0; i < count; ++i) {
            const place element{&here, {}, static_cast<std::ptrdiff_t>(i)};
            object(static_cast<const char*>(data) + i * each.type->size, element);
          }
          return;
        }
        return with_type(each.scalar, [&]<typename T>() {
          for (const T& value : *static_cast<const std::vector<T>*>(at)) write(each.number, value);
        });
      case form::map:
        if (nested) {
          for (std::size_t i = 0; i < each.type->map.size(at); ++i) {
            const auto entry = each.type->map.entry(at, i);
            const place inside{&here, *entry.first};
            append_nested(out_, each.number, [&] {
              append_bytes(out_, 1, *entry.first);
              append_nested(out_, 2,
                            [&] { write_struct(*each.type, entry.second, inside, levels - 1); });
            });
          }
          return;
        }
        return with_type(each.scalar, [&]<typename T>() {
          for (const auto& entry : *static_cast<const string_map<T>*>(at)) {
            append_nested(out_, each.number, [&] {
              append_bytes(out_, 1, entry.first);
              write(2, entry.second);
            });
          }
        });
      case form::map_of_lists:
        for (const auto& entry : *static_cast<const string_map<std::vector<std::string>>*>(at)) {
          append_nested(out_, each.number, [&] {
            append_bytes(out_, 1, entry.first);
            append_nested(out_, 2, [&] {
              for (const std::string& item : entry.second) append_bytes(out_, 1, item);
            });
          });
        }
        return;
    }
  }

  void varint(std::uint32_t number, std::uint64_t value) {
    append_tag(out_, number, wire::varint);
    append_varint(out_, value);
  }
  void timestamp(std::uint32_t number, std::int64_t seconds, std::int64_t nanos) {
    append_nested(out_, number, [&] {
      varint(1, static_cast<std::uint64_t>(seconds));
      varint(2, static_cast<std::uint64_t>(nanos));
    });
  }

  void write(std::uint32_t number, const std::string& value) { append_bytes(out_, number, value); }
  void write(std::uint32_t number, bool value) { varint(number, value ? 1 : 0); }
  void write(std::uint32_t number, std::int32_t value) {
    varint(number, static_cast<std::uint64_t>(std::int64_t{value}));  // negative ones take 64 bits
  }
  void write(std::uint32_t number, std::int64_t value) {
    varint(number, static_cast<std::uint64_t>(value));
  }
  void write(std::uint32_t number, double value) {
    append_tag(out_, number, wire::fixed64);
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (unsigned i = 0; i < 8; ++i) out_ += static_cast<char>((bits >> (8 * i)) & 0xFF);
  }
  void write(std::uint32_t number, const time& value) {
    timestamp(number, value.at.time_since_epoch().count(), 0);
  }
  void write(std::uint32_t number, const micro_time& value) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(value.at);
    timestamp(number, seconds.time_since_epoch().count(), (value.at - seconds).count() * 1'000);
  }
  void write(std::uint32_t number, const quantity& value) {
    append_nested(out_, number, [&] { append_bytes(out_, 1, value.to_string()); });
  }
  void write(std::uint32_t number, const raw_json& value) {
    append_nested(out_, number, [&] { append_bytes(out_, 1, value.text); });
  }
  void write(std::uint32_t number, const int_or_string& value) {
    append_nested(out_, number, [&] {
      varint(1, value.is_string() ? 1 : 0);
      if (value.is_string()) {
        append_bytes(out_, 3, value.text());
      } else {
        write(2, value.number());
      }
    });
  }

  std::string& out_;
};

}  // namespace

void encode_protobuf(const struct_type& type, const void* object, std::string& out) {
  if (!type.protobuf) {
    throw error(errc::unimplemented, type.name, "this type is read and written as JSON only");
  }
  const place top;
  protobuf_encoder(out).write_struct(type, object, top, max_depth);
}

void encode_envelope(const struct_type& type, const void* object, std::string& out) {
  std::string message;
  encode_protobuf(type, object, message);
  out += write_protobuf_envelope(type.api_version, type.kind, message);
}

}  // namespace mizzen::kubernetes::detail

namespace mizzen::kubernetes {

std::string write_protobuf_envelope(std::string_view api_version, std::string_view kind,
                                    std::string_view raw) {
  std::string out("k8s\0", 4);
  out.reserve(raw.size() + api_version.size() + kind.size() + 32);
  detail::append_nested(out, 1, [&] {
    detail::append_bytes(out, 1, api_version);
    detail::append_bytes(out, 2, kind);
  });
  detail::append_bytes(out, 2, raw);
  return out;
}

}  // namespace mizzen::kubernetes
