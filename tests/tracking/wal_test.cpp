// The write-ahead log: its format, appending from many threads, and what happens when there is no
// room for more.
#include "tracking/wal.hpp"

#include "in_child.hpp"
#include "temporary_folder.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <csignal>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>

namespace mizzen::tracking::detail {
namespace {

using namespace std::chrono_literals;
using test::in_child;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(crc32c, is_castagnolis) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283U);
  EXPECT_EQ(crc32c(bytes_of("56789"), crc32c(bytes_of("1234"))), 0xe3069283U);
  EXPECT_EQ(crc32c({}), 0U);
  std::string text;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(crc32c(bytes_of(text)), crc32c_portable(bytes_of(text))) << i;
    text += static_cast<char>(i * 37);
  }
}

// A segment in memory, as a process leaves it.
class segment_image {
 public:
  std::uint32_t point(std::uint32_t series, double value) {
    const std::uint32_t cell = next_++;
    put(cell, encode_wal_point(at(cell), seed_, cell, series, value, 7, 1000));
    return cell;
  }
  std::uint32_t text(wal_kind kind, std::uint32_t series, const wal_text& what) {
    const std::string payload = encode_wal_text(kind, what);
    const std::uint32_t cell = next_;
    next_ += wal_cells_of(payload.size());
    put(cell, encode_wal_payload(at(cell), seed_, cell, kind, series, payload));
    return cell;
  }
  void put(std::uint32_t cell, std::uint64_t word) { std::memcpy(at(cell), &word, sizeof word); }
  std::byte* at(std::uint32_t cell) { return bytes_.data() + cell * wal_cell_size; }
  void skip(std::uint32_t cells) { next_ += cells; }

  wal_reader reader(wal_reader::mode mode) const { return {bytes_, nonce, mode}; }
  std::vector<double> values(wal_reader& from) const {
    std::vector<double> found;
    while (const auto record = from.next()) {
      if (record->kind == wal_kind::point) found.push_back(record->value);
    }
    return found;
  }

  static constexpr std::uint64_t nonce = 0x0123456789abcdef;

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(64 * wal_cell_size);
  std::uint32_t seed_ = wal_seed(nonce);
  std::uint32_t next_ = 0;
};

using testing::ElementsAre;

TEST(wal_format, headers_are_read_back) {
  std::vector<std::byte> file(wal_header_size);
  const std::span<std::byte, wal_header_size> into(file.data(), wal_header_size);
  encode_wal_header({.nonce = 5, .sequence = 6, .cells = 8192, .created = 7, .about = "{}"}, into);
  const wal_header header = decode_wal_header(file);
  EXPECT_EQ(header.nonce, 5U);
  EXPECT_EQ(header.sequence, 6U);
  EXPECT_EQ(header.cells, 8192U);
  EXPECT_EQ(header.about, "{}");
  for (const std::size_t at : {0, 16, 33, 50, 256}) {
    auto damaged = file;
    damaged[at] ^= std::byte{4};
    EXPECT_ERROR(errc::data_loss, "", decode_wal_header(damaged));
  }
  EXPECT_ERROR(errc::data_loss, "", decode_wal_header(std::span(file).first(100)));
  file[8] = std::byte{2};
  EXPECT_ERROR(errc::unimplemented, "", decode_wal_header(file));
  EXPECT_ERROR(errc::invalid_argument, "write-ahead log",
               encode_wal_header({.about = std::string(5000, 'x')}, into));
}

TEST(wal_format, positions_are_checked) {
  EXPECT_EQ(decode_wal_position(1, 0, 0), 0U);
  const std::uint64_t word = encode_wal_position(1, 0, 77);
  EXPECT_EQ(decode_wal_position(1, 0, word), 77U);
  EXPECT_FALSE(decode_wal_position(1, 1, word));
  EXPECT_FALSE(decode_wal_position(1, 0, word ^ 1));
}

TEST(wal_format, reads_what_was_written) {
  segment_image image;
  image.text(wal_kind::series, 0, {.run = "r", .key = "loss"});
  image.point(0, 0.5);
  const std::string value(500, 'v');
  image.text(wal_kind::tag, 0, {.run = "r", .key = "k", .value = value});
  image.text(wal_kind::status, 0, {.run = "r", .value = "FINISHED", .timestamp = 9});
  image.point(0, 0.25);
  for (const auto mode : {wal_reader::mode::live, wal_reader::mode::recovery}) {
    auto reader = image.reader(mode);
    auto record = reader.next();
    EXPECT_EQ(decode_wal_text(record->kind, record->payload)->key, "loss");
    record = reader.next();
    EXPECT_EQ(record->value, 0.5);
    EXPECT_EQ(record->step, 7);
    EXPECT_EQ(record->timestamp, 1000);
    record = reader.next();
    EXPECT_EQ(decode_wal_text(record->kind, record->payload)->value, value);
    record = reader.next();
    EXPECT_EQ(decode_wal_text(record->kind, record->payload)->value, "FINISHED");
    EXPECT_EQ(decode_wal_text(record->kind, record->payload)->timestamp, 9);
    EXPECT_EQ(reader.next()->value, 0.25);
    EXPECT_FALSE(reader.next());
    EXPECT_EQ(reader.at_end(), mode == wal_reader::mode::recovery);
    EXPECT_EQ(reader.unfinished() + reader.damaged(), 0U);
  }
}

TEST(wal_format, what_was_not_finished_is_passed_over) {
  segment_image image;
  image.point(0, 1);
  const auto cell = image.text(wal_kind::tag, 0, {.run = "r", .key = std::string(200, 'k')});
  image.point(0, 2);
  image.put(cell, 0);  // killed before its last word
  image.skip(3);       // reserved, and killed before the first
  image.point(0, 3);
  auto live = image.reader(wal_reader::mode::live);
  EXPECT_THAT(image.values(live), ElementsAre(1));
  EXPECT_EQ(live.position(), cell);
  auto reader = image.reader(wal_reader::mode::recovery);
  EXPECT_THAT(image.values(reader), ElementsAre(1, 2, 3));
  EXPECT_EQ(reader.damaged(), 0U);
  EXPECT_GT(reader.unfinished(), 0U);
}

TEST(wal_format, what_is_damaged_is_passed_over_and_counted) {
  segment_image image;
  image.point(0, 1);
  const auto second = image.point(0, 2);
  image.point(0, 3);
  const auto tag = image.text(wal_kind::tag, 0, {.run = "r", .key = "key"});
  image.point(0, 4);
  image.at(second)[9] ^= std::byte{1};
  image.at(tag)[8] = std::byte{255};  // a length beyond the segment
  image.at(tag)[11] = std::byte{255};
  auto reader = image.reader(wal_reader::mode::recovery);
  EXPECT_THAT(image.values(reader), ElementsAre(1, 3, 4));
  EXPECT_EQ(reader.damaged(), 2U);
}

// Text that somebody logs cannot pass for a record, even when what holds it is never finished.
TEST(wal_format, text_is_no_record) {
  segment_image other;
  other.point(0, 666);
  std::string forged(20, 'x');  // up to the next cell
  forged.append(reinterpret_cast<const char*>(other.at(0)), wal_cell_size);
  segment_image image;
  const auto cell = image.text(wal_kind::tag, 0, {.run = "", .key = "", .value = forged.substr(4)});
  image.point(0, 1);
  image.put(cell, 0);
  auto reader = image.reader(wal_reader::mode::recovery);
  EXPECT_THAT(image.values(reader), ElementsAre(1));
}

class write_ahead_log : public testing::Test {
 protected:
  wal::options options(std::size_t segments = 4) const {
    const std::size_t size = std::size_t{wal_least_cells} * wal_cell_size;
    return {.directory = folder_.path() / "wal",
            .segment_size = size,
            .total_size = segments * (size + wal_header_size),
            .about = "{}"};
  }
  temporary_folder folder_;
};

// Takes out all points, by run and key, and removes the segments that were read.
std::set<std::tuple<std::string, std::string, std::int64_t>> take_all(wal& log) {
  std::set<std::tuple<std::string, std::string, std::int64_t>> found;
  for (std::uint64_t index = log.first_segment();; ++index) {
    wal_segment* segment = log.segment(index);
    if (segment == nullptr) return found;
    std::vector<wal_text> declared(segment->header().cells);
    wal_reader reader(segment->cells(), segment->header().nonce, wal_reader::mode::live);
    while (const auto record = reader.next()) {
      if (record->kind == wal_kind::series) {
        declared[record->series] = *decode_wal_text(record->kind, record->payload);
      } else if (record->kind == wal_kind::point) {
        const wal_text& of = declared[record->series];
        found.emplace(of.run, of.key, record->step);
      }
    }
    EXPECT_EQ(reader.damaged(), 0U);
    // A cell that a thread still writes ends it, though others may have filled the segment after
    // it.
    if (!reader.at_end()) return found;
    log.retire();
  }
}

TEST_F(write_ahead_log, threads_append_and_one_takes_out) {
  wal log(options());
  constexpr int threads = 4;
  constexpr std::int64_t points = 30'000;  // over many segments, of which there are four at a time
  std::vector<std::unique_ptr<series_table>> runs;
  for (int i = 0; i < 2; ++i)
    runs.push_back(std::make_unique<series_table>("run" + std::to_string(i)));
  std::atomic<int> left = threads;
  std::atomic<std::int64_t> refused = 0;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (std::int64_t i = 0; i < points; ++i) {
        const std::string key = "key" + std::to_string((i + t) % 100);
        series& of = runs[static_cast<std::size_t>(t % 2)]->get(key, [](auto) {});
        while (!log.append(of, 0.5, i * threads + t, 1)) {
          ++refused;
          std::this_thread::yield();
        }
        if (i % 1000 == 0) log.append(wal_kind::tag, {.run = "r", .key = std::string(300, 'k')});
      }
      --left;
    });
  }
  std::set<std::tuple<std::string, std::string, std::int64_t>> found;
  do {
    const bool last = left == 0;
    log.prepare();
    found.merge(take_all(log));
    if (last) break;
    std::this_thread::sleep_for(1ms);
  } while (true);
  for (auto& thread : all) thread.join();
  found.merge(take_all(log));
  std::set<std::int64_t> steps;
  for (const auto& [run, key, step] : found) {
    EXPECT_EQ(run, "run" + std::to_string(step % threads % 2));
    EXPECT_EQ(key, "key" + std::to_string((step / threads + step % threads) % 100));
    steps.insert(step);
  }
  EXPECT_EQ(steps.size(), threads * points);
}

TEST_F(write_ahead_log, refuses_when_it_is_full_and_goes_on_when_there_is_room) {
  wal log(options(2));
  series_table table("run");
  series& of = table.get("loss", [](auto) {});
  std::uint64_t taken = 0;
  while (log.append(of, 1, static_cast<std::int64_t>(taken), 1)) ++taken;
  EXPECT_GT(taken, wal_least_cells);
  EXPECT_EQ(log.acknowledged(), taken);
  EXPECT_EQ(log.refused(), 1U);
  EXPECT_THAT(log.last_error(), testing::HasSubstr("full"));
  EXPECT_FALSE(log.append(of, 1, 0, 1));
  EXPECT_EQ(take_all(log).size(), taken);
  EXPECT_TRUE(log.prepare());
  EXPECT_TRUE(log.append(of, 1, 0, 1));
  EXPECT_EQ(log.acknowledged(), taken + 1);
}

TEST_F(write_ahead_log, waits_for_room_when_asked_to) {
  auto patient = options(2);
  patient.patience = 60s;
  wal log(patient);
  series_table table("run");
  series& of = table.get("loss", [](auto) {});
  std::atomic<bool> done = false;
  std::thread drain([&] {
    while (!done) {
      take_all(log);
      log.prepare();
      std::this_thread::yield();
    }
  });
  for (std::int64_t i = 0; i < 50'000; ++i) ASSERT_TRUE(log.append(of, 1, i, 1));
  done = true;
  drain.join();
  EXPECT_EQ(log.refused(), 0U);
}

TEST_F(write_ahead_log, is_on_the_disk_when_asked_to) {
  auto durable = options();
  durable.power = true;
  wal log(durable);
  series_table table("run");
  std::vector<std::thread> all;
  for (int t = 0; t < 3; ++t) {
    all.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 20; ++i) {
        EXPECT_TRUE(log.append(table.get("loss", [](auto) {}), 1, t * 100 + i, 1));
      }
    });
  }
  for (auto& thread : all) thread.join();
  EXPECT_EQ(take_all(log).size(), 60U);
}

TEST_F(write_ahead_log, is_found_by_others_only_when_its_owner_is_gone) {
  const auto directory = folder_.path() / "wal";
  std::filesystem::path path;
  {
    wal log(options());
    path = log.path();
    ASSERT_THAT(wal_folder::list(directory), ElementsAre(path));
    EXPECT_FALSE(wal_folder::take(path));
  }
  auto taken = wal_folder::take(path);
  ASSERT_TRUE(taken);
  EXPECT_FALSE(wal_folder::take(path));
  ASSERT_EQ(taken->segments().size(), 1U);
  std::filesystem::remove(taken->segments()[0]);
  taken->remove();
  EXPECT_THAT(wal_folder::list(directory), testing::IsEmpty());
  EXPECT_FALSE(wal_folder::take(path));
}

TEST_F(write_ahead_log, what_was_left_half_made_is_cleared_away) {
  const auto directory = folder_.path() / "wal";
  std::filesystem::create_directories(directory / "1-a.new");
  std::filesystem::create_directories(directory / "1-b.new");
  write_file(directory / "1-b.new" / "lock", "");
  wal log(options());
  wal_folder::clear_unmade(directory);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory), {}), 1);
  EXPECT_TRUE(std::filesystem::exists(log.path()));
}

TEST_F(write_ahead_log, a_segment_that_was_never_used_is_removed) {
  std::filesystem::create_directories(folder_.path());
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{300'000}}) {
    const auto path = folder_.path() / wal_segment::file_name(3);
    write_file(path, std::string(size, '\0'));
    EXPECT_EQ(wal_segment::open(path), nullptr);
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  const auto path = folder_.path() / wal_segment::file_name(3);
  write_file(path, std::string(300'000, 'x'));
  EXPECT_ERROR(errc::data_loss, path.string(), wal_segment::open(path));
}

TEST_F(write_ahead_log, says_when_its_folder_cannot_be_written) {
  std::filesystem::create_directories(folder_.path() / "wal");
  std::filesystem::permissions(folder_.path() / "wal", std::filesystem::perms(0555));
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  EXPECT_TRUE(in_child([&] {
    if (getuid() == 0 && setuid(65534) != 0) return false;
    const auto failure = error_of([&] { wal log(options()); });
    return failure && failure->code() == errc::permission_denied &&
           failure->subject().find("wal") != std::string::npos;
  }));
  write_file(folder_.path() / "file", "");
  auto inside_a_file = options();
  inside_a_file.directory = folder_.path() / "file" / "wal";
  EXPECT_TRUE(error_of([&] { wal log(inside_a_file); }));
}

// The limit on the size of files stands in for a full disk.
TEST_F(write_ahead_log, refuses_when_the_disk_is_full) {
  EXPECT_TRUE(in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    wal log(options());
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit before = limit;
    limit.rlim_cur = 1000;
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto failure = error_of([&] { wal another(options()); });
    series_table table("run");
    series& of = table.get("loss", [](auto) {});
    std::uint64_t taken = 0;
    while (log.append(of, 1, static_cast<std::int64_t>(taken), 1)) ++taken;
    const bool said = log.last_error().find("no room") != std::string::npos;
    const bool refused = !log.prepare() && !log.append(of, 1, 0, 1) && log.refused() == 2;
    setrlimit(RLIMIT_FSIZE, &before);
    return failure && failure->code() == errc::resource_exhausted && said && refused &&
           wal_folder::list(options().directory).size() == 1 && taken > 8000 && log.prepare() &&
           log.append(of, 1, -1, 1) && take_all(log).size() == taken + 1;
  }));
}

TEST_F(write_ahead_log, is_dead_in_a_forked_child) {
  auto log = std::make_unique<wal>(options());
  series_table table("run");
  EXPECT_TRUE(log->append(table.get("loss", [](auto) {}), 1, 1, 1));
  EXPECT_TRUE(in_child([&] {
    const auto failure = error_of([&] { log->append(table.get("loss", [](auto) {}), 1, 2, 1); });
    return failure && failure->code() == errc::failed_precondition;
  }));
  EXPECT_EQ(take_all(*log).size(), 1U);
}

}  // namespace
}  // namespace mizzen::tracking::detail
