// Leader election by the real API server, with candidates that are processes: servers are paused,
// leaders killed and frozen, and there is never more than one.
#include "cluster/cluster.hpp"
#include "cluster/process.hpp"
#include "election_record.hpp"
#include "scratch.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/core/time.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::kubernetes {
namespace {

using namespace std::chrono_literals;
using mizzen::test::overlaps;
using mizzen::test::read_terms;
using mizzen::test::term;

constexpr auto lease_duration = 4s;
constexpr auto renew_deadline = 3s;
constexpr auto retry_period = 300ms;

std::int64_t nanoseconds(std::chrono::nanoseconds of) { return of.count(); }
std::int64_t now() { return nanoseconds(std::chrono::steady_clock::now().time_since_epoch()); }

class candidate {
 public:
  candidate(std::string name, const std::string& kubeconfig, const std::string& ns,
            const std::string& record)
      : name_(std::move(name)),
        process_({MIZZEN_ELECTION_CANDIDATE, kubeconfig, ns, "lease", name_, record,
                  milliseconds(lease_duration), milliseconds(renew_deadline),
                  milliseconds(retry_period)}),
        pid_(std::stoi(process_.read_line())) {}

  const std::string& name() const { return name_; }
  // It is this process's child until its end, so that its number is nobody else's.
  void signal(int number) const { ASSERT_EQ(::kill(pid_, number), 0); }

 private:
  static std::string milliseconds(std::chrono::milliseconds of) {
    return std::to_string(of.count());
  }
  std::string name_;
  mizzen::test::conversation process_;
  pid_t pid_;
};

class leader_election_cluster : public mizzen::test::cluster_test {
 protected:
  void stand(const std::string& name, const std::string& kubeconfig, const std::string& in) {
    candidates.emplace_back(name, kubeconfig, in, record.string());
  }
  const candidate& of(const std::string& name) const {
    return *std::find_if(candidates.begin(), candidates.end(),
                         [&](const candidate& each) { return each.name() == name; });
  }

  std::vector<term> terms() const {
    std::ifstream file(record);
    return read_terms(file);
  }
  // The first term for which it holds.
  term wait_for(const std::function<bool(const term&)>& holds) const {
    for (const auto give_up = std::chrono::steady_clock::now() + 60s;;) {
      const std::vector<term> all = terms();
      const auto found = std::find_if(all.begin(), all.end(), holds);
      if (found != all.end()) return *found;
      if (std::chrono::steady_clock::now() > give_up) {
        throw error(errc::deadline_exceeded, "candidates", "none did in a minute");
      }
      std::this_thread::sleep_for(20ms);
    }
  }
  // One that leads now, for all that can be known.
  term wait_for_leader() const {
    return wait_for([](const term& each) { return !each.lost; });
  }
  term wait_for_next(const term& after) const {
    return wait_for([&](const term& each) { return each.first > after.last; });
  }
  void wait_for_loss(const term& of) const {
    wait_for([&](const term& each) {
      return each.who == of.who && each.number == of.number && each.lost;
    });
  }

  const test::scratch folder;
  const std::filesystem::path record = folder.write("record", "");
  std::list<candidate> candidates;
};

TEST(ElectionRecord, FindsTwoThatLeadAtOnce) {
  std::istringstream good("a 1 10 11\na 1 20 21\nb 1 22 23\na 1 lost\nb 1 30 31\na 2 40 41\n");
  const std::vector<term> terms = read_terms(good);
  ASSERT_EQ(terms.size(), 3U);
  EXPECT_EQ(terms[0], (term{"a", 1, 11, 20, 20, true}));
  EXPECT_EQ(terms[1], (term{"b", 1, 23, 30, 30, false}));
  EXPECT_EQ(overlaps(terms), std::vector<std::string>{});
  std::istringstream bad("a 1 10 11\nb 1 12 13\na 1 20 21\nc 1 40 41\n");
  EXPECT_EQ(overlaps(read_terms(bad)).size(), 1U);
}

// Nothing can be renewed, so the leader must step down by itself, before its lease has run out;
// when the server is back, somebody leads again.
TEST_F(leader_election_cluster, a_server_that_falls_silent) {
  mizzen::test::private_cluster own;
  for (const char* name : {"a", "b"}) stand(name, own.kubeconfig(), "default");
  for (int round = 0; round < 2; ++round) {
    const term before = wait_for_leader();
    own.pause("kube-apiserver");
    const std::int64_t paused = now();
    wait_for_loss(before);
    // Both wait for an answer now.
    std::this_thread::sleep_for(lease_duration);
    const std::int64_t resumed = now();
    own.resume("kube-apiserver");
    for (const term& each : terms()) {
      if (each.first < resumed) {
        EXPECT_LT(each.last_asked, paused + nanoseconds(lease_duration)) << each.who;
      }
    }
    wait_for([&](const term& each) { return each.first > resumed; });
  }
  EXPECT_EQ(overlaps(terms()), std::vector<std::string>{});
  EXPECT_GE(terms().size(), 3U);
}

TEST_F(leader_election_cluster, a_leader_that_is_killed) {
  for (const char* name : {"a", "b", "c"}) stand(name, cluster().kubeconfig(), ns());
  term leader = wait_for_leader();
  for (int round = 0; round < 2; ++round) {
    of(leader.who).signal(SIGKILL);
    const json lease =
        json::parse(cluster().kubectl({"get", "lease", "lease", "-n", ns(), "-o", "json"}));
    const term next = wait_for([&](const term& each) {
      return each.who != leader.who && !each.lost && each.first > leader.first;
    });
    if (lease["spec"]["holderIdentity"] == leader.who) {
      // Not before the dead one's last lease has run out. Its time is of the other clock.
      const auto renewed = parse_rfc3339(lease["spec"]["renewTime"].get<std::string>());
      const auto ago = std::chrono::system_clock::now() - renewed;
      EXPECT_GE(next.first,
                now() - nanoseconds(ago) + nanoseconds(lease_duration) - nanoseconds(50ms));
    }
    leader = next;
  }
  EXPECT_EQ(overlaps(terms()), std::vector<std::string>{});
}

// It wakes up long after its lease has run out, and must not believe that it leads.
TEST_F(leader_election_cluster, a_leader_that_is_frozen) {
  for (const char* name : {"a", "b"}) stand(name, cluster().kubeconfig(), ns());
  for (int round = 0; round < 3; ++round) {
    const term frozen = wait_for_leader();
    of(frozen.who).signal(SIGSTOP);
    wait_for([&](const term& each) { return each.who != frozen.who && each.first > frozen.last; });
    of(frozen.who).signal(SIGCONT);
    wait_for_loss(frozen);
  }
  EXPECT_EQ(overlaps(terms()), std::vector<std::string>{});
  EXPECT_GE(terms().size(), 4U);
}

}  // namespace
}  // namespace mizzen::kubernetes
