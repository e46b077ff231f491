#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/journal.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <unistd.h>

namespace mizzen::kubernetes {
namespace {

namespace fs = std::filesystem;

submission_record record_of(const std::string& id) {
  submission_record record;
  record.id = id;
  record.kind = "Job";
  record.namespace_ = "ml";
  record.name = "train-" + id;
  record.spec_hash = "sha256:1";
  record.intended_at = 5;
  return record;
}

std::string whole_file() {
  auto record = record_of("a");
  record.uid = "u1";
  record.accepted_at = 6;
  record.finished_at = 7;
  record.outcome = {{"succeeded", true}};
  std::string file(journal_state::header());
  file += journal_state::line(journal_state::intend_entry(record));
  file += journal_state::line(journal_state::accept_entry(record));
  file += journal_state::line(journal_state::intend_entry(record_of("b")));
  file += journal_state::line(journal_state::finish_entry(record));
  return file;
}

errc code_of(const auto& what) {
  try {
    what();
  } catch (const error& failure) {
    return failure.code();
  }
  return errc::unknown;
}

TEST(JournalState, ReplaysWhatWasWritten) {
  journal_state state;
  const auto file = whole_file();
  EXPECT_EQ(state.replay(file), file.size());
  ASSERT_EQ(state.records().size(), 2u);
  const auto& a = state.records().at("a");
  EXPECT_EQ(a.phase, submission_phase::finished);
  EXPECT_EQ(a.uid, "u1");
  EXPECT_EQ(a.name, "train-a");
  EXPECT_EQ(a.intended_at, 5);
  EXPECT_EQ(a.accepted_at, 6);
  EXPECT_EQ(a.finished_at, 7);
  EXPECT_EQ(a.outcome, json({{"succeeded", true}}));
  EXPECT_EQ(state.records().at("b").phase, submission_phase::intended);
}

// Cut at every byte: what is sound is replayed, and the rest can be given again with more behind
// it.
TEST(JournalState, AnyCutIsATornTail) {
  const auto file = whole_file();
  for (std::size_t cut = 0; cut <= file.size(); ++cut) {
    journal_state state;
    const auto taken = state.replay(file.substr(0, cut));
    ASSERT_LE(taken, cut);
    ASSERT_TRUE(taken == 0 || file[taken - 1] == '\n');
    ASSERT_EQ(state.replay(std::string_view(file).substr(taken)), file.size() - taken) << cut;
    ASSERT_EQ(state.records().size(), 2u);
    ASSERT_EQ(state.records().at("a").phase, submission_phase::finished);
  }
}

// One bit flipped anywhere: either the last line is no longer one, or it is said.
TEST(JournalState, DamageIsNeverTakenForARecord) {
  const auto file = whole_file();
  const auto last_line = file.rfind('\n', file.size() - 2) + 1;
  for (std::size_t at = 0; at < file.size(); ++at) {
    auto damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    journal_state state;
    if (at + 1 >= last_line) {  // without its end, a line is one with the last one
      ASSERT_LE(state.replay(damaged), last_line) << at;
      ASSERT_EQ(state.records().at("a").phase, submission_phase::accepted) << at;
    } else {
      const auto code = code_of([&] { state.replay(damaged); });
      ASSERT_TRUE(code == errc::data_loss || code == errc::unimplemented) << at;
    }
  }
}

TEST(JournalState, RefusesStepsThatDoNotFollow) {
  const auto one = record_of("a");
  const std::string header(journal_state::header());
  for (const auto& entry : {journal_state::accept_entry(one), journal_state::finish_entry(one),
                            journal_state::forget_entry("a"), json::array({1}), json::object(),
                            json{{"op", "intend"}, {"id", 7}}}) {
    journal_state state;
    EXPECT_EQ(code_of([&] { state.replay(header + journal_state::line(entry)); }), errc::data_loss)
        << entry;
  }
  journal_state state;
  EXPECT_EQ(
      code_of([&] { state.replay(header + journal_state::line({{"op", "later"}, {"id", "a"}})); }),
      errc::unimplemented);
  journal_state other;
  EXPECT_EQ(code_of([&] { other.replay("mizzen-submissions 2\n"); }), errc::unimplemented);
  EXPECT_EQ(code_of([&] { other.replay("#!/bin/sh"); }), errc::data_loss);
}

TEST(JournalState, CompactedTellsTheSame) {
  journal_state state;
  state.replay(whole_file());
  journal_state again;
  const auto kept = state.compacted(7);
  EXPECT_EQ(again.replay(kept), kept.size());
  EXPECT_EQ(again.records().at("a").outcome, state.records().at("a").outcome);
  EXPECT_EQ(again.records().size(), 2u);
  journal_state without;
  without.replay(state.compacted(8));
  EXPECT_EQ(without.records().size(), 1u);
  EXPECT_TRUE(without.records().contains("b"));
}

class JournalFile : public testing::Test {
 protected:
  JournalFile() {
    std::string folder = fs::temp_directory_path() / "mizzen-journal-XXXXXX";
    folder_ = ::mkdtemp(folder.data());
  }
  ~JournalFile() override { fs::remove_all(folder_); }

  fs::path file() const { return folder_ / "submissions"; }
  std::string content() const {
    std::stringstream text;
    text << std::ifstream(file()).rdbuf();
    return text.str();
  }

 private:
  fs::path folder_;
};

TEST_F(JournalFile, ARestartedProcessKnowsWhereItWas) {
  {
    journal first(file());
    first.intend(record_of("a"));
    first.accept("a", "u1");
    first.intend(record_of("b"));
  }
  journal second(file());
  ASSERT_EQ(second.pending().size(), 2u);
  EXPECT_EQ(second.find("a")->uid, "u1");
  EXPECT_EQ(second.find("b")->phase, submission_phase::intended);
  EXPECT_FALSE(second.find("c"));
  second.finish("a", {{"succeeded", false}});
  second.finish("a", {{"succeeded", true}});
  EXPECT_EQ(second.find("a")->outcome, json({{"succeeded", false}}));
  EXPECT_EQ(second.pending().size(), 1u);
}

TEST_F(JournalFile, IntendingTwiceTellsWhatIsKnown) {
  journal one(file());
  journal two(file());
  one.intend(record_of("a"));
  one.accept("a", "u1");
  auto changed = record_of("a");
  changed.spec_hash = "sha256:2";
  const auto known = two.intend(changed);
  EXPECT_EQ(known.uid, "u1");
  EXPECT_EQ(known.spec_hash, "sha256:1");
  two.accept("a", "u1");
  EXPECT_EQ(code_of([&] { two.accept("a", "u2"); }), errc::failed_precondition);
  EXPECT_EQ(code_of([&] { two.accept("b", "u2"); }), errc::failed_precondition);
  two.forget("a");
  EXPECT_FALSE(one.find("a"));
}

TEST_F(JournalFile, AWriteThatWasCutOffIsOverwritten) {
  journal one(file());
  one.intend(record_of("a"));
  const auto sound = content();
  std::ofstream(file(), std::ios::app) << "12345678 {\"op\":\"acc";
  journal two(file());
  EXPECT_EQ(two.find("a")->phase, submission_phase::intended);
  two.accept("a", "u1");
  EXPECT_TRUE(content().starts_with(sound));
  EXPECT_EQ(one.find("a")->uid, "u1");
  EXPECT_THAT(content(), testing::Not(testing::HasSubstr("12345678")));
}

TEST_F(JournalFile, AnotherFileIsLeftAlone) {
  std::ofstream(file()) << "dear diary";
  EXPECT_EQ(code_of([&] { journal{file()}; }), errc::data_loss);
  EXPECT_EQ(content(), "dear diary");
  EXPECT_EQ(code_of([&] { journal{file().parent_path() / "no" / "such"}; }), errc::not_found);
}

TEST_F(JournalFile, IsCompactedUnderOtherUsers) {
  const journal_options small{.durability = journal_durability::process,
                              .keep_finished = std::chrono::hours(0),
                              .compact_above = 2000};
  journal reader(file(), small);
  journal writer(file(), small);
  writer.intend(record_of("kept"));
  for (int i = 0; i < 100; ++i) {
    const auto id = std::to_string(i);
    writer.intend(record_of(id));
    writer.finish(id, {{"succeeded", true}});
    writer.forget(id);
  }
  EXPECT_LT(content().size(), 6000u);
  EXPECT_EQ(reader.find("kept")->name, "train-kept");
  EXPECT_EQ(reader.records().size(), 1u);
  reader.accept("kept", "u1");
  EXPECT_EQ(writer.find("kept")->uid, "u1");
}

// Processes and threads write one file; every record is there once, and the file is sound.
TEST_F(JournalFile, SeveralProcessesWriteAtOnce) {
  constexpr int processes = 4;
  constexpr int records = 50;
  std::vector<pid_t> children;
  for (int process = 0; process < processes; ++process) {
    const auto child = ::fork();
    if (child == 0) {
      try {
        journal mine(file(), {.durability = journal_durability::process, .compact_above = 4000});
        for (int i = 0; i < records; ++i) {
          const auto id = std::to_string(i);
          mine.intend(record_of(id));
          mine.accept(id, "uid-" + id);
        }
        ::_exit(0);
      } catch (...) {
        ::_exit(1);
      }
    }
    children.push_back(child);
  }
  for (const auto child : children) {
    int status = 1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const journal all(file());
  EXPECT_EQ(all.records().size(), static_cast<std::size_t>(records));
  for (const auto& record : all.records()) EXPECT_EQ(record.uid, "uid-" + record.id);
}

}  // namespace
}  // namespace mizzen::kubernetes
