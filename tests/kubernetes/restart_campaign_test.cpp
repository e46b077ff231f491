// The API server is killed again and again under many informers and changing objects: nobody may
// miss, double or reorder anything, and in the end everybody has what a fresh list says.
//   MIZZEN_CAMPAIGN_RESTARTS, _INFORMERS, _OBJECTS: how much of it; see restart_campaign.sh
#include "cluster/cluster.hpp"
#include "informer_history.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/watch.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using config_map = core_v1::config_map;

int parameter(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::max(1, std::atoi(value)) : otherwise;
}

// What a watcher saw between two lists, which must be everything.
struct segment {
  std::uint64_t from = 0;
  std::vector<std::uint64_t> versions;
};

struct campaign {
  std::atomic<bool> stop = false;
  std::atomic<int> writes = 0, failed_writes = 0;
  std::mutex mutex;
  std::set<std::uint64_t> known;  // versions that somebody has seen, of this namespace

  void saw(const std::string& version) {
    const std::lock_guard lock(mutex);
    known.insert(std::stoull(version));
  }
};

// Creates, changes and deletes objects at random until it is told to stop.
asio::awaitable<void> change(campaign& all, api<config_map> maps, int first, int count,
                             std::uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!all.stop) {
    const std::string name =
        "map-" +
        std::to_string(first + static_cast<int>(random() % static_cast<std::uint64_t>(count)));
    const bool removes = random() % 5 == 0;
    bool failed = false;
    try {
      if (removes) {
        co_await maps.remove(name);
      } else {
        patch_options options;
        patch merge = patch::merge({{"data", {{"n", std::to_string(random())}}}});
        const config_map now = co_await maps.patch(name, merge, options);
        all.saw(now.metadata.resource_version);
      }
      ++all.writes;
      continue;
    } catch (const status_error& e) {
      failed = !is_not_found(e);
    } catch (const error&) {
      failed = true;
    }
    try {
      if (!failed && !removes) {
        config_map fresh;
        fresh.metadata.name = name;
        const config_map now = co_await maps.create(fresh);
        all.saw(now.metadata.resource_version);
        ++all.writes;
      }
    } catch (const error&) {
      failed = true;
    }
    if (failed) {
      ++all.failed_writes;
      asio::steady_timer pause(maps.k8s().executor(), 50ms);
      co_await pause.async_wait(asio::use_awaitable);
    }
  }
}

asio::awaitable<void> follow(campaign& all, watcher<config_map>& from, std::vector<segment>& to) {
  bool listing = true;
  for (;;) {
    watcher_event<config_map> event;
    try {
      event = co_await from.next();
    } catch (const error& e) {
      if (e.code() == errc::cancelled) co_return;
      throw;
    }
    if (event.type == watcher_event_type::restarted) {
      listing = true;
    } else if (event.type == watcher_event_type::synced) {
      listing = false;
      // The list's own version, as the events behind it may be in the same batch, is that of the
      // newest object in it or a later one: what lies between is not checked.
      to.push_back({0, {}});
    } else if (!listing) {
      const std::uint64_t version = std::stoull(event.object->metadata.resource_version);
      all.saw(event.object->metadata.resource_version);
      if (to.back().from == 0) to.back().from = version;
      to.back().versions.push_back(version);
    }
  }
}

std::string check_segment(const segment& one, const std::set<std::uint64_t>& known) {
  for (std::size_t i = 1; i < one.versions.size(); ++i) {
    if (one.versions[i] <= one.versions[i - 1]) {
      return "doubled or out of order at " + std::to_string(one.versions[i]);
    }
  }
  if (one.versions.empty()) return {};
  const std::set<std::uint64_t> seen(one.versions.begin(), one.versions.end());
  for (auto at = known.lower_bound(one.from); at != known.end() && *at <= one.versions.back();
       ++at) {
    if (!seen.contains(*at)) return "missed " + std::to_string(*at);
  }
  return {};
}

struct follower {
  explicit follower(const api<config_map>& maps, bool streams)
      : copy(maps, options(streams, errors)) {
    informer_handler<config_map> handler;
    handler.event = [this](const informer_event<config_map>& event) { record(event); };
    id = copy.add_handler(std::move(handler));
  }

  void record(const informer_event<config_map>& event) {
    const auto version = [](const std::shared_ptr<const config_map>& of) {
      return of->metadata.resource_version;
    };
    const std::string& name = (event.now ? event.now : event.before)->metadata.name;
    switch (event.type) {
      case informer_event_type::added:
        return history.added(name, version(event.now));
      case informer_event_type::updated:
        return history.updated(name, version(event.before), version(event.now));
      case informer_event_type::deleted:
        return history.deleted(name, version(event.before));
    }
  }

  static informer_options<config_map> options(bool streams, std::atomic<int>& errors) {
    informer_options<config_map> result;
    result.watch.stream_lists = streams;
    result.watch.page_size = 100;
    result.watch.first_backoff = 100ms;
    result.watch.last_backoff = 2s;
    result.on_error = [&errors](const std::exception_ptr&) { ++errors; };
    result.transform = drop_managed_fields<config_map>;
    return result;
  }

  std::map<std::string, std::string> state() const {
    std::map<std::string, std::string> result;
    copy.store().for_each([&](const config_map& each) {
      result[each.metadata.name] = each.metadata.resource_version;
    });
    return result;
  }

  std::atomic<int> errors = 0;
  test::informer_history history;
  informer<config_map> copy;
  handler_id id = 0;
};

TEST(RestartCampaign, NobodyMissesAnything) {
  if (const std::string why = mizzen::test::cluster::unavailable(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const int restarts = parameter("MIZZEN_CAMPAIGN_RESTARTS", 2);
  const int informers = parameter("MIZZEN_CAMPAIGN_INFORMERS", 5);
  const int objects = parameter("MIZZEN_CAMPAIGN_OBJECTS", 100);
  const auto began = std::chrono::steady_clock::now();

  mizzen::test::private_cluster where;
  where.kubectl({"create", "namespace", "campaign"});
  asio::thread_pool pool(2);
  client k8s(pool.get_executor(), config::from_file(where.kubeconfig()),
             {.timeout = 10s, .retry = {.max_attempts = 1}});
  api<config_map> maps(k8s, "campaign");

  std::vector<std::unique_ptr<follower>> followers;
  for (int i = 0; i < informers; ++i) {
    followers.push_back(std::make_unique<follower>(maps, i % 2 == 0));
    followers.back()->copy.start();
  }
  campaign all;
  std::vector<std::unique_ptr<watcher<config_map>>> watchers;
  std::vector<std::vector<segment>> segments(3);
  std::vector<std::future<void>> following;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    watch_options options;
    options.stream_lists = i % 2 == 0;
    options.first_backoff = 100ms;
    options.last_backoff = 2s;
    watchers.push_back(std::make_unique<watcher<config_map>>(maps, options));
    following.push_back(
        asio::co_spawn(pool, follow(all, *watchers.back(), segments[i]), asio::use_future));
  }
  std::vector<std::future<void>> writers;
  constexpr int hands = 4;
  for (int i = 0; i < hands; ++i) {
    const int share = std::max(1, objects / hands);
    writers.push_back(
        asio::co_spawn(pool, change(all, maps, i * share, share, static_cast<std::uint64_t>(i) + 1),
                       asio::use_future));
  }

  const auto wait_for_writes = [&](int more) {
    const int wanted = all.writes + more;
    const auto give_up = std::chrono::steady_clock::now() + 120s;
    while (all.writes < wanted) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "nothing can be written";
      std::this_thread::sleep_for(20ms);
    }
  };
  wait_for_writes(objects);
  for (int i = 0; i < restarts && !HasFatalFailure(); ++i) {
    where.kill("kube-apiserver");
    where.start("kube-apiserver");
    wait_for_writes(std::min(objects, 200));
  }
  all.stop = true;
  for (auto& writer : writers) writer.get();

  auto fresh = asio::co_spawn(pool, maps.list_all(), asio::use_future).get();
  std::map<std::string, std::string> expected;
  for (const config_map& each : fresh.items) {
    expected[each.metadata.name] = each.metadata.resource_version;
  }
  ASSERT_FALSE(expected.empty());

  const auto give_up = std::chrono::steady_clock::now() + 120s;
  for (const auto& each : followers) {
    while (each->state() != expected || each->copy.backlog(each->id) > 0) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "a copy does not converge";
      std::this_thread::sleep_for(20ms);
    }
  }
  std::uint64_t events = 0;
  int errors = 0;
  for (const auto& each : followers) {
    asio::co_spawn(pool, each->copy.stop(), asio::use_future).get();
    EXPECT_EQ(each->history.violations(), std::vector<std::string>{});
    EXPECT_EQ(each->history.state(), expected);
    events += each->history.events();
    errors += each->errors;
  }
  for (auto& each : watchers) each->close();
  for (auto& each : following) each.get();
  std::size_t lists = 0, watched = 0;
  for (const auto& each : segments) {
    for (const segment& one : each) {
      EXPECT_EQ(check_segment(one, all.known), "");
      watched += one.versions.size();
    }
    lists += each.size();
  }
  followers.clear();
  watchers.clear();
  pool.join();
  std::cout << restarts << " restarts, " << informers << " informers, " << objects
            << " objects: " << all.writes << " changes (" << all.failed_writes << " refused), "
            << events << " events of informers, " << errors << " interruptions, " << watched
            << " events of watchers in " << lists << " segments, "
            << std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() -
                                                                began)
                   .count()
            << " s\n";
}

}  // namespace
}  // namespace mizzen::kubernetes
