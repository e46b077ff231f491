#include "inference/onnx/wire.hpp"

#include <limits>

namespace mizzen::inference::detail {

std::string field_path::text() const {
  std::string result = parent != nullptr ? parent->text() + "." : std::string();
  result += name;
  if (index >= 0) result += "[" + std::to_string(index) + "]";
  return result;
}

void wire_reader::fail(std::string_view name, std::string_view message) const {
  throw error(errc::data_loss, field_path{&path_, name}.text(), message);
}

std::uint64_t wire_reader::varint(std::string_view name) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ == bytes_.size()) fail(name, "the file ends inside a number");
    const auto byte = static_cast<std::uint64_t>(bytes_[at_++]);
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  fail(name, "a number has more than 64 bits");
}

std::span<const std::byte> wire_reader::take(std::uint64_t size, std::string_view name) {
  if (size > bytes_.size() - at_) {
    fail(name, "it claims " + std::to_string(size) + " bytes where " +
                   std::to_string(bytes_.size() - at_) + " are left");
  }
  const auto result = bytes_.subspan(at_, static_cast<std::size_t>(size));
  at_ += static_cast<std::size_t>(size);
  return result;
}

bool wire_reader::next() {
  if (at_ == bytes_.size()) return false;
  const std::uint64_t tag = varint("(field tag)");
  const std::uint64_t number = tag >> 3;
  if (number == 0 || number > (1U << 29) - 1) fail("(field tag)", "no such field number");
  field_ = static_cast<std::uint32_t>(number);
  const auto type = static_cast<std::uint8_t>(tag & 7);
  if (type > 5 || type == 3 || type == 4) {
    fail("field " + std::to_string(field_), "unknown wire type " + std::to_string(type));
  }
  type_ = static_cast<wire_type>(type);
  return true;
}

void wire_reader::expect(wire_type type, std::string_view name) const {
  if (type_ != type) {
    fail(name, "wire type " + std::to_string(static_cast<int>(type_)) + " where " +
                   std::to_string(static_cast<int>(type)) + " belongs");
  }
}

std::int64_t wire_reader::int64(std::string_view name) {
  expect(wire_type::varint, name);
  return static_cast<std::int64_t>(varint(name));
}

std::int32_t wire_reader::int32(std::string_view name) {
  // Protobuf cuts longer numbers silently; a model that holds one is damaged.
  const std::int64_t value = int64(name);
  if (value < std::numeric_limits<std::int32_t>::min() ||
      value > std::numeric_limits<std::int32_t>::max()) {
    fail(name, "the number does not fit 32 bits");
  }
  return static_cast<std::int32_t>(value);
}

template <class T>
T wire_reader::fixed(std::string_view name) {
  T value;
  std::memcpy(&value, take(sizeof(T), name).data(), sizeof(T));
  return value;
}

float wire_reader::float32(std::string_view name) {
  expect(wire_type::fixed32, name);
  return fixed<float>(name);
}

std::span<const std::byte> wire_reader::bytes(std::string_view name) {
  expect(wire_type::length, name);
  return take(varint(name), name);
}

std::string_view wire_reader::string(std::string_view name) {
  const auto data = bytes(name);
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

template <class T>
void wire_reader::append_varints(std::vector<T>& list, std::string_view name) {
  if (type_ != wire_type::length) {
    expect(wire_type::varint, name);
    list.push_back(static_cast<T>(varint(name)));
    return;
  }
  wire_reader packed(bytes(name), path_);
  while (packed.at_ != packed.bytes_.size()) list.push_back(static_cast<T>(packed.varint(name)));
}

template <class T>
void wire_reader::append_fixed(std::vector<T>& list, std::string_view name) {
  constexpr wire_type single = sizeof(T) == 4 ? wire_type::fixed32 : wire_type::fixed64;
  if (type_ != wire_type::length) {
    expect(single, name);
    list.push_back(fixed<T>(name));
    return;
  }
  const auto data = bytes(name);
  if (data.size() % sizeof(T) != 0) fail(name, "the packed list ends inside a number");
  const std::size_t before = list.size();
  list.resize(before + data.size() / sizeof(T));
  if (!data.empty()) std::memcpy(list.data() + before, data.data(), data.size());
}

void wire_reader::append(std::vector<std::int64_t>& list, std::string_view name) {
  append_varints(list, name);
}
void wire_reader::append(std::vector<std::int32_t>& list, std::string_view name) {
  append_varints(list, name);
}
void wire_reader::append(std::vector<std::uint64_t>& list, std::string_view name) {
  append_varints(list, name);
}
void wire_reader::append(std::vector<float>& list, std::string_view name) {
  append_fixed(list, name);
}
void wire_reader::append(std::vector<double>& list, std::string_view name) {
  append_fixed(list, name);
}

void wire_reader::skip() {
  switch (type_) {
    case wire_type::varint:
      varint("(unknown field)");
      return;
    case wire_type::fixed64:
      take(8, "(unknown field)");
      return;
    case wire_type::length:
      take(varint("(unknown field)"), "(unknown field)");
      return;
    case wire_type::fixed32:
      take(4, "(unknown field)");
      return;
  }
}

void wire_writer::varint(std::uint64_t value) {
  while (value >= 0x80) {
    data_.push_back(static_cast<std::byte>(value | 0x80));
    value >>= 7;
  }
  data_.push_back(static_cast<std::byte>(value));
}

void wire_writer::tag(std::uint32_t field, wire_type type) {
  varint((static_cast<std::uint64_t>(field) << 3) | static_cast<std::uint64_t>(type));
}

void wire_writer::int64(std::uint32_t field, std::int64_t value) {
  tag(field, wire_type::varint);
  varint(static_cast<std::uint64_t>(value));
}

void wire_writer::float32(std::uint32_t field, float value) {
  tag(field, wire_type::fixed32);
  const auto data = std::as_bytes(std::span(&value, 1));
  data_.insert(data_.end(), data.begin(), data.end());
}

void wire_writer::bytes(std::uint32_t field, std::span<const std::byte> data) {
  tag(field, wire_type::length);
  varint(data.size());
  data_.insert(data_.end(), data.begin(), data.end());
}

void wire_writer::string(std::uint32_t field, std::string_view text) {
  bytes(field, std::as_bytes(std::span(text.data(), text.size())));
}

void wire_writer::packed(std::uint32_t field, std::span<const std::int64_t> values) {
  wire_writer list;
  for (const std::int64_t value : values) list.varint(static_cast<std::uint64_t>(value));
  message(field, list);
}

void wire_writer::packed(std::uint32_t field, std::span<const float> values) {
  bytes(field, std::as_bytes(values));
}

}  // namespace mizzen::inference::detail
