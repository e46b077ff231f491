#include "temporary_folder.hpp"
#include "tracking/git.hpp"
#include "tracking/proc.hpp"

#include <mizzen/tracking/process_facts.hpp>

#include <gmock/gmock.h>

#include <cstdlib>
#include <string>

namespace mizzen::tracking {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

void put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  write_file(file, text);
}

const std::string id_a(40, 'a'), id_b(40, 'b');

class git_files : public testing::Test {
 protected:
  git_files() {
    put(git_ / "HEAD", "ref: refs/heads/topic/x\n");
    put(git_ / "refs/heads/topic/x", id_a + "\n");
    put(git_ / "config",
        "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = git@host:me/x.git\n"
        "[remote \"origin\"]\n\tfetch = +refs\n\turl = https://me:token@host:8443/x.git\n");
  }
  git_facts read(const fs::path& folder) {
    const auto facts = detail::read_git(folder, false);
    EXPECT_TRUE(facts);
    return facts.value_or(git_facts{});
  }

  const temporary_folder folder_;
  const fs::path root_ = folder_.path() / "repository";
  const fs::path git_ = root_ / ".git";
};

TEST_F(git_files, commit_branch_and_url) {
  fs::create_directories(root_ / "src/deep");
  const git_facts facts = read(root_ / "src/deep");
  EXPECT_EQ(facts.commit, id_a);
  EXPECT_EQ(facts.branch, "topic/x");
  EXPECT_EQ(facts.repository_url, "https://host:8443/x.git");
  EXPECT_FALSE(facts.dirty);
  EXPECT_FALSE(detail::read_git(folder_.path(), false));
}

TEST_F(git_files, packed_detached_and_unborn) {
  fs::remove(git_ / "refs/heads/topic/x");
  EXPECT_EQ(read(root_).commit, "");
  put(git_ / "packed-refs", "# pack-refs with: peeled fully-peeled sorted\n" + id_a +
                                " refs/heads/topic/xy\n" + id_b + " refs/heads/topic/x\n^" + id_a +
                                "\n");
  EXPECT_EQ(read(root_).commit, id_b);
  put(git_ / "HEAD", id_a + "\n");
  EXPECT_EQ(read(root_).commit, id_a);
  EXPECT_EQ(read(root_).branch, "");
}

TEST_F(git_files, damaged_files_are_no_facts) {
  for (const std::string head : {"", "garbage", "ref: refs/heads/../../../secret",
                                 "ref: /etc/passwd", "ref: refs/heads/loop"}) {
    put(git_ / "HEAD", head);
    put(git_ / "refs/heads/loop", "ref: refs/heads/loop");
    EXPECT_EQ(read(root_).commit, "") << head;
  }
  put(folder_.path() / "odd/.git", "no pointer");
  EXPECT_FALSE(detail::read_git(folder_.path() / "odd", false));
  EXPECT_EQ(detail::remote_url("[remote \""), "");
  EXPECT_EQ(detail::remote_url("[remote\n[remote \"]\nurl=x"), "x");
  EXPECT_EQ(detail::without_credentials("ssh://git@host/x"), "ssh://host/x");
  EXPECT_EQ(detail::without_credentials("git@host:x"), "git@host:x");
  EXPECT_EQ(detail::without_credentials("https://host/a@b"), "https://host/a@b");
}

// Against git itself, where it is installed.
TEST_F(git_files, agree_with_git) {
  const std::string where = "cd '" + folder_.path().string() +
                            "' && export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null "
                            "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a "
                            "GIT_COMMITTER_EMAIL=a@b && ";
  const auto git = [&](const std::string& commands) {
    return std::system((where + commands).c_str()) == 0;
  };
  if (!git("git --version > /dev/null 2>&1")) GTEST_SKIP() << "git is not installed";
  ASSERT_TRUE(
      git("git init -q -b main real && cd real && echo 1 > a && git add a && git commit -qm one && "
          "git rev-parse HEAD > ../main && git worktree add -q -b side ../side && cd ../side && "
          "echo 2 > a && git commit -qam two && git rev-parse HEAD > ../other && "
          "cd ../real && git pack-refs --all && echo x > untracked"));
  const auto id_in = [&](const char* name) {
    return std::string(detail::trimmed(read_file(folder_.path() / name)));
  };
  const auto main = detail::read_git(folder_.path() / "real", true);
  const auto side = detail::read_git(folder_.path() / "side", true);
  ASSERT_TRUE(main && side);
  EXPECT_EQ(main->commit, id_in("main"));
  EXPECT_EQ(main->branch, "main");
  EXPECT_EQ(main->repository_url, "");
  EXPECT_EQ(side->commit, id_in("other"));
  EXPECT_EQ(side->branch, "side");
  EXPECT_EQ(main->dirty, false);
  put(folder_.path() / "side/a", "3");
  EXPECT_EQ(detail::read_git(folder_.path() / "side", true)->dirty, true);
  ASSERT_TRUE(git("cd side && git checkout -q --detach -f HEAD~1"));
  const auto detached = detail::read_git(folder_.path() / "side", true);
  EXPECT_EQ(detached->commit, id_in("main"));
  EXPECT_EQ(detached->branch, "");
  EXPECT_EQ(detached->dirty, false);
}

TEST(cgroup, version_2_takes_the_least_limit_on_the_way_up) {
  const temporary_folder folder;
  const fs::path groups = folder.path() / "sys/fs/cgroup";
  put(folder.path() / "proc/self/cgroup", "0::/pod/container\n");
  put(groups / "cgroup.controllers", "cpu memory\n");
  put(groups / "pod/cpu.max", "150000 100000\n");
  put(groups / "pod/memory.max", "1000000\n");
  put(groups / "pod/container/cpu.max", "max 100000\n");
  put(groups / "pod/container/memory.max", "2000000\n");
  put(groups / "pod/container/memory.current", "600000\n");
  put(groups / "pod/container/memory.stat", "anon 5\ninactive_file 100000\n");
  put(groups / "pod/container/cpu.stat", "usage_usec 123456\nuser_usec 1\n");
  const detail::cgroup_state state = detail::read_cgroup(folder.path());
  EXPECT_EQ(state.cpu_limit, 1.5);
  EXPECT_EQ(state.memory_limit, 1000000U);
  EXPECT_EQ(state.memory_used, 500000U);
  EXPECT_EQ(state.cpu_used_microseconds, 123456U);
}

TEST(cgroup, version_1_and_none) {
  const temporary_folder folder;
  const fs::path groups = folder.path() / "sys/fs/cgroup";
  put(folder.path() / "proc/self/cgroup",
      "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\nodd line\n");
  // In a container its own group is the root of what it sees.
  put(groups / "cpu/cpu.cfs_quota_us", "-1\n");
  put(groups / "cpu/cpu.cfs_period_us", "100000\n");
  put(groups / "cpuacct/cpuacct.usage", "5000000\n");
  put(groups / "memory/memory.limit_in_bytes", "9223372036854771712\n");
  put(groups / "memory/memory.usage_in_bytes", "700\n");
  detail::cgroup_state state = detail::read_cgroup(folder.path());
  EXPECT_FALSE(state.cpu_limit);
  EXPECT_FALSE(state.memory_limit);
  EXPECT_EQ(state.memory_used, 700U);
  EXPECT_EQ(state.cpu_used_microseconds, 5000U);
  put(groups / "cpu/cpu.cfs_quota_us", "250000\n");
  put(groups / "memory/memory.limit_in_bytes", "4096\n");
  state = detail::read_cgroup(folder.path());
  EXPECT_EQ(state.cpu_limit, 2.5);
  EXPECT_EQ(state.memory_limit, 4096U);
  EXPECT_FALSE(detail::read_cgroup(folder.path() / "nowhere").memory_used);
}

TEST(proc, fields) {
  EXPECT_EQ(detail::field_of("MemTotal:  100 kB\nMemFree: 5 kB\n", "MemFree"), 5U * 1024);
  EXPECT_EQ(detail::field_of("a: 7\n", "a"), 7U);
  EXPECT_FALSE(detail::field_of("ab: 7\n", "a"));
  EXPECT_FALSE(detail::field_of("a: x\n", "a"));
  EXPECT_FALSE(detail::parse_number("18446744073709551616"));
  EXPECT_FALSE(detail::parse_number("-1"));
}

TEST(process_facts, of_this_process) {
  ::setenv("MIZZEN_TEST_FACT", "näive", 1);
  ::setenv("MIZZEN_TEST_API_KEY", "hidden", 1);
  const process_facts facts = gather_process_facts(
      {.environment = {"MIZZEN_TEST_FACT", "MIZZEN_TEST_API_KEY", "MIZZEN_NOT_SET"}});
  EXPECT_EQ(facts.environment, (string_map{{"MIZZEN_TEST_FACT", "näive"}}));
  EXPECT_THAT(facts.program, HasSubstr("mizzen_tracking_tests"));
  ASSERT_FALSE(facts.command_line.empty());
  EXPECT_EQ(facts.working_directory, fs::current_path().string());
  EXPECT_FALSE(facts.host.empty());
  EXPECT_GE(facts.cpu_count, 1U);
  EXPECT_GT(facts.memory_total, 1U << 20);
  EXPECT_THAT(facts.system, HasSubstr("Linux "));
  EXPECT_FALSE(facts.library.empty());
  EXPECT_FALSE(facts.compiler.empty());
  ::unsetenv("MIZZEN_TEST_FACT");
  ::unsetenv("MIZZEN_TEST_API_KEY");
}

TEST(process_facts, become_tags) {
  const string_map tags =
      to_tags({.git = git_facts{.commit = id_a, .dirty = true},
               .command_line = {"/bin/train", "--rate", "a b", "it's", ""},
               .environment = {{"RANK", std::string("\xff\0x", 3)}, {"a b\n", "x"}},
               .cpu_limit = 1.5,
               .memory_limit = 4096,
               .gpus = {"A", "B"}});
  EXPECT_EQ(tags, (string_map{{"mlflow.source.git.commit", id_a},
                              {"mlflow.source.git.dirty", "true"},
                              {"mizzen.command_line", "/bin/train --rate 'a b' 'it'\\''s' ''"},
                              {"mizzen.env.RANK", "??x"},
                              {"mizzen.cpu.limit", "1.5"},
                              {"mizzen.memory.limit_bytes", "4096"},
                              {"mizzen.gpus", "A; B"}}));
  EXPECT_EQ(to_tags({.host = std::string(20000, 'x')}).at("mizzen.host").size(), 8000U);
}

TEST(process_facts, are_tags_of_a_run) {
  const temporary_folder folder;
  client c({.uri = folder.file("mlflow.db")});
  const auto tags = c.start_run("a", {.tags = {{"mizzen.host", "mine"}}}).get().tags;
  EXPECT_EQ(tags.at("mizzen.host"), "mine");
  EXPECT_THAT(tags.at("mizzen.command_line"), HasSubstr("mizzen_tracking_tests"));
  EXPECT_TRUE(tags.contains("mizzen.cpu.count"));
  auto parent = c.start_run("a", {.facts = recorded_facts::none});
  EXPECT_FALSE(parent.get().tags.contains("mizzen.command_line"));
  EXPECT_TRUE(parent.start_child().get().tags.contains("mizzen.command_line"));
}

}  // namespace
}  // namespace mizzen::tracking
