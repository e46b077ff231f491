// Protobuf's wire format, read and written. Source: protobuf.dev/programming-guides/encoding.
#pragma once

#include <mizzen/core/error.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::inference::detail {

static_assert(std::endian::native == std::endian::little,
              "ONNX stores little-endian numbers; this reader takes them as they are");

// Where in the model the reader is, as a chain on the stack; made into text only for an error.
struct field_path {
  const field_path* parent = nullptr;
  std::string_view name;
  std::ptrdiff_t index = -1;

  std::string text() const;
};

enum class wire_type : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

// Reads the fields of one message. Every read is checked against the message's end: what does not
// fit is error(data_loss) naming the path.
//
//   for (wire_reader in(bytes, path); in.next();) {
//     switch (in.field()) {
//       case 1: name = in.string("name"); break;
//       default: in.skip();
//     }
//   }
class wire_reader {
 public:
  wire_reader(std::span<const std::byte> bytes, const field_path& path) noexcept
      : bytes_(bytes), path_(path) {}

  // Goes to the next field; false at the end of the message.
  bool next();
  std::uint32_t field() const noexcept { return field_; }

  // The current field's value; the name is for errors. Each throws if the wire type is another one.
  std::int64_t int64(std::string_view name);
  std::int32_t int32(std::string_view name);
  float float32(std::string_view name);
  std::span<const std::byte> bytes(std::string_view name);
  std::string_view string(std::string_view name);

  // The current field of a repeated number, packed or not, appended to the list.
  void append(std::vector<std::int64_t>& list, std::string_view name);
  void append(std::vector<std::int32_t>& list, std::string_view name);
  void append(std::vector<std::uint64_t>& list, std::string_view name);
  void append(std::vector<float>& list, std::string_view name);
  void append(std::vector<double>& list, std::string_view name);

  void skip();

  [[noreturn]] void fail(std::string_view name, std::string_view message) const;

 private:
  void expect(wire_type type, std::string_view name) const;
  std::uint64_t varint(std::string_view name);
  std::span<const std::byte> take(std::uint64_t size, std::string_view name);
  template <class T>
  T fixed(std::string_view name);
  template <class T>
  void append_varints(std::vector<T>& list, std::string_view name);
  template <class T>
  void append_fixed(std::vector<T>& list, std::string_view name);

  std::span<const std::byte> bytes_;
  const field_path& path_;
  std::size_t at_ = 0;
  std::uint32_t field_ = 0;
  wire_type type_ = wire_type::varint;
};

// Writes the fields of one message.
class wire_writer {
 public:
  void int64(std::uint32_t field, std::int64_t value);
  void float32(std::uint32_t field, float value);
  void string(std::uint32_t field, std::string_view text);
  void bytes(std::uint32_t field, std::span<const std::byte> data);
  void message(std::uint32_t field, const wire_writer& message) { bytes(field, message.data_); }
  void packed(std::uint32_t field, std::span<const std::int64_t> values);
  void packed(std::uint32_t field, std::span<const float> values);

  std::vector<std::byte> take() noexcept { return std::move(data_); }
  std::size_t size() const noexcept { return data_.size(); }

 private:
  void varint(std::uint64_t value);
  void tag(std::uint32_t field, wire_type type);

  std::vector<std::byte> data_;
};

}  // namespace mizzen::inference::detail
