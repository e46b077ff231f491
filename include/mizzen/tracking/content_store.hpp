// Files kept once, under the SHA-256 of what is in them.
//
//   content_store contents("/data/contents");
//   const std::string id = contents.put("model.onnx");     // "9f86d081…"
//   contents.get(id, "copy.onnx");                          // verified
//
// On disk, below the store's folder:
//   sha256/<2 digits>/<62 digits>   one object each, read-only, written whole under another name
//   first owners/<owner>                  "<id> <size> <name>" lines: who uses what; the last line
//   of a name
//                                   holds
//   temporary/                      what is being written
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mizzen::tracking {

struct content_store_options {
  // Whether get() may give a hard link where the file system cannot share blocks (reflink). Such a
  // file is the object itself: it is read-only, and to be replaced, never edited in place.
  bool hard_links = true;
};

struct content_entry {
  std::string id = {};     // 64 hexadecimal digits
  std::uint64_t size = 0;  // bytes
};

// How get() made a file.
enum class content_link { reflink, hard_link, copy };

// Thread safe; several processes may use one folder at once. Errors: not_found (no such object),
// data_loss (an object is not what its id says), invalid_argument (an id or owner that is none),
// permission_denied, resource_exhausted (disk full), unavailable (other trouble with files).
class content_store {
 public:
  // Made if it is not there.
  explicit content_store(std::filesystem::path folder, content_store_options options = {});

  const std::filesystem::path& folder() const noexcept { return folder_; }

  // Keeps a copy of the content and returns its id; one that is there is kept, and mended if its
  // size shows that it is damaged. The file must not change meanwhile.
  std::string put(const std::filesystem::path& file);
  std::string put(std::span<const std::byte> bytes);

  bool contains(std::string_view id) const;

  // The content, verified.
  std::vector<std::byte> get(std::string_view id) const;

  // Verifies the object, then makes the file target of it, which replaces one that is there.
  content_link get(std::string_view id, const std::filesystem::path& target) const;

  // Reads the object whole; throws not_found or data_loss.
  void verify(std::string_view id) const;

  // All objects, by id.
  std::vector<content_entry> list() const;

  // Notes that an owner (a run: its id; letters, digits, - _ .) uses an object under a name.
  void refer(std::string_view owner, std::string_view name, std::string_view id);
  // What it uses, by name.
  std::map<std::string, content_entry> references(std::string_view owner) const;
  // An owner that is gone. Again is fine.
  void forget(std::string_view owner);

  // Objects that no owner uses and that are older than `age` seconds, which spares those that are
  // being put.
  std::vector<content_entry> garbage(std::int64_t age = 3600) const;
  // Removes those, and remains in temporary/ of the same age; returns the bytes of the objects.
  // Files that get() made stay as they are.
  std::uint64_t remove_garbage(std::int64_t age = 3600);

 private:
  std::filesystem::path path_of(std::string_view id) const;
  std::filesystem::path owner_file(std::string_view owner) const;
  std::filesystem::path temporary_file() const;
  std::string keep(const std::filesystem::path& written, std::string id, std::uint64_t size);

  std::filesystem::path folder_;
  content_store_options options_;
};

}  // namespace mizzen::tracking
