#include "kubernetes/tar.hpp"

#include "kubernetes/untar.hpp"

#include <mizzen/core/error.hpp>

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>
#include <vector>

namespace mizzen::kubernetes::detail {
namespace {

namespace fs = std::filesystem;
using kind = tar_entry::kind;

std::string member(const tar_entry& entry, const std::string& content = {}) {
  return tar_header(entry) + content + std::string(tar_padding(content.size()), '\0');
}

tar_entry file(const std::string& path, std::size_t size) {
  tar_entry made;
  made.path = path;
  made.size = size;
  made.mtime = 1'600'000'000;
  return made;
}

tar_entry link(kind what, const std::string& path, const std::string& to) {
  tar_entry made;
  made.what = what;
  made.path = path;
  made.link = to;
  return made;
}

// "path->link:size=content" of each entry; "!" and why at the end if it failed.
std::string read(std::string_view archive, std::size_t piece, bool* ended = nullptr) {
  tar_reader reader;
  std::string seen;
  if (ended) *ended = false;
  for (std::size_t at = 0; at < archive.size(); at += piece) {
    std::string_view data = archive.substr(at, piece);
    for (bool more = true; more;) {
      switch (reader.next(data)) {
        case tar_reader::event::need_more:
          more = false;
          break;
        case tar_reader::event::entry:
          seen += ";" + reader.entry().path + "->" + reader.entry().link + ":" +
                  std::to_string(reader.entry().size) + "=";
          break;
        case tar_reader::event::content:
          seen += reader.content();
          break;
        case tar_reader::event::end:
          if (ended) *ended = true;
          more = false;
          break;
        case tar_reader::event::failed:
          return seen + "!" + reader.failure();
      }
    }
  }
  return seen;
}

TEST(Tar, WhatIsWrittenIsRead) {
  const std::string long_path = std::string(60, 'a') + "/" + std::string(200, 'b');
  const std::string archive =
      member(link(kind::directory, "top/", "")) + member(file("top/x", 5), "hello") +
      member(file(long_path, 600), std::string(600, 'z')) + member(file("top/empty", 0)) +
      member(link(kind::symlink, "top/link", std::string(150, 'l'))) + tar_end();
  const std::string expected = ";top/->:0=;top/x->:5=hello;" + long_path +
                               "->:600=" + std::string(600, 'z') + ";top/empty->:0=;top/link->" +
                               std::string(150, 'l') + ":0=";
  for (const std::size_t piece : {1UL, 7UL, 511UL, 512UL, 513UL, archive.size()}) {
    bool ended = false;
    EXPECT_EQ(read(archive, piece, &ended), expected) << piece;
    EXPECT_TRUE(ended);
  }
  bool ended = false;
  read(archive.substr(0, archive.size() - 512), 512, &ended);
  EXPECT_FALSE(ended);
}

TEST(Tar, DamageIsNoticed) {
  std::string archive = member(file("x", 5), "hello") + tar_end();
  archive[3] = 'y';
  EXPECT_THAT(read(archive, 512), testing::HasSubstr("checksum"));
  EXPECT_THAT(read(std::string(512, 'x'), 512), testing::HasSubstr("!"));
}

TEST(Tar, Paths) {
  std::vector<std::string> parts;
  EXPECT_TRUE(split_safely("./a//b/./c/", parts));
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "b", "c"}));
  for (const char* bad : {"/a", "..", "a/..", "a/../b", "../a"}) {
    EXPECT_FALSE(split_safely(bad, parts)) << bad;
  }
}

class UntarTest : public testing::Test {
 protected:
  UntarTest() {
    char name[] = "/tmp/mizzen-untar-XXXXXX";
    folder = ::mkdtemp(name);
    fs::create_directory(folder / "outside");
  }
  ~UntarTest() override { fs::remove_all(folder); }

  // Unpacks entries of the tree "top" as folder/here; the code it failed with, or unknown.
  errc unpack(const std::vector<std::pair<tar_entry, std::string>>& entries,
              std::uint64_t max_size = 1000) {
    try {
      untar writer(folder / "here", "top", max_size, "test");
      for (const auto& [entry, content] : entries) {
        writer.begin(entry);
        if (!content.empty()) writer.write(content);
      }
      result = writer.finish();
    } catch (const error& e) {
      return e.code();
    }
    return errc::unknown;
  }
  std::string text(const fs::path& of) const {
    std::ifstream in(folder / of);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder;
  copy_result result;
};

TEST_F(UntarTest, FilesFoldersAndLinks) {
  tar_entry secret = file("./top/sub/secret", 2);
  secret.mode = 04640;
  EXPECT_EQ(unpack({{link(kind::directory, "top/", ""), ""},
                    {secret, "hi"},
                    {link(kind::symlink, "top/link", "../outside"), ""},
                    {link(kind::hardlink, "top/same", "top/sub/secret"), ""},
                    {link(kind::other, "top/device", ""), ""}}),
            errc::unknown);
  EXPECT_EQ(text("here/sub/secret"), "hi");
  EXPECT_EQ(text("here/same"), "hi");
  EXPECT_EQ(fs::status(folder / "here/sub/secret").permissions(), fs::perms(0640));
  EXPECT_EQ(fs::read_symlink(folder / "here/link"), "../outside");
  EXPECT_EQ(result.files, 2U);
  EXPECT_EQ(result.skipped, (std::vector<std::string>{"top/device"}));
}

TEST_F(UntarTest, NothingLeadsOut) {
  EXPECT_EQ(unpack({{file("top/../../x", 1), "x"}}), errc::data_loss);
  EXPECT_EQ(unpack({{file("/etc/x", 1), "x"}}), errc::data_loss);
  EXPECT_EQ(unpack({{file("other/x", 1), "x"}}), errc::data_loss);
  // Through a link that the archive brought itself.
  EXPECT_EQ(unpack({{link(kind::symlink, "top/out", (folder / "outside").string()), ""},
                    {file("top/out/x", 1), "x"}}),
            errc::data_loss);
  EXPECT_EQ(unpack({{link(kind::symlink, "top/file", (folder / "outside/y").string()), ""},
                    {file("top/file", 1), "x"}}),
            errc::unknown);  // replaces the link
  EXPECT_EQ(unpack({{link(kind::hardlink, "top/hard", "../outside/z"), ""}}), errc::data_loss);
  EXPECT_TRUE(fs::is_empty(folder / "outside"));
}

TEST_F(UntarTest, SizesAreBounded) {
  EXPECT_EQ(unpack({{file("top/a", 600), std::string(600, 'x')}, {file("top/b", 600), ""}}),
            errc::resource_exhausted);
}

}  // namespace
}  // namespace mizzen::kubernetes::detail
