#include "kubernetes/election_machine.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

namespace mizzen::kubernetes::detail {
namespace {

using namespace std::chrono_literals;
using time_point = election_machine::time_point;
using wall = election_machine::wall_time;

election_machine make(std::string who) { return {std::move(who), 15s, 10s}; }

lease_record held(std::string who, std::string version, std::chrono::seconds duration = 15s) {
  lease_record record;
  record.holder = std::move(who);
  record.duration = duration;
  record.resource_version = std::move(version);
  return record;
}

TEST(ElectionMachine, TakesAFreeLease) {
  election_machine me = make("me");
  EXPECT_FALSE(me.may_write(time_point{})) << "nothing is known yet";
  me.observed(std::nullopt, time_point{});
  EXPECT_TRUE(me.may_write(time_point{}));
  lease_record mine = me.claim(wall(5s));
  EXPECT_EQ(mine.holder, "me");
  EXPECT_EQ(mine.transitions, 0);
  EXPECT_EQ(mine.duration, 15s);
  mine.resource_version = "1";
  me.written(mine, time_point(1s), time_point(2s));
  EXPECT_TRUE(me.leads(time_point(15s)));
  EXPECT_FALSE(me.leads(time_point(16s))) << "the term counts from before the request";
  EXPECT_EQ(me.renew_until(), time_point(11s));
}

TEST(ElectionMachine, WaitsUntilALeaseHasNotChangedForItsTerm) {
  election_machine me = make("me");
  me.observed(held("other", "1", 20s), time_point(0s));
  EXPECT_FALSE(me.may_write(time_point(19s)));
  me.observed(held("other", "2", 20s), time_point(19s));
  EXPECT_FALSE(me.may_write(time_point(38s))) << "it was renewed";
  me.observed(held("other", "2", 20s), time_point(38s));
  EXPECT_TRUE(me.may_write(time_point(39s)));
  const lease_record mine = me.claim(wall(0s));
  EXPECT_EQ(mine.transitions, 1);
  EXPECT_EQ(mine.resource_version, "2") << "else two could win the same race";
}

TEST(ElectionMachine, ARenewalKeepsWhenItWasAcquired) {
  election_machine me = make("me");
  me.observed(std::nullopt, time_point{});
  lease_record mine = me.claim(wall(5s));
  me.written(mine, time_point{}, time_point{});
  const lease_record again = me.claim(wall(9s));
  EXPECT_EQ(again.acquired, wall(5s));
  EXPECT_EQ(again.renewed, wall(9s));
  EXPECT_EQ(again.transitions, 0);
}

TEST(ElectionMachine, GivesUpAndIsFreeAtOnce) {
  election_machine me = make("me");
  EXPECT_FALSE(me.release(wall(0s)));
  me.observed(std::nullopt, time_point{});
  me.written(me.claim(wall(0s)), time_point{}, time_point{});
  const auto free = me.release(wall(1s));
  ASSERT_TRUE(free);
  EXPECT_EQ(free->holder, "");
  me.step_down();
  EXPECT_FALSE(me.leads(time_point(1s)));
  election_machine other = make("other");
  other.observed(*free, time_point(1s));
  EXPECT_TRUE(other.may_write(time_point(1s)));
}

TEST(ElectionMachine, SeeingAnotherHolderEndsIt) {
  election_machine me = make("me");
  me.observed(std::nullopt, time_point{});
  me.written(me.claim(wall(0s)), time_point{}, time_point{});
  me.observed(held("other", "9"), time_point(1s));
  EXPECT_FALSE(me.leads(time_point(1s)));
  EXPECT_FALSE(me.may_write(time_point(1s)));
}

// Candidates, a server and a network that delays, loses and cuts, all simulated: at no moment may
// two of them lead.
class simulation {
 public:
  explicit simulation(std::uint64_t seed) : random_(seed) {
    for (int i = 0; i < 3; ++i) {
      auto fresh = std::make_unique<candidate>(candidate{make(std::to_string(i)), {}, i});
      candidates_.push_back(std::move(fresh));
    }
    for (auto& each : candidates_) {
      candidate* one = each.get();
      // Wall clocks are off by days.
      one->skew = std::chrono::hours(static_cast<int>(random_() % 100) - 50);
      at(ms(0, 3000), [this, one] { read(*one); });
    }
  }

  void run(time_point until) {
    while (!events_.empty() && events_.top().when <= until) {
      const event next = events_.top();
      events_.pop();
      now_ = next.when;
      (*next.what)();
      check();
    }
  }

  int terms() const { return terms_; }

 private:
  struct candidate {
    election_machine machine;
    std::chrono::hours skew{};
    int number = 0;
    bool frozen = false;
  };
  struct event {
    time_point when;
    std::uint64_t order;
    std::shared_ptr<std::function<void()>> what;
    bool operator<(const event& other) const {
      return std::pair(other.when, other.order) < std::pair(when, order);
    }
  };

  std::chrono::milliseconds ms(int from, int to) {
    return std::chrono::milliseconds(
        from + static_cast<int>(random_() % static_cast<std::uint64_t>(to - from + 1)));
  }
  // Mostly quick, sometimes terribly slow.
  std::chrono::milliseconds trip() { return random_() % 10 == 0 ? ms(0, 20'000) : ms(0, 300); }
  bool lost() { return random_() % 8 == 0; }

  void at(std::chrono::milliseconds in, std::function<void()> what) {
    events_.push({now_ + in, ++order_, std::make_shared<std::function<void()>>(std::move(what))});
  }

  wall wall_of(const candidate& who) const {
    return wall(std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()) +
                who.skew + std::chrono::hours(1'000));
  }

  // Reads, then perhaps writes, then pauses.
  void read(candidate& who) {
    if (lost()) return at(2s, [this, &who] { read(who); });
    at(trip(), [this, &who] {
      const std::optional<lease_record> seen = lease_;
      at(trip(), [this, &who, seen] {
        who.machine.observed(seen, now_);
        if (who.machine.may_write(now_)) return write(who);
        at(ms(2000, 2400), [this, &who] { read(who); });
      });
    });
  }

  void write(candidate& who) {
    const lease_record claim = who.machine.claim(wall_of(who));
    const bool exists = lease_.has_value();
    const time_point sent = now_;
    who.machine.outdated();
    const bool answer_lost = lost();
    if (lost()) return next(who);
    at(trip(), [this, &who, claim, sent, answer_lost, exists] {
      // The server: optimistic locking.
      const bool fits = lease_ ? lease_->resource_version == claim.resource_version
                               : !exists || claim.resource_version.empty();
      lease_record stored = claim;
      if (fits) {
        stored.resource_version = std::to_string(++version_);
        lease_ = stored;
      }
      at(trip(), [this, &who, stored, sent, fits, answer_lost] {
        if (fits && !answer_lost) {
          who.machine.written(stored, sent, now_);
          who.machine.up_to_date();
        }
        next(who);
      });
    });
  }

  void next(candidate& who) {
    if (who.machine.leading() && now_ >= who.machine.renew_until()) who.machine.step_down();
    // A leader that stops for a while: nothing of it happens, the clock goes on.
    const auto pause = random_() % 25 == 0 ? ms(5000, 60'000) : ms(2000, 2400);
    if (random_() % 30 == 0) {
      if (const auto free = who.machine.release(wall_of(who))) {
        who.machine.step_down();
        at(trip(), [this, free] {
          if (lease_ && lease_->resource_version == free->resource_version) {
            lease_ = *free;
            lease_->resource_version = std::to_string(++version_);
          }
        });
      }
    }
    at(pause, [this, &who] {
      if (who.machine.can_renew_at_once()) {
        write(who);
      } else {
        read(who);
      }
    });
  }

  void check() {
    int leaders = 0, who = -1;
    for (const auto& each : candidates_) {
      if (each->machine.leads(now_)) {
        ++leaders;
        who = each->number;
      }
    }
    ASSERT_LE(leaders, 1) << "at " << now_.time_since_epoch() / 1ms << " ms";
    if (leaders == 1 && who != last_) {
      last_ = who;
      ++terms_;
    }
  }

  std::mt19937_64 random_;
  std::vector<std::unique_ptr<candidate>> candidates_;
  std::priority_queue<event> events_;
  std::uint64_t order_ = 0;
  time_point now_{};
  std::optional<lease_record> lease_;
  std::uint64_t version_ = 0;
  int last_ = -1;
  int terms_ = 0;
};

TEST(ElectionMachine, NoTwoLeadAtOnceWhateverTheNetworkDoes) {
  int terms = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    simulation world(seed);
    world.run(time_point(30min));
    if (HasFatalFailure()) return;
    EXPECT_GT(world.terms(), 0) << "somebody must lead";
    terms += world.terms();
  }
  EXPECT_GT(terms, 1'000) << "leadership does not change hands any more";
}

}  // namespace
}  // namespace mizzen::kubernetes::detail
