#include "simulated_world.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <future>
#include <thread>

namespace mizzen::kubernetes::detail {
namespace {

using namespace simulated;

TEST(Informer, FillsItsCopyAndFollows) {
  for (const bool streamed : {true, false}) {
    fixture f;
    f.earth.streams_lists = streamed;
    f.earth.set("a");
    f.earth.set("b");
    test::informer_history history;
    const handler_id id = f.listen(history);
    EXPECT_FALSE(f.core->has_synced());
    f.core->start();
    f.until([&] { return f.core->has_synced(id); });
    EXPECT_TRUE(f.core->has_synced());
    EXPECT_EQ(history.state(), f.earth.versions());
    EXPECT_EQ(f.earth.lists, streamed ? 0 : 1);
    f.earth.set("a");
    f.earth.set("c");
    f.earth.remove("b");
    f.until([&] { return history.state() == f.earth.versions(); });
    EXPECT_TRUE(f.holds_what_there_is());
    EXPECT_EQ(f.core->objects()->resource_version(), std::to_string(f.earth.version));
    EXPECT_EQ(history.violations(), std::vector<std::string>{});
    EXPECT_EQ(history.events(), 5U);
  }
}

TEST(Informer, ALateHandlerGetsWhatIsThereThenWhatFollows) {
  fixture f;
  f.earth.set("a");
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  std::vector<std::string> seen;
  erased_handler note = [&](const erased_informer_event& event) {
    seen.push_back(std::string(to_string(event.type)) + (event.initial ? " initial" : ""));
  };
  const handler_id id = f.core->add_handler(note, {});
  f.settle();
  f.earth.set("b");
  f.until([&] { return seen.size() == 2 && f.core->has_synced(id); });
  EXPECT_EQ(seen, (std::vector<std::string>{"added initial", "added"}));
}

TEST(Informer, OneCanWaitForAHandlerToHaveHeardOfEverything) {
  fixture f;
  f.earth.set("a");
  f.earth.set("b");
  asio::thread_pool pool(1);
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::atomic<int> calls = 0;
  erased_handler slow = [&](const erased_informer_event&) {
    released.wait();
    ++calls;
  };
  const handler_id id = f.core->add_handler(slow, {.executor = pool.get_executor()});
  const handler_id removed = f.core->add_handler(slow, {.executor = pool.get_executor()});
  const auto waiting = [&](handler_id of) {
    return asio::co_spawn(f.earth.context, f.core->synced(of), asio::use_future);
  };
  auto all = asio::co_spawn(f.earth.context, f.core->synced(), asio::use_future);
  auto heard = waiting(id);
  auto gone = waiting(removed);
  auto unknown = waiting(removed + 100);
  const auto done = [](const std::future<void>& of) {
    return of.wait_for(0s) == std::future_status::ready;
  };
  f.core->start();
  f.until([&] { return done(all) && done(unknown); });
  EXPECT_FALSE(f.core->has_synced(id));
  EXPECT_FALSE(done(heard)) << "the copy is whole, but the handler has not heard of it";
  f.core->remove_handler(removed);
  f.until([&] { return done(gone); });
  release.set_value();
  f.until([&] { return done(heard); });
  EXPECT_NO_THROW(heard.get());
  EXPECT_GE(calls.load(), 2);
  EXPECT_THROW(gone.get(), error);
  EXPECT_THROW(unknown.get(), error);
  pool.join();
}

TEST(Informer, ARemovedHandlerIsNotCalled) {
  fixture f;
  int calls = 0;
  erased_handler count = [&](const erased_informer_event&) { ++calls; };
  const handler_id id = f.core->add_handler(count, {});
  test::informer_history history;
  f.listen(history);
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  f.earth.set("a");
  f.until([&] { return calls == 1; });
  f.core->remove_handler(id);
  f.earth.set("b");
  f.until([&] { return history.state().size() == 2; });
  EXPECT_EQ(calls, 1);
  f.core->remove_handler(id);
}

TEST(Informer, WhatHappenedWhileNobodyWatchedIsTheDifference) {
  fixture f;
  for (const char* name : {"kept", "changed", "gone", "remade"}) f.earth.set(name);
  test::informer_history history;
  f.listen(history);
  std::vector<erased_informer_event> events;
  erased_handler note = [&](const erased_informer_event& e) { events.push_back(e); };
  f.core->add_handler(note, {});
  f.core->start();
  f.until([&] { return events.size() == 4; });
  events.clear();
  // Behind its back: the server forgets, then the watch is told so.
  const auto stream = f.stream();
  stream->silent = true;
  f.earth.set("changed");
  f.earth.remove("gone");
  f.earth.remove("remade");
  f.earth.set("remade");
  f.earth.set("fresh");
  f.earth.forgotten = f.earth.version;
  stream->cut = true;
  stream->wake();
  f.until([&] { return f.holds_what_there_is(); });
  f.settle();
  EXPECT_EQ(history.violations(), std::vector<std::string>{});
  EXPECT_EQ(history.state(), f.earth.versions());
  int deleted = 0, added = 0, updated = 0;
  for (const auto& each : events) {
    if (each.type == informer_event_type::deleted) {
      ++deleted;
      EXPECT_EQ(each.now, nullptr) << "its final state is not known";
    }
    added += each.type == informer_event_type::added;
    updated += each.type == informer_event_type::updated;
  }
  EXPECT_EQ(deleted, 2);  // gone and remade
  EXPECT_EQ(added, 2);    // remade and fresh
  EXPECT_EQ(updated, 1);  // changed; kept is not told
}

TEST(Informer, ADeletionBringsTheLastState) {
  fixture f;
  f.earth.set("a");
  erased_informer_event last;
  erased_handler note = [&](const erased_informer_event& e) { last = e; };
  f.core->add_handler(note, {});
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  f.earth.remove("a");
  f.until([&] { return last.type == informer_event_type::deleted; });
  ASSERT_TRUE(last.now && last.before);
  EXPECT_EQ(static_cast<const thing*>(last.now.get())->version, "12");
  EXPECT_EQ(static_cast<const thing*>(last.before.get())->version, "11");
}

TEST(Informer, AMalformedEventIsAnErrorAndAnotherList) {
  fixture f;
  test::informer_history history;
  f.listen(history);
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  f.stream()->garbage = true;
  f.earth.set("a");
  f.until([&] { return history.state() == f.earth.versions(); });
  EXPECT_EQ(f.errors.size(), 1U);
  EXPECT_NE(f.errors.front().find("watch event 3"), std::string::npos);
  EXPECT_EQ(f.earth.watches, 2);
}

TEST(Informer, AnErrorEventIsHandledByItsCode) {
  fixture f;
  test::informer_history history;
  f.listen(history);
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  for (const int code : {410, 401, 500, 429}) {
    const auto stream = f.stream();
    stream->failure = std::make_exception_ptr(refusal(code));
    f.earth.set("a");
    f.until([&] {
      return history.state() == f.earth.versions() && f.stream() && f.stream() != stream;
    });
  }
  EXPECT_EQ(f.errors.size(), 4U);
  EXPECT_EQ(history.violations(), std::vector<std::string>{});
}

TEST(Informer, ASilentWatchIsTakenForDead) {
  erased_informer_options options;
  options.watch.silence = 50ms;
  fixture f(options);
  test::informer_history history;
  f.listen(history);
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  f.stream()->silent = true;
  f.earth.set("a");
  f.until([&] { return history.state() == f.earth.versions(); });
  ASSERT_GE(f.errors.size(), 1U);
  EXPECT_NE(f.errors.front().find("not even a bookmark"), std::string::npos);
}

TEST(Informer, WhatNoRetryMendsIsThrownBySynced) {
  fixture f;
  f.earth.refusals.push_back(std::make_exception_ptr(refusal(403, "Forbidden")));
  f.core->start();
  auto synced = asio::co_spawn(f.earth.context, f.core->synced(), asio::use_future);
  f.until([&] { return synced.wait_for(0s) == std::future_status::ready; });
  EXPECT_THROW(synced.get(), status_error);
  const handler_id id = f.core->add_handler([](const erased_informer_event&) {}, {});
  auto heard = asio::co_spawn(f.earth.context, f.core->synced(id), asio::use_future);
  f.until([&] { return heard.wait_for(0s) == std::future_status::ready; });
  EXPECT_THROW(heard.get(), status_error);
  // It may be started again, now with the right to.
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
}

TEST(Informer, TroubleBeforeTheFirstListIsWaitedOut) {
  fixture f;
  f.earth.set("a");
  for (int i = 0; i < 5; ++i) {
    f.earth.refusals.push_back(std::make_exception_ptr(error(errc::unavailable, "server", "down")));
  }
  f.core->start();
  auto synced = asio::co_spawn(f.earth.context, f.core->synced(), asio::use_future);
  f.until([&] { return synced.wait_for(0s) == std::future_status::ready; });
  synced.get();
  EXPECT_TRUE(f.holds_what_there_is());
  EXPECT_EQ(f.errors.size(), 5U);
}

TEST(Informer, StopFreesTheStreamAndWaitsForHandlers) {
  fixture f;
  f.earth.set("a");
  bool inside = false, done = false;
  erased_async_handler slow = [&](erased_informer_event) -> asio::awaitable<void> {
    inside = true;
    asio::steady_timer timer(f.earth.context, 30ms);
    co_await timer.async_wait(asio::use_awaitable);
    done = true;
  };
  f.core->add_handler(slow, {});
  f.core->start();
  f.until([&] { return inside; });
  const std::weak_ptr<world_stream> stream = f.stream();
  auto stopped = asio::co_spawn(f.earth.context, f.core->stop(), asio::use_future);
  f.until([&] { return stopped.wait_for(0s) == std::future_status::ready; });
  stopped.get();
  EXPECT_TRUE(done);
  EXPECT_TRUE(stream.expired());
  EXPECT_EQ(f.core->objects()->size(), 1U) << "the copy stays readable";
  auto synced = asio::co_spawn(f.earth.context, f.core->synced(), asio::use_future);
  f.until([&] { return synced.wait_for(0s) == std::future_status::ready; });
  EXPECT_NO_THROW(synced.get());
}

TEST(Informer, StopBeforeTheFirstListCancelsThoseWhoWait) {
  fixture f;
  for (int i = 0; i < 1000; ++i) {
    f.earth.refusals.push_back(std::make_exception_ptr(error(errc::unavailable, "server", "down")));
  }
  f.core->start();
  auto synced = asio::co_spawn(f.earth.context, f.core->synced(), asio::use_future);
  f.settle();
  auto stopped = asio::co_spawn(f.earth.context, f.core->stop(), asio::use_future);
  f.until([&] {
    return stopped.wait_for(0s) == std::future_status::ready &&
           synced.wait_for(0s) == std::future_status::ready;
  });
  EXPECT_THROW(synced.get(), error);
}

TEST(Informer, ASlowHandlerHoldsUpNobodyElse) {
  fixture f;
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  asio::thread_pool pool(1);
  std::atomic<int> slow_calls = 0;
  erased_handler slow = [&](const erased_informer_event&) {
    released.wait();
    ++slow_calls;
  };
  const handler_id id = f.core->add_handler(slow, {.executor = pool.get_executor()});
  test::informer_history history;
  f.listen(history);
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  for (int i = 0; i < 100; ++i) f.earth.set("a");
  f.until([&] { return history.events() == 100; });
  EXPECT_EQ(slow_calls.load(), 0);
  EXPECT_GE(f.core->backlog(id), 99U);
  release.set_value();
  f.until([&] { return slow_calls.load() == 100; });
  pool.join();
}

TEST(Informer, AHandlerThatThrowsGetsTheNextEvent) {
  fixture f;
  int calls = 0;
  erased_handler bad = [&](const erased_informer_event&) {
    ++calls;
    throw error(errc::internal, "handler", "cannot");
  };
  f.core->add_handler(bad, {});
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  f.earth.set("a");
  f.earth.set("a");
  f.until([&] { return calls == 2; });
  EXPECT_EQ(f.errors.size(), 2U);
}

TEST(Informer, TransformsBeforeItStores) {
  erased_informer_options options;
  options.transform = [](void* object) { static_cast<thing*>(object)->uid.append("!"); };
  fixture f(options);
  f.earth.set("a");
  f.core->start();
  f.until([&] { return f.core->has_synced(); });
  EXPECT_EQ(static_cast<const thing*>(f.core->objects()->get("n", "a").get())->uid, "uid1!");
}

TEST(Informer, ResyncTellsEverythingAgain) {
  fixture f;
  f.earth.set("a");
  int resyncs = 0;
  erased_handler count = [&](const erased_informer_event& event) {
    if (!event.resync) return;
    EXPECT_EQ(event.type, informer_event_type::updated);
    EXPECT_EQ(event.before, event.now);
    ++resyncs;
  };
  f.core->add_handler(count, {.resync = 5ms});
  f.core->start();
  f.until([&] { return resyncs >= 3; });
}

// Random changes under random faults: whatever happens, each handler sees a history that obeys the
// rules, and in the end everybody has what there is.
TEST(Informer, RandomChangesUnderRandomFaultsConverge) {
  std::uint64_t events = 0;
  int restarts = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    erased_informer_options options;
    options.watch.stream_lists = random() % 2 == 0;
    fixture f(options);
    f.earth.streams_lists = random() % 3 != 0;
    f.earth.faults = &random;
    test::informer_history early, late;
    f.listen(early);
    f.core->start();
    for (int i = 0; i < 150; ++i) {
      const std::string name = std::to_string(random() % 10);
      if (random() % 3 == 0) {
        f.earth.remove(name);
      } else {
        f.earth.set(name);
      }
      if (random() % 20 == 0) f.earth.forgotten = f.earth.version - random() % 3;
      if (i == 75) f.listen(late);
      if (random() % 3 == 0) {
        f.earth.context.restart();
        f.earth.context.run_one_for(1ms);
        if (random() % 4 == 0) f.settle();
      }
    }
    f.earth.faults = nullptr;
    for (const auto& each : f.earth.streams) {
      // What was silent or torn while there were faults is noticed by its own means.
      if (const auto alive = each.lock()) alive->wake();
    }
    f.until([&] {
      return f.core->has_synced() && f.holds_what_there_is() &&
             early.state() == f.earth.versions() && late.state() == f.earth.versions();
    });
    ASSERT_EQ(early.violations(), std::vector<std::string>{});
    ASSERT_EQ(late.violations(), std::vector<std::string>{});
    events += early.events();
    restarts += f.earth.watches;
  }
  EXPECT_GT(events, 5'000U);
  EXPECT_GT(restarts, 500);
}

TEST(Reflector, HandsOutRestartedObjectsSyncedAndChanges) {
  world earth;
  earth.set("a");
  watch_options options;
  reflector reflected(earth.context.get_executor(), std::make_unique<world_source>(earth), options);
  std::vector<watcher_event_type> seen;
  const auto read = [](reflector& from,
                       std::vector<watcher_event_type>& to) -> asio::awaitable<void> {
    for (;;) to.push_back((co_await from.next()).type);
  };
  auto reading = asio::co_spawn(earth.context, read(reflected, seen), asio::use_future);
  while (seen.size() < 3) earth.context.run_one();
  earth.set("a");
  earth.remove("a");
  while (seen.size() < 5) earth.context.run_one();
  EXPECT_EQ(seen, (std::vector<watcher_event_type>{
                      watcher_event_type::restarted, watcher_event_type::added,
                      watcher_event_type::synced, watcher_event_type::modified,
                      watcher_event_type::deleted}));
  EXPECT_EQ(reflected.resource_version(), "13");
  reflected.close();
  earth.context.run();
  EXPECT_THROW(reading.get(), error);
}

}  // namespace
}  // namespace mizzen::kubernetes::detail
