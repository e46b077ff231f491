// Event files hold each point once, whatever is handed over again; that TensorBoard reads them is
// shown by tensorboard_test.py.
#include "temporary_folder.hpp"
#include "tracking/event_file.hpp"
#include "tracking/sink.hpp"

#include <mizzen/core/json.hpp>

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

class event_files : public testing::Test {
 protected:
  // As a new process does: with nothing in memory.
  void write(std::uint64_t begin, std::uint64_t end) {
    std::vector<log_entry> entries;
    for (std::uint64_t at = begin; at < end; ++at) {
      entries.push_back({.run = "run",
                         .key = "loss",
                         .value = 0.5,
                         .step = static_cast<std::int64_t>(at),
                         .timestamp = 1000,
                         .at = at});
    }
    make_tensorboard_sink()->write(entries, {"log", about_, begin, end});
  }
  std::filesystem::path file() const {
    return folder_.path() / "run" / "events.out.tfevents.mizzen.log";
  }
  // The number of scalars; fails where a frame is not whole.
  int scalars() const {
    const std::string bytes = read_file(file());
    int found = 0;
    std::string_view left = bytes;
    while (!left.empty()) {
      const auto length = read_event_length(left);
      if (!length || left.size() < event_frame_head + *length + event_frame_tail) return -1;
      const auto message = left.substr(event_frame_head, *length);
      if (!check_event(message, left.substr(event_frame_head + *length))) return -1;
      found += message.find("loss") != std::string_view::npos ? 1 : 0;
      left.remove_prefix(event_frame_head + *length + event_frame_tail);
    }
    return found;
  }

  temporary_folder folder_;
  std::string about_ = json{{"tensorboard", folder_.path().string()}}.dump();
};

TEST_F(event_files, frames_are_as_tensorflow_writes_them) {
  std::string bytes;
  append_version_event(bytes, 0);
  // 24 bytes, its checksum masked; then wall_time and file_version.
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x18\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.substr(8, 4), std::string("\xa3\x7f\x4b\x22", 4));
  EXPECT_EQ(bytes.substr(12, 11), std::string("\x09\0\0\0\0\0\0\0\0\x1a\x0d", 11));
  EXPECT_EQ(bytes.substr(23, 13), "brain.Event:2");
}

TEST_F(event_files, a_part_that_comes_again_is_left_out) {
  write(10, 20);
  write(10, 20);
  write(15, 30);  // from an older position, and further
  EXPECT_EQ(scalars(), 20);
}

TEST_F(event_files, what_is_after_the_last_mark_is_cut_off) {
  write(0, 10);
  const std::string whole = read_file(file());
  write(10, 20);
  const std::string more = read_file(file());
  for (std::size_t size = whole.size(); size < more.size(); size += 7) {
    write_file(file(), more.substr(0, size));  // killed while it wrote
    write(10, 20);
    ASSERT_EQ(scalars(), 20) << size;
  }
  write_file(file(), whole.substr(0, 100) + "damaged" + whole.substr(107));
  write(20, 25);
  EXPECT_EQ(scalars(), 5);  // what cannot be read cannot be kept apart from what can
}

TEST_F(event_files, a_mark_is_of_one_log) {
  std::string bytes;
  append_mark_event(bytes, 0, "log", 77);
  const auto length = read_event_length(bytes);
  ASSERT_TRUE(length);
  const auto message = std::string_view(bytes).substr(event_frame_head, *length);
  EXPECT_EQ(read_mark_event(message, "log"), 77U);
  EXPECT_FALSE(read_mark_event(message, "lo"));
  EXPECT_FALSE(read_mark_event(message, "other"));
  EXPECT_FALSE(read_mark_event(message.substr(0, message.size() - 4), "log"));
  bytes.clear();
  append_scalar_event(bytes, 0, 1, "mizzen log 77", 1);
  EXPECT_FALSE(read_mark_event(std::string_view(bytes).substr(event_frame_head), "log"));
}

TEST_F(event_files, a_run_stays_in_the_folder) {
  const std::vector<log_entry> entries = {{.run = "../up", .key = "loss"}};
  EXPECT_ERROR(errc::invalid_argument, "run",
               make_tensorboard_sink()->write(entries, {"log", about_, 0, 1}));
  EXPECT_EQ(tensorboard_folder("{}"), "");
  EXPECT_EQ(tensorboard_folder("broken"), "");
}

}  // namespace
}  // namespace mizzen::tracking::detail
