#include <mizzen/core/error.hpp>

#include <kubernetes/codec/schema.hpp>
#include <kubernetes/codec/stream.hpp>

#include <cstring>

namespace mizzen::kubernetes::detail {

std::optional<std::size_t> json_scanner::size(std::string_view text) {
  while (at_ < text.size()) {
    if (in_string_) {
      const auto* const quote =
          static_cast<const char*>(std::memchr(text.data() + at_, '"', text.size() - at_));
      if (quote == nullptr) {
        at_ = text.size();
        return std::nullopt;
      }
      at_ = static_cast<std::size_t>(quote - text.data());
      std::size_t slashes = 0;
      while (at_ - slashes > string_ && text[at_ - slashes - 1] == '\\') ++slashes;
      ++at_;
      if (slashes % 2 != 0) {
        string_ = at_;  // so that a run of backslashes is counted once
        continue;
      }
      in_string_ = false;
      if (depth_ == 0) return at_;
      continue;
    }
    const char c = text[at_];
    switch (c) {
      case '"':
        if (depth_ == 0 && at_ != 0) return at_;
        in_string_ = true;
        string_ = ++at_;
        break;
      case '{':
      case '[':
        if (depth_ == 0 && at_ != 0) return at_;
        ++at_;
        if (++depth_ > max_depth) {
          too_deep_ = true;
          return std::nullopt;
        }
        break;
      case '}':
      case ']':
        if (depth_ == 0) return at_;  // of what is around a bare value
        ++at_;
        if (--depth_ == 0) return at_;
        break;
      case ',':
      case ':':
      case ' ':
      case '\n':
      case '\r':
      case '\t':
        if (depth_ == 0) return at_;
        ++at_;
        break;
      default:
        ++at_;
    }
  }
  return std::nullopt;
}

void skip_space(byte_queue& bytes) noexcept {
  const std::string_view text = bytes.view();
  bytes.consume(std::min(text.find_first_not_of(" \n\r\t"), text.size()));
}

std::optional<sized_varint> front_varint(std::string_view text, std::string_view subject) {
  sized_varint result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (result.size == 9 && byte > 1) throw_damaged(subject, "a number is longer than 64 bits");
    result.value |= std::uint64_t{byte & 0x7FU} << (7 * result.size++);
    if (byte < 0x80) return result;
  }
  return std::nullopt;
}

void throw_damaged(std::string_view subject, std::string_view message) {
  throw error(errc::data_loss, subject, message);
}

void throw_too_large(std::string_view subject, std::size_t limit) {
  throw error(errc::resource_exhausted, subject,
              "it is larger than the limit of " + std::to_string(limit) +
                  " bytes (decoder_limits::item_bytes)");
}

}  // namespace mizzen::kubernetes::detail
