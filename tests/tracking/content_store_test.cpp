#include "temporary_folder.hpp"

#include <mizzen/tracking/content_store.hpp>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace mizzen::tracking {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// SHA-256 of "abc" (FIPS 180-4, example B.1).
const std::string abc_id = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::vector<std::string> ids(const std::vector<content_entry>& entries) {
  std::vector<std::string> out;
  for (const auto& entry : entries) out.push_back(entry.id);
  return out;
}

class contents : public testing::Test {
 protected:
  fs::path object(const std::string& id) const {
    return store_.folder() / "sha256" / id.substr(0, 2) / id.substr(2);
  }
  void damage(const std::string& id, const std::string& with) {
    fs::permissions(object(id), fs::perms::owner_write, fs::perm_options::add);
    write_file(object(id), with);
  }

  const temporary_folder folder_;
  content_store store_{folder_.path() / "contents"};
};

TEST_F(contents, are_kept_once) {
  EXPECT_EQ(store_.put(bytes("abc")), abc_id);
  write_file(folder_.file("a.txt"), "abc");
  EXPECT_EQ(store_.put(folder_.path() / "a.txt"), abc_id);
  EXPECT_TRUE(store_.contains(abc_id));
  EXPECT_THAT(store_.list(), SizeIs(1));
  EXPECT_EQ(store_.list()[0].size, 3U);
  const auto back = store_.get(abc_id);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(back.data()), back.size()), "abc");
  EXPECT_TRUE(fs::is_empty(store_.folder() / "temporary"));
  EXPECT_EQ(store_.put(bytes("")).substr(0, 8), "e3b0c442");
  // The file that was put may change: the object does not.
  write_file(folder_.file("a.txt"), "xyz");
  store_.verify(abc_id);
}

TEST_F(contents, become_files) {
  store_.put(bytes("abc"));
  const fs::path target = folder_.path() / "new/folder/a.txt";
  store_.get(abc_id, target);
  EXPECT_EQ(read_file(target), "abc");
  EXPECT_NE(store_.get(abc_id, target), content_link::copy);  // again, over itself
  EXPECT_EQ(read_file(target), "abc");
  EXPECT_EQ(std::distance(fs::directory_iterator(target.parent_path()), {}), 1);
  const content_store copying(store_.folder(), {.hard_links = false});
  EXPECT_NE(copying.get(abc_id, target), content_link::hard_link);
  struct stat file{};
  ASSERT_EQ(::stat(target.c_str(), &file), 0);
  EXPECT_EQ(file.st_nlink, 1U);
  // A copy may be edited.
  write_file(target, "edited");
  store_.verify(abc_id);
}

TEST_F(contents, are_verified_when_they_are_read) {
  store_.put(bytes("abc"));
  damage(abc_id, "abd");
  EXPECT_ERROR(errc::data_loss, "content", store_.get(abc_id));
  EXPECT_ERROR(errc::data_loss, "content", store_.get(abc_id, folder_.path() / "x"));
  EXPECT_FALSE(fs::exists(folder_.path() / "x"));
  EXPECT_ERROR(errc::data_loss, "content", store_.verify(abc_id));
  // Cut short, as after a power cut: put again, it is whole again.
  damage(abc_id, "");
  store_.put(bytes("abc"));
  store_.verify(abc_id);
}

TEST_F(contents, checks_what_it_is_given) {
  const std::string absent(64, '0');
  EXPECT_ERROR(errc::not_found, absent.substr(2), store_.get(absent));
  EXPECT_ERROR(errc::not_found, absent.substr(2), store_.get(absent, folder_.path() / "x"));
  EXPECT_ERROR(errc::not_found, absent.substr(2), store_.refer("a", "x", absent));
  EXPECT_ERROR(errc::not_found, "nowhere", store_.put(folder_.path() / "nowhere"));
  EXPECT_ERROR(errc::invalid_argument, "contents", store_.put(store_.folder()));
  for (const std::string& id : {std::string(), std::string(63, 'a'), std::string(64, 'A'),
                                "../../" + std::string(58, 'a')}) {
    EXPECT_ERROR(errc::invalid_argument, "content id", store_.contains(id));
  }
  store_.put(bytes("abc"));
  for (const std::string owner : {"", "..", ".x", "a/b", "a b"}) {
    EXPECT_ERROR(errc::invalid_argument, "content owner", store_.refer(owner, "x", abc_id));
  }
  EXPECT_ERROR(errc::invalid_argument, "content name", store_.refer("a", "x\ny", abc_id));
  EXPECT_ERROR(errc::invalid_argument, "folder", content_store(""));
}

TEST_F(contents, nobody_uses_are_garbage) {
  const std::string b = store_.put(bytes("b"));
  store_.put(bytes("abc"));
  store_.refer("run-1", "a b.txt", abc_id);
  store_.refer("run-1", "b.txt", b);
  store_.refer("run-2", "b.txt", b);
  EXPECT_EQ(store_.references("run-1").at("a b.txt").id, abc_id);
  EXPECT_EQ(store_.references("run-1").at("a b.txt").size, 3U);
  EXPECT_THAT(store_.garbage(0), IsEmpty());
  // The name now has another content.
  store_.refer("run-1", "a b.txt", b);
  EXPECT_THAT(ids(store_.garbage(0)), ElementsAre(abc_id));
  EXPECT_THAT(store_.garbage(), IsEmpty());  // too young
  write_file(store_.folder() / "temporary" / "left", "x");
  EXPECT_EQ(store_.remove_garbage(0), 3U);
  EXPECT_TRUE(fs::is_empty(store_.folder() / "temporary"));
  EXPECT_FALSE(store_.contains(abc_id));
  store_.forget("run-1");
  EXPECT_THAT(store_.garbage(0), IsEmpty());
  store_.forget("run-2");
  store_.forget("run-2");
  EXPECT_THAT(ids(store_.garbage(0)), ElementsAre(b));
}

TEST_F(contents, damaged_lines_of_owners_are_passed_over) {
  store_.put(bytes("abc"));
  write_file(store_.folder() / "owners" / "run", "\nx\n" + abc_id + "\n" + abc_id + " 3\n" +
                                                     abc_id + " three n\n" + abc_id + " 3 good\n" +
                                                     abc_id + " 3 cut");
  const auto references = store_.references("run");
  EXPECT_THAT(references, SizeIs(1));
  EXPECT_TRUE(references.contains("good"));
}

TEST_F(contents, of_runs_are_plain_artifacts) {
  client c({.uri = folder_.file("mlflow.db")});
  auto run = c.start_run("a", {.content_store = store_.folder().string()});
  auto other = c.start_run("a", {.content_store = store_.folder().string()});
  run.log_text("abc", "notes/a.txt");
  run.log_text("abc", "b.txt");
  write_file(folder_.file("local.txt"), "abc");
  other.log_artifact(folder_.path() / "local.txt", "deep");
  EXPECT_THAT(ids(store_.list()), ElementsAre(abc_id));
  EXPECT_EQ(read_file(run.artifact_directory() / "notes/a.txt"), "abc");
  EXPECT_EQ(other.read_artifact("deep/local.txt"), "abc");
  EXPECT_EQ(store_.references(run.id()).at("notes/a.txt").id, abc_id);
  // Replacing an artifact leaves the others, and the object, as they are.
  run.log_text("new", "b.txt");
  EXPECT_EQ(run.read_artifact("b.txt"), "new");
  EXPECT_EQ(run.read_artifact("notes/a.txt"), "abc");
  store_.verify(abc_id);
  run.log_table({{"a", {1}}}, "t.json");
  run.log_table({{"a", {2}}}, "t.json");
  EXPECT_THAT(run.list_artifacts(), SizeIs(3));
}

TEST_F(contents, are_put_by_many_threads_at_once) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      content_store own(store_.folder());
      for (int i = 0; i < 50; ++i) {
        const std::string text = "content " + std::to_string(i);
        own.refer("run-" + std::to_string(t), std::to_string(i), own.put(bytes(text)));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(store_.list(), SizeIs(50));
  for (const content_entry& entry : store_.list()) store_.verify(entry.id);
  EXPECT_THAT(store_.references("run-3"), SizeIs(50));
}

}  // namespace
}  // namespace mizzen::tracking
