#include "kubernetes/tar.hpp"

#include <mizzen/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <limits>

namespace mizzen::kubernetes::detail {
namespace {

// Where the fields of a header stand (POSIX.1-2017, pax, "ustar Interchange Format").
struct field {
  std::size_t at;
  std::size_t size;
};
constexpr field name_field{0, 100};
constexpr field mode_field{100, 8};
constexpr field uid_field{108, 8};
constexpr field gid_field{116, 8};
constexpr field size_field{124, 12};
constexpr field mtime_field{136, 12};
constexpr field checksum_field{148, 8};
constexpr field type_field{156, 1};
constexpr field link_field{157, 100};
constexpr field magic_field{257, 8};
constexpr field prefix_field{345, 155};

constexpr std::size_t longest_extra = std::size_t{64} << 10;
constexpr std::uint64_t largest_octal = 077777777777;

void put_octal(std::string& block, field where, std::uint64_t value) {
  for (std::size_t i = where.size - 1; i-- > 0;) {
    block[where.at + i] = static_cast<char>('0' + (value & 7U));
    value >>= 3;
  }
  block[where.at + where.size - 1] = '\0';
}

void put_text(std::string& block, field where, std::string_view text) {
  text = text.substr(0, where.size);
  std::ranges::copy(text, block.begin() + static_cast<std::ptrdiff_t>(where.at));
}

std::uint64_t checksum(std::string_view block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= checksum_field.at && i < checksum_field.at + checksum_field.size;
    sum += own ? ' ' : static_cast<unsigned char>(block[i]);
  }
  return sum;
}

std::string one_header(const tar_entry& entry, char type) {
  std::string block(tar_block, '\0');
  put_text(block, name_field, entry.path);
  put_octal(block, mode_field, entry.mode & 07777U);
  put_octal(block, uid_field, 0);
  put_octal(block, gid_field, 0);
  put_octal(block, size_field, std::min(entry.size, largest_octal));
  const auto mtime = static_cast<std::uint64_t>(std::max<std::int64_t>(entry.mtime, 0));
  put_octal(block, mtime_field, std::min(mtime, largest_octal));
  block[type_field.at] = type;
  put_text(block, link_field, entry.link);
  put_text(block, magic_field, std::string_view("ustar\00000", 8));
  put_octal(block, {checksum_field.at, 7}, checksum(block));
  block[checksum_field.at + 7] = ' ';
  return block;
}

// "<length> <name>=<value>\n", where the length counts itself.
void append_record(std::string& to, std::string_view name, std::string_view value) {
  const std::size_t rest = name.size() + value.size() + 3;
  std::size_t length = rest;
  while (std::to_string(length).size() + rest != length) {
    length = std::to_string(length).size() + rest;
  }
  to += std::to_string(length) + " ";
  to.append(name).append("=").append(value).append("\n");
}

std::string_view text_of(std::string_view block, field where) {
  const std::string_view whole = block.substr(where.at, where.size);
  return whole.substr(0, whole.find('\0'));
}

// Octal digits between spaces and zeros, or GNU's base 256.
bool read_number(std::string_view block, field where, std::uint64_t& value) {
  std::string_view text = block.substr(where.at, where.size);
  value = 0;
  if ((static_cast<unsigned char>(text.front()) & 0x80U) != 0) {
    if ((static_cast<unsigned char>(text.front()) & 0x7fU) != 0) return false;  // huge or negative
    for (const char c : text.substr(1)) {
      if (value >> 55 != 0) return false;
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return true;
  }
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.remove_suffix(1);
  for (const char c : text) {
    if (c < '0' || c > '7') return false;
    value = value << 3 | static_cast<unsigned>(c - '0');
  }
  return true;
}

template <typename Number>
bool parse_decimal(std::string_view text, Number& value) {
  text = text.substr(0, text.find('.'));  // of a time: its fraction
  const auto number = std::from_chars(text.data(), text.data() + text.size(), value);
  return number.ec == std::errc() && number.ptr == text.data() + text.size();
}

}  // namespace

std::size_t tar_padding(std::uint64_t size) noexcept {
  return static_cast<std::size_t>((tar_block - size % tar_block) % tar_block);
}

std::string tar_end() { return std::string(2 * tar_block, '\0'); }

std::string tar_header(const tar_entry& entry) {
  for (const std::string& text : {entry.path, entry.link}) {
    if (text.find('\0') != std::string::npos) {
      throw error(errc::invalid_argument, "path", "a path must not have a zero byte in it");
    }
  }
  char type = '0';
  if (entry.what == tar_entry::kind::directory) type = '5';
  if (entry.what == tar_entry::kind::symlink) type = '2';
  if (entry.what == tar_entry::kind::hardlink) type = '1';
  std::string records;
  if (entry.path.size() > name_field.size) append_record(records, "path", entry.path);
  if (entry.link.size() > link_field.size) append_record(records, "linkpath", entry.link);
  if (entry.size > largest_octal) append_record(records, "size", std::to_string(entry.size));
  std::string made;
  if (!records.empty()) {
    tar_entry extra;
    extra.path = "pax";
    extra.size = records.size();
    made = one_header(extra, 'x') + records + std::string(tar_padding(records.size()), '\0');
  }
  return made + one_header(entry, type);
}

tar_reader::event tar_reader::fail(std::string why) {
  failure_ = std::move(why);
  return event::failed;
}

tar_reader::event tar_reader::next(std::string_view& data) {
  if (!failure_.empty()) return event::failed;
  for (;;) {
    const auto take = [&data](std::size_t most) {
      const std::string_view piece = data.substr(0, most);
      data.remove_prefix(piece.size());
      return piece;
    };
    switch (state_) {
      case state::header: {
        block_.append(take(tar_block - block_.size()));
        if (block_.size() < tar_block) return event::need_more;
        const event what = parse_header();
        block_.clear();
        if (what != event::need_more) return what;
        break;
      }
      case state::extra:
        if (left_ > 0) {
          const std::string_view piece = take(static_cast<std::size_t>(left_));
          if (piece.empty()) return event::need_more;
          extra_.append(piece);
          left_ -= piece.size();
          if (left_ > 0) return event::need_more;
        }
        if (!finish_extra()) return fail("a header that extends the next one is damaged");
        state_ = state::padding;
        break;
      case state::content: {
        if (left_ == 0) {
          state_ = state::padding;
          break;
        }
        const auto most = std::min<std::uint64_t>(left_, std::numeric_limits<std::size_t>::max());
        content_ = take(static_cast<std::size_t>(most));
        if (content_.empty()) return event::need_more;
        left_ -= content_.size();
        return event::content;
      }
      case state::padding:
        padding_ -= take(padding_).size();
        if (padding_ > 0) return event::need_more;
        state_ = state::header;
        break;
      case state::done:
        data = {};
        return event::end;
    }
  }
}

tar_reader::event tar_reader::parse_header() {
  const std::string_view block = block_;
  if (block.find_first_not_of('\0') == std::string_view::npos) {
    if (++zero_blocks_ < 2) return event::need_more;
    state_ = state::done;
    return event::end;
  }
  if (zero_blocks_ > 0) return fail("it goes on after its end");
  std::uint64_t sum = 0;
  if (!read_number(block, checksum_field, sum) || sum != checksum(block)) {
    return fail("a header's checksum does not fit");
  }
  std::uint64_t size = 0;
  std::uint64_t mode = 0;
  std::uint64_t mtime = 0;
  if (!read_number(block, size_field, size) || !read_number(block, mode_field, mode)) {
    return fail("a number in a header is damaged");
  }
  if (!read_number(block, mtime_field, mtime)) mtime = 0;
  const char type = block[type_field.at];
  if (type == 'x' || type == 'g' || type == 'L' || type == 'K') {
    if (size > longest_extra) return fail("a name or header is longer than 64 KiB");
    extra_kind_ = type;
    extra_.clear();
    left_ = size;
    padding_ = tar_padding(size);
    state_ = state::extra;
    return event::need_more;
  }
  tar_entry made;
  const bool is_ustar = block.substr(magic_field.at, 6) == std::string_view("ustar\0", 6);
  made.path = text_of(block, name_field);
  const std::string_view prefix = is_ustar ? text_of(block, prefix_field) : std::string_view();
  if (!prefix.empty()) made.path = std::string(prefix) + "/" + made.path;
  made.link = text_of(block, link_field);
  if (!long_path_.empty()) made.path = std::move(long_path_);
  if (!long_link_.empty()) made.link = std::move(long_link_);
  made.mode = static_cast<std::uint32_t>(mode & 07777U);
  made.size = has_size_ ? long_size_ : size;
  made.mtime = has_mtime_ ? long_mtime_ : static_cast<std::int64_t>(mtime);
  long_path_.clear();
  long_link_.clear();
  has_size_ = has_mtime_ = false;
  switch (type) {
    case '0':
    case '\0':
    case '7':
      made.what = made.path.ends_with('/') ? tar_entry::kind::directory : tar_entry::kind::file;
      break;
    case '1':
      made.what = tar_entry::kind::hardlink;
      break;
    case '2':
      made.what = tar_entry::kind::symlink;
      break;
    case '5':
      made.what = tar_entry::kind::directory;
      break;
    default:
      made.what = tar_entry::kind::other;
  }
  if (made.path.empty()) return fail("an entry without a name");
  const bool has_content = made.what == tar_entry::kind::file || type > '7';
  left_ = has_content ? made.size : 0;
  if (!has_content) made.size = 0;
  padding_ = tar_padding(left_);
  entry_ = std::move(made);
  state_ = state::content;
  return event::entry;
}

bool tar_reader::finish_extra() {
  if (extra_kind_ == 'g') return true;  // of all entries: nothing that is used here
  if (extra_kind_ == 'x') return read_pax(extra_);
  const std::string_view text = std::string_view(extra_).substr(0, extra_.find('\0'));
  (extra_kind_ == 'L' ? long_path_ : long_link_) = text;
  return !text.empty();
}

bool tar_reader::read_pax(std::string_view text) {
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    std::size_t length = 0;
    if (space == std::string_view::npos || !parse_decimal(text.substr(0, space), length)) {
      return false;
    }
    if (length > text.size() || length < space + 3 || text[length - 1] != '\n') return false;
    const std::string_view record = text.substr(space + 1, length - space - 2);
    text.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view name = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (value.find('\0') != std::string_view::npos && (name == "path" || name == "linkpath")) {
      return false;
    }
    if (name == "path") long_path_ = value;
    if (name == "linkpath") long_link_ = value;
    if (name == "size") {
      has_size_ = parse_decimal(value, long_size_);
      if (!has_size_) return false;
    }
    if (name == "mtime") has_mtime_ = parse_decimal(value, long_mtime_);
  }
  return true;
}

bool split_safely(std::string_view path, std::vector<std::string>& parts) {
  parts.clear();
  if (path.starts_with('/')) return false;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part == "..") return false;
    if (!part.empty() && part != ".") parts.emplace_back(part);
  }
  return true;
}

}  // namespace mizzen::kubernetes::detail
