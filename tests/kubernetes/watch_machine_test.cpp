#include "kubernetes/watch_machine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace mizzen::kubernetes::detail {
namespace {

using namespace std::chrono_literals;
using failure = watch_failure::kind;

watch_failure status(int code) { return {.what = failure::status, .code = code}; }

// Brings a machine to where it watches from version 10.
watch_machine watching(watch_machine_options options = {}) {
  options.stream_lists = false;
  watch_machine machine(options);
  EXPECT_EQ(machine.next().what, watch_step::kind::list);
  EXPECT_TRUE(machine.page("10", "").synced);
  EXPECT_EQ(machine.next().resource_version, "10");
  return machine;
}

TEST(WatchMachine, PagesThenWatchesFromTheirVersion) {
  watch_machine machine({.stream_lists = false, .page_size = 2});
  watch_step step = machine.next();
  EXPECT_EQ(step.what, watch_step::kind::list);
  EXPECT_EQ(step.limit, 2);
  EXPECT_EQ(step.continue_token, "");
  watch_verdict verdict = machine.page("10", "more");
  EXPECT_TRUE(verdict.restarted && verdict.deliver && !verdict.synced);
  step = machine.next();
  EXPECT_EQ(step.continue_token, "more");
  EXPECT_EQ(machine.resource_version(), "");
  verdict = machine.page("10", "");
  EXPECT_TRUE(!verdict.restarted && verdict.deliver && verdict.synced);
  step = machine.next();
  EXPECT_EQ(step.what, watch_step::kind::watch);
  EXPECT_EQ(step.resource_version, "10");
  EXPECT_FALSE(step.initial_events);
}

TEST(WatchMachine, APageThatFailsIsAskedForAgain) {
  watch_machine machine({.stream_lists = false});
  machine.next();
  machine.page("10", "more");
  EXPECT_TRUE(machine.failed({}));
  EXPECT_EQ(machine.next().what, watch_step::kind::wait);
  EXPECT_EQ(machine.next().continue_token, "more");
  // The token has expired: the list begins anew.
  EXPECT_TRUE(machine.failed(status(410)));
  watch_step step = machine.next();
  while (step.what == watch_step::kind::wait) step = machine.next();
  EXPECT_EQ(step.continue_token, "");
  EXPECT_TRUE(machine.page("12", "").restarted);
}

TEST(WatchMachine, StreamedListEndsWithItsBookmark) {
  watch_machine machine({});
  watch_step step = machine.next();
  EXPECT_EQ(step.what, watch_step::kind::watch);
  EXPECT_TRUE(step.initial_events);
  EXPECT_EQ(step.resource_version, "");
  watch_verdict verdict = machine.event(wire_kind::added, "7");
  EXPECT_TRUE(verdict.restarted && verdict.deliver && !verdict.synced);
  verdict = machine.event(wire_kind::added, "3");
  EXPECT_TRUE(!verdict.restarted && verdict.deliver);
  EXPECT_EQ(machine.resource_version(), "");
  verdict = machine.event(wire_kind::bookmark, "9", true);
  EXPECT_TRUE(verdict.synced && !verdict.deliver);
  EXPECT_EQ(machine.resource_version(), "9");
  verdict = machine.event(wire_kind::modified, "11");
  EXPECT_TRUE(verdict.deliver);
  machine.ended(1h);
  step = machine.next();
  EXPECT_FALSE(step.initial_events);
  EXPECT_EQ(step.resource_version, "11");
}

TEST(WatchMachine, AnEmptyStreamedListIsAListToo) {
  watch_machine machine({});
  machine.next();
  const watch_verdict verdict = machine.event(wire_kind::bookmark, "9", true);
  EXPECT_TRUE(verdict.restarted && verdict.synced && !verdict.deliver);
}

TEST(WatchMachine, FallsBackToPagesWhereListsAreNotStreamed) {
  for (const int code : {400, 405, 422}) {
    watch_machine machine({});
    machine.next();
    EXPECT_TRUE(machine.failed(status(code)));
    EXPECT_EQ(machine.next().what, watch_step::kind::list) << code;
  }
  {
    watch_machine machine({});
    machine.next();
    machine.event(wire_kind::added, "3");
    machine.ended(1h);
    EXPECT_EQ(machine.next().what, watch_step::kind::list);
    EXPECT_TRUE(machine.page("5", "").restarted);
  }
  {
    watch_machine machine({});
    machine.next();
    machine.event(wire_kind::added, "3");
    machine.failed({.what = failure::silence});
    EXPECT_EQ(machine.next().what, watch_step::kind::list);
  }
}

TEST(WatchMachine, AServerThatIsDownDoesNotCostTheStreamedList) {
  watch_machine machine({});
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(machine.next().initial_events);
    machine.failed({.what = failure::network});
    EXPECT_EQ(machine.next().what, watch_step::kind::wait);
  }
  EXPECT_TRUE(machine.next().initial_events);
}

TEST(WatchMachine, GoesOnFromTheLastEventOrBookmark) {
  watch_machine machine = watching();
  EXPECT_TRUE(machine.event(wire_kind::added, "12").deliver);
  EXPECT_FALSE(machine.event(wire_kind::bookmark, "15").deliver);
  machine.failed({.what = failure::network}, 1h);
  EXPECT_EQ(machine.next().what, watch_step::kind::wait);
  EXPECT_EQ(machine.next().resource_version, "15");
  EXPECT_FALSE(machine.event(wire_kind::modified, "15").deliver) << "was delivered before";
  machine.ended(1h);
  const watch_step step = machine.next();
  EXPECT_EQ(step.what, watch_step::kind::watch) << "no pause after a long watch";
}

TEST(WatchMachine, ListsAgainWhenItsVersionIsGone) {
  watch_machine machine = watching();
  EXPECT_TRUE(machine.failed(status(410)));
  EXPECT_EQ(machine.next().what, watch_step::kind::list) << "at once";
  machine.page("20", "");
  EXPECT_EQ(machine.next().resource_version, "20");
  EXPECT_TRUE(machine.failed(status(410)));
  EXPECT_EQ(machine.next().what, watch_step::kind::wait) << "not in a tight loop";
}

TEST(WatchMachine, MalformedEventLeadsToAnotherList) {
  watch_machine machine = watching();
  EXPECT_TRUE(machine.failed({.what = failure::malformed}));
  EXPECT_EQ(machine.next().what, watch_step::kind::wait);
  EXPECT_EQ(machine.next().what, watch_step::kind::list);
  EXPECT_TRUE(machine.page("20", "").restarted);
}

TEST(WatchMachine, TroubleOfTheServerKeepsThePlace) {
  for (const int code : {429, 500, 502, 503, 504}) {
    watch_machine machine = watching();
    watch_failure why = status(code);
    why.retry_after = 90s;
    EXPECT_TRUE(machine.failed(why));
    const watch_step step = machine.next();
    EXPECT_EQ(step.what, watch_step::kind::wait);
    EXPECT_GE(step.delay, 90s);
    EXPECT_EQ(machine.next().resource_version, "10");
  }
}

TEST(WatchMachine, UnauthorizedInMidStreamGoesOnAtOnce) {
  watch_machine machine = watching();
  machine.event(wire_kind::added, "12");
  EXPECT_TRUE(machine.failed(status(401), 1h));
  EXPECT_EQ(machine.next().resource_version, "12");
  EXPECT_TRUE(machine.failed(status(401)));
  EXPECT_EQ(machine.next().what, watch_step::kind::wait);
  EXPECT_EQ(machine.next().resource_version, "12");
}

TEST(WatchMachine, GivesUpOnlyBeforeAnythingWasReceived) {
  for (const int code : {401, 403, 404}) {
    watch_machine fresh({.stream_lists = false});
    fresh.next();
    EXPECT_FALSE(fresh.failed(status(code)));
    watch_machine machine = watching();
    EXPECT_TRUE(machine.failed(status(code)));
  }
}

TEST(WatchMachine, AVersionThatNeverComesIsGivenUp) {
  watch_machine machine = watching();
  int tries = 0;
  for (;; ++tries) {
    ASSERT_LT(tries, 20);
    watch_failure why = status(504);
    why.version_too_large = true;
    ASSERT_TRUE(machine.failed(why));
    watch_step step = machine.next();
    if (step.what == watch_step::kind::wait) step = machine.next();
    if (step.what == watch_step::kind::list) break;
    EXPECT_EQ(step.resource_version, "10");
  }
  EXPECT_GT(tries, 1);
}

TEST(WatchMachine, StartsFromAVersionOfTheCallers) {
  watch_machine machine({.resource_version = "33"});
  EXPECT_EQ(machine.next().resource_version, "33");
  EXPECT_TRUE(machine.event(wire_kind::added, "34").deliver);
}

TEST(WatchMachine, PausesGrowAreBoundedAndJittered) {
  watch_machine machine = watching({.first_backoff = 100ms, .last_backoff = 5s, .seed = 7});
  std::chrono::milliseconds longest{0};
  bool differ = false;
  for (int i = 0; i < 100; ++i) {
    machine.failed({.what = failure::network});
    const watch_step step = machine.next();
    ASSERT_EQ(step.what, watch_step::kind::wait);
    EXPECT_LE(step.delay, 5s);
    EXPECT_GE(step.delay, i < 6 ? 50ms * (1 << i) : 2500ms);
    if (i > 10) differ = differ || step.delay != longest;
    longest = std::max(longest, step.delay);
    machine.next();
  }
  EXPECT_TRUE(differ);
  machine.failed({.what = failure::network}, 1min);
  EXPECT_LE(machine.next().delay, 100ms);
}

TEST(WatchMachine, WatchesAreNotEndedAllAtOnce) {
  std::map<std::int64_t, int> timeouts;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const watch_step step = watch_machine({.server_timeout = 300s, .seed = seed}).next();
    EXPECT_GE(step.timeout, 300s);
    EXPECT_LT(step.timeout, 600s);
    ++timeouts[step.timeout.count()];
  }
  EXPECT_GT(timeouts.size(), 30U);
}

// --- the model
// ------------------------------------------------------------------------------------

// A server: a history of changes, of which the oldest are forgotten now and then.
struct model_server {
  struct entry {
    wire_kind kind;
    int key;
    std::uint64_t version;
  };
  std::vector<entry> history;         // all of it, versions rise by 1 to 3
  std::map<int, std::uint64_t> live;  // key -> version
  std::uint64_t version = 5;
  std::uint64_t forgotten = 0;  // what is not newer cannot be watched from
  std::mt19937_64& random;

  explicit model_server(std::mt19937_64& from) : random(from) {}

  void change() {
    version += 1 + random() % 3;
    const int key = static_cast<int>(random() % 12);
    const auto found = live.find(key);
    if (found == live.end()) {
      live[key] = version;
      history.push_back({wire_kind::added, key, version});
    } else if (random() % 3 == 0) {
      live.erase(found);
      history.push_back({wire_kind::deleted, key, version});
    } else {
      found->second = version;
      history.push_back({wire_kind::modified, key, version});
    }
  }

  std::map<int, std::uint64_t> at(std::uint64_t when) const {
    std::map<int, std::uint64_t> state;
    for (const entry& each : history) {
      if (each.version > when) break;
      if (each.kind == wire_kind::deleted) {
        state.erase(each.key);
      } else {
        state[each.key] = each.version;
      }
    }
    return state;
  }

  std::size_t after(std::uint64_t when) const {
    return static_cast<std::size_t>(
        std::upper_bound(history.begin(), history.end(), when,
                         [](std::uint64_t v, const entry& e) { return v < e.version; }) -
        history.begin());
  }
};

// What a careful consumer of the machine sees, checked step by step against the history.
struct model_consumer {
  const model_server& server;
  std::map<int, std::uint64_t> copy;
  std::map<int, std::uint64_t> listing;
  bool in_list = false;
  bool synced = false;
  std::size_t place = 0;  // the next entry of the history that must come
  int restarts = 0;

  void apply(const watch_verdict& verdict, std::vector<model_server::entry> objects,
             std::uint64_t list_version) {
    if (verdict.restarted) {
      in_list = true;
      listing.clear();
      ++restarts;
    }
    if (verdict.deliver) {
      for (const auto& each : objects) {
        if (in_list) {
          if (each.kind == wire_kind::deleted) {
            listing.erase(each.key);
          } else {
            listing[each.key] = each.version;
          }
          continue;
        }
        ASSERT_TRUE(synced);
        ASSERT_LT(place, server.history.size()) << "an event that never was";
        const auto& expected = server.history[place++];
        ASSERT_EQ(each.version, expected.version) << "lost, doubled or out of order";
        ASSERT_EQ(each.key, expected.key);
        if (each.kind == wire_kind::deleted) {
          copy.erase(each.key);
        } else {
          copy[each.key] = each.version;
        }
      }
    }
    if (verdict.synced) {
      ASSERT_TRUE(in_list);
      in_list = false;
      synced = true;
      copy = listing;
      ASSERT_EQ(copy, server.at(list_version)) << "the list is not what there was";
      place = server.after(list_version);
    }
  }
};

class model_run {
 public:
  explicit model_run(std::uint64_t seed)
      : random_(seed),
        server_(random_),
        streams_(chance(2)),
        machine_({.stream_lists = chance(2) == 0,
                  .page_size = static_cast<std::int64_t>(random_() % 5),
                  .seed = seed}),
        consumer_{server_, {}, {}} {}

  void go() {
    const int first = static_cast<int>(random_() % 30);
    for (int i = 0; i < first; ++i) server_.change();
    int waits = 0;
    for (int i = 0; i < 60 && !testing::Test::HasFatalFailure(); ++i) {
      waits = step() ? waits + 1 : 0;
      ASSERT_LT(waits, 2) << "waits twice in a row";
      if (random_() % 4 == 0) server_.change();
      if (random_() % 12 == 0) server_.forgotten = server_.version - random_() % 4;
    }
    faults_ = false;
    for (int i = 0; i < 40 && !testing::Test::HasFatalFailure(); ++i) step();
    ASSERT_TRUE(consumer_.synced);
    ASSERT_FALSE(consumer_.in_list);
    ASSERT_EQ(consumer_.copy, server_.live);
    ASSERT_EQ(consumer_.place, server_.history.size());
    if (!server_.history.empty()) {
      ASSERT_GE(std::stoull(machine_.resource_version()), server_.history.back().version);
    }
  }

  int restarts() const { return consumer_.restarts; }

 private:
  std::uint64_t chance(std::uint64_t of) { return random_() % of; }
  bool fault(std::uint64_t of) { return faults_ && chance(of) == 0; }

  watch_failure any_failure() {
    switch (chance(7)) {
      case 0:
        return {.what = failure::network};
      case 1:
        return {.what = failure::silence};
      case 2:
        return status(503);
      case 3:
        return status(429);
      case 4:
        return status(410);
      case 5:
        return {.what = failure::status, .code = 504, .version_too_large = true};
      default:
        return {.what = failure::malformed};
    }
  }
  std::chrono::milliseconds lived() { return chance(2) == 0 ? 0ms : 60'000ms; }

  bool step() {
    const watch_step step = machine_.next();
    if (step.what == watch_step::kind::wait) {
      EXPECT_GT(step.delay.count(), 0);
      return true;
    }
    if (step.what == watch_step::kind::list) {
      list(step);
    } else {
      watch(step);
    }
    return false;
  }

  void list(const watch_step& step) {
    if (fault(5)) return fail(0ms);
    std::uint64_t at = server_.version;
    int from = -1;
    if (!step.continue_token.empty()) {
      const auto slash = step.continue_token.find('/');
      at = std::stoull(step.continue_token.substr(0, slash));
      from = std::stoi(step.continue_token.substr(slash + 1));
      if (at < server_.forgotten) {
        ASSERT_TRUE(machine_.failed(status(410)));
        return;
      }
    }
    std::vector<model_server::entry> objects;
    std::string more;
    for (const auto& [key, version] : server_.at(at)) {
      if (key <= from) continue;
      if (step.limit > 0 && objects.size() == static_cast<std::size_t>(step.limit)) {
        more = std::to_string(at) + "/" + std::to_string(objects.back().key);
        break;
      }
      objects.push_back({wire_kind::added, key, version});
    }
    consumer_.apply(machine_.page(std::to_string(at), more), objects, at);
  }

  void fail(std::chrono::milliseconds after) { ASSERT_TRUE(machine_.failed(any_failure(), after)); }

  void event(const model_server::entry& what) {
    consumer_.apply(machine_.event(what.kind, std::to_string(what.version)), {what}, 0);
  }

  void watch(const watch_step& step) {
    std::size_t place = 0;
    if (step.initial_events) {
      if (!streams_) {
        if (chance(2) == 0) {
          ASSERT_TRUE(machine_.failed(status(422)));
          return;
        }
        // An old server: objects, and never a bookmark.
        for (const auto& [key, version] : server_.live) event({wire_kind::added, key, version});
        if (chance(2) == 0) {
          machine_.ended(lived());
        } else {
          ASSERT_TRUE(machine_.failed({.what = failure::silence}, lived()));
        }
        return;
      }
      if (fault(5)) return fail(0ms);
      std::vector<model_server::entry> objects;
      for (const auto& [key, version] : server_.live) {
        objects.push_back({wire_kind::added, key, version});
      }
      std::shuffle(objects.begin(), objects.end(), random_);
      place = server_.history.size();
      for (const auto& each : objects) {
        if (fault(20)) return fail(lived());
        event(each);
        if (faults_ && chance(6) == 0) server_.change();
      }
      // Changes meanwhile may come before the bookmark.
      while (place < server_.history.size() && chance(2) == 0) event(server_.history[place++]);
      const std::uint64_t at = place == 0 ? server_.version
                               : place == server_.history.size()
                                   ? server_.version
                                   : server_.history[place].version - 1;
      consumer_.apply(machine_.event(wire_kind::bookmark, std::to_string(at), true), {}, at);
    } else {
      if (fault(6)) return fail(0ms);
      const std::uint64_t from = std::stoull(step.resource_version);
      if (from < server_.forgotten) {
        // Either the answer to the request, or the first event.
        ASSERT_TRUE(machine_.failed(status(410), lived()));
        return;
      }
      ASSERT_LE(from, server_.version);
      place = server_.after(from);
    }
    for (;;) {
      if (testing::Test::HasFatalFailure()) return;
      if (fault(8)) return fail(lived());
      if (faults_ && chance(3) == 0) server_.change();
      if (place < server_.history.size()) {
        event(server_.history[place]);
        // A proxy that repeats the last event.
        if (fault(10)) event_again(server_.history[place]);
        ++place;
      } else if (chance(3) == 0) {
        machine_.event(wire_kind::bookmark, std::to_string(server_.version));
      } else {
        machine_.ended(lived());
        return;
      }
    }
  }

  void event_again(const model_server::entry& what) {
    ASSERT_FALSE(machine_.event(what.kind, std::to_string(what.version)).deliver);
  }

  std::mt19937_64 random_;
  model_server server_;
  bool streams_;
  watch_machine machine_;
  model_consumer consumer_;
  bool faults_ = true;
};

TEST(WatchMachine, RandomHistoriesAndFaultsLoseDoubleAndReorderNothing) {
  int restarts = 0;
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    SCOPED_TRACE(seed);
    model_run run(seed);
    run.go();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
    restarts += run.restarts();
  }
  EXPECT_GT(restarts, 40'000) << "the faults do not lead to lists any more";
}

}  // namespace
}  // namespace mizzen::kubernetes::detail
