#include "core/sha256.hpp"
#include "tracking/files.hpp"
#include "tracking/proc.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/id.hpp>
#include <mizzen/tracking/content_store.hpp>

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <functional>
#include <set>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mizzen::tracking {
namespace {

namespace fs = std::filesystem;
using detail::descriptor;
using detail::fail_on;
using detail::open_file;

constexpr std::size_t piece = std::size_t{256} * 1024;

// Hands the bytes of a file to `take`, piece by piece.
void read_pieces(const descriptor& from, const fs::path& path,
                 const std::function<void(std::span<const std::byte>)>& take) {
  std::vector<std::byte> buffer(piece);
  for (;;) {
    const auto got = ::read(from.get(), buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      fail_on(path, errno);
    }
    if (got == 0) return;
    take(std::span(buffer).first(static_cast<std::size_t>(got)));
  }
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void check_id(std::string_view id) {
  if (id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos) return;
  throw error(errc::invalid_argument, "content id '" + std::string(id.substr(0, 80)) + "'",
              "it is not 64 hexadecimal digits");
}

bool shares_blocks(const descriptor& to, const descriptor& from) {
  return ::ioctl(to.get(), FICLONE, from.get()) == 0;
}

// The id of an object by its place, or nothing for another file.
std::optional<std::string> id_at(const fs::path& file) {
  const std::string id = file.parent_path().filename().string() + file.filename().string();
  const bool whole =
      id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
  return whole ? std::optional(id) : std::nullopt;
}

std::int64_t age_of(const struct stat& file) {
  // The later of the two: a link that is made or taken away counts as use.
  return static_cast<std::int64_t>(std::time(nullptr)) -
         static_cast<std::int64_t>(std::max(file.st_mtime, file.st_ctime));
}

}  // namespace

content_store::content_store(fs::path folder, content_store_options options) : options_(options) {
  if (folder.empty()) throw error(errc::invalid_argument, "content_store.folder", "it is empty");
  folder_ = fs::absolute(folder).lexically_normal();
  for (const char* part : {"sha256", "owners", "temporary"}) detail::make_folders(folder_ / part);
}

fs::path content_store::path_of(std::string_view id) const {
  check_id(id);
  return folder_ / "sha256" / id.substr(0, 2) / id.substr(2);
}

fs::path content_store::owner_file(std::string_view owner) const {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  const bool good = !owner.empty() && owner.size() <= 200 && owner.front() != '.' &&
                    owner.find_first_not_of(allowed) == std::string_view::npos;
  if (!good) {
    throw error(errc::invalid_argument, "content owner '" + std::string(owner.substr(0, 80)) + "'",
                "letters, digits, - _ and . are allowed, at most 200, none of them . at the start");
  }
  return folder_ / "owners" / owner;
}

fs::path content_store::temporary_file() const { return folder_ / "temporary" / random_hex_id(); }

// Gives a whole file that was written aside its place, or drops it if the object is there.
std::string content_store::keep(const fs::path& written, std::string id, std::uint64_t size) {
  const fs::path place = path_of(id);
  struct stat there{};
  if (::stat(place.c_str(), &there) == 0 && static_cast<std::uint64_t>(there.st_size) == size) {
    ::unlink(written.c_str());
    // Young again, so that it is not taken for garbage before it is referred to.
    ::utimensat(AT_FDCWD, place.c_str(), nullptr, 0);
    return id;
  }
  detail::make_folders(place.parent_path());
  if (::chmod(written.c_str(), 0444) != 0 || ::rename(written.c_str(), place.c_str()) != 0) {
    const int code = errno;
    ::unlink(written.c_str());
    fail_on(place, code);
  }
  return id;
}

std::string content_store::put(const fs::path& file) {
  const descriptor from = open_file(file, O_RDONLY);
  struct stat kind{};
  if (::fstat(from.get(), &kind) != 0) fail_on(file, errno);
  if (!S_ISREG(kind.st_mode)) {
    throw error(errc::invalid_argument, "content '" + file.string() + "'", "it is not a file");
  }
  const fs::path aside = temporary_file();
  try {
    descriptor to = open_file(aside, O_RDWR | O_CREAT | O_EXCL, 0644);
    const bool shared = shares_blocks(to, from);
    mizzen::detail::sha256 digest;
    std::uint64_t size = 0;
    // Of shared blocks the copy is read: it no longer changes.
    read_pieces(shared ? to : from, file, [&](std::span<const std::byte> bytes) {
      digest.update(as_text(bytes));
      size += bytes.size();
      if (!shared) detail::write_all(to, bytes, aside);
    });
    detail::close_file(to, aside);
    return keep(aside, digest.hex(), size);
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
}

std::string content_store::put(std::span<const std::byte> bytes) {
  const std::string id = mizzen::detail::sha256_hex(as_text(bytes));
  const fs::path aside = temporary_file();
  try {
    descriptor to = open_file(aside, O_WRONLY | O_CREAT | O_EXCL, 0644);
    detail::write_all(to, bytes, aside);
    detail::close_file(to, aside);
    return keep(aside, id, bytes.size());
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
}

bool content_store::contains(std::string_view id) const {
  std::error_code failed;
  return fs::is_regular_file(path_of(id), failed);
}

std::vector<std::byte> content_store::get(std::string_view id) const {
  const fs::path place = path_of(id);
  const descriptor from = open_file(place, O_RDONLY);
  std::vector<std::byte> out;
  read_pieces(from, place, [&](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  });
  if (mizzen::detail::sha256_hex(as_text(out)) != id) {
    throw error(errc::data_loss, "content '" + place.string() + "'",
                "it is not what its name says; restore it, or put it again after removing it");
  }
  return out;
}

void content_store::verify(std::string_view id) const {
  const fs::path place = path_of(id);
  const descriptor from = open_file(place, O_RDONLY);
  mizzen::detail::sha256 digest;
  read_pieces(from, place,
              [&](std::span<const std::byte> bytes) { digest.update(as_text(bytes)); });
  if (digest.hex() != id) {
    throw error(errc::data_loss, "content '" + place.string() + "'",
                "it is not what its name says; restore it, or put it again after removing it");
  }
}

content_link content_store::get(std::string_view id, const fs::path& target) const {
  verify(id);
  const fs::path place = path_of(id);
  detail::make_folders(target.parent_path().empty() ? fs::path(".") : target.parent_path());
  content_link made = content_link::copy;
  const fs::path aside =
      target.parent_path() / (".mizzen-" + random_hex_id() + ".tmp");  // as other artifacts'
  try {
    const descriptor from = open_file(place, O_RDONLY);
    {
      descriptor to = open_file(aside, O_RDWR | O_CREAT | O_EXCL, 0644);
      if (shares_blocks(to, from)) made = content_link::reflink;
    }
    if (made == content_link::copy && options_.hard_links) {
      ::unlink(aside.c_str());
      if (::link(place.c_str(), aside.c_str()) == 0) made = content_link::hard_link;
    }
    if (made == content_link::copy) {
      descriptor to = open_file(aside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      read_pieces(from, place,
                  [&](std::span<const std::byte> bytes) { detail::write_all(to, bytes, aside); });
      detail::close_file(to, target);
    }
    if (::rename(aside.c_str(), target.c_str()) != 0) fail_on(target, errno);
    // If both are one file already, rename() does nothing.
    if (made == content_link::hard_link) ::unlink(aside.c_str());
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
  return made;
}

std::vector<content_entry> content_store::list() const {
  std::vector<content_entry> out;
  std::error_code failed;
  for (fs::recursive_directory_iterator at(folder_ / "sha256", failed), end; !failed && at != end;
       at.increment(failed)) {
    const auto id = id_at(at->path());
    std::error_code gone;
    if (!id || !at->is_regular_file(gone)) continue;
    const auto size = at->file_size(gone);
    if (!gone) out.push_back({*id, size});
  }
  if (failed) fail_on(folder_, failed.value());
  std::sort(out.begin(), out.end(),
            [](const content_entry& a, const content_entry& b) { return a.id < b.id; });
  return out;
}

void content_store::refer(std::string_view owner, std::string_view name, std::string_view id) {
  const fs::path place = path_of(id);
  if (name.empty() || name.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos) {
    throw error(errc::invalid_argument, "content name", "it is empty or has a line break");
  }
  struct stat there{};
  if (::stat(place.c_str(), &there) != 0) fail_on(place, errno);
  const fs::path file = owner_file(owner);
  const descriptor to = open_file(file, O_WRONLY | O_CREAT | O_APPEND, 0644);
  // One write, so that lines of several processes do not mix.
  const std::string line =
      std::string(id) + " " + std::to_string(there.st_size) + " " + std::string(name) + "\n";
  detail::write_all(to, std::as_bytes(std::span(line)), file);
}

std::map<std::string, content_entry> content_store::references(std::string_view owner) const {
  constexpr std::size_t most = std::size_t{1} << 30;
  std::map<std::string, content_entry> out;
  const auto text = detail::read_text(owner_file(owner), most);
  if (!text) return out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    // A line that was cut short, by a full disk, has no end.
    if (rest.find('\n') == std::string_view::npos) break;
    const std::string_view line = detail::take_line(rest);
    const auto first = line.find(' ');
    const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (first != 64 || second == std::string_view::npos) continue;
    const auto size = detail::parse_number(line.substr(first + 1, second - first - 1));
    if (!size) continue;
    out[std::string(line.substr(second + 1))] = {std::string(line.substr(0, first)), *size};
  }
  return out;
}

void content_store::forget(std::string_view owner) { ::unlink(owner_file(owner).c_str()); }

std::vector<content_entry> content_store::garbage(std::int64_t age) const {
  std::vector<content_entry> objects = list();
  std::set<std::string> used;
  std::error_code failed;
  for (fs::directory_iterator at(folder_ / "owners", failed), end; !failed && at != end;
       at.increment(failed)) {
    for (const auto& [name, entry] : references(at->path().filename().string())) {
      used.insert(entry.id);
    }
  }
  if (failed) fail_on(folder_, failed.value());
  std::erase_if(objects, [&](const content_entry& entry) {
    struct stat file{};
    return used.contains(entry.id) || ::stat(path_of(entry.id).c_str(), &file) != 0 ||
           age_of(file) < age;
  });
  return objects;
}

std::uint64_t content_store::remove_garbage(std::int64_t age) {
  std::uint64_t bytes = 0;
  for (const content_entry& entry : garbage(age)) {
    if (::unlink(path_of(entry.id).c_str()) == 0) bytes += entry.size;
  }
  std::error_code failed;
  for (fs::directory_iterator at(folder_ / "temporary", failed), end; !failed && at != end;
       at.increment(failed)) {
    struct stat file{};
    if (::stat(at->path().c_str(), &file) == 0 && age_of(file) >= age) ::unlink(at->path().c_str());
  }
  return bytes;
}

}  // namespace mizzen::tracking
