#include "cluster/cluster.hpp"
#include "cluster/fault_proxy.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/kubernetes/api.hpp>
#include <mizzen/kubernetes/event_recorder.hpp>
#include <mizzen/kubernetes/finalizer.hpp>
#include <mizzen/kubernetes/informer.hpp>
#include <mizzen/kubernetes/leader_election.hpp>
#include <mizzen/kubernetes/types/core_v1.hpp>
#include <mizzen/kubernetes/watch.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace mizzen::kubernetes {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using config_map = core_v1::config_map;

class informer_cluster : public mizzen::test::cluster_test {
 protected:
  ~informer_cluster() override { pool.join(); }

  template <class T>
  T run(asio::awaitable<T> what) {
    return asio::co_spawn(pool, std::move(what), asio::use_future).get();
  }

  static void until(const std::function<bool()>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + 60s;
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up);
      std::this_thread::sleep_for(10ms);
    }
  }

  client connect(const std::string& kubeconfig, encoding as = encoding::automatic) {
    client_options options;
    options.encoding = as;
    return client(pool.get_executor(), config::from_file(kubeconfig), options);
  }

  asio::thread_pool pool{2};
};

TEST_F(informer_cluster, one_of_three_leads_and_another_follows_it) {
  const client k8s = connect(cluster().kubeconfig());
  std::vector<std::unique_ptr<leader_election>> candidates;
  std::vector<std::future<void>> acquired;
  for (int i = 0; i < 3; ++i) {
    leader_election_options options;
    options.namespace_ = ns();
    options.name = "lead";
    options.identity = "candidate-" + std::to_string(i);
    options.lease_duration = 6s;
    options.renew_deadline = 5s;
    options.retry_period = 300ms;
    candidates.push_back(std::make_unique<leader_election>(k8s, options));
    acquired.push_back(asio::co_spawn(pool, candidates.back()->acquire(), asio::use_future));
  }
  const auto leader = [&]() -> std::size_t {
    std::size_t found = candidates.size();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i] && candidates[i]->is_leader()) found = i;
    }
    return found;
  };
  until([&] { return leader() < 3; });
  const std::size_t first = leader();
  acquired[first].get();
  run(candidates[first]->resign());
  until([&] { return leader() < 3; });
  const std::size_t second = leader();
  EXPECT_NE(second, first);
  acquired[second].get();
  // Dead without a word: its lease must run out.
  candidates[second].reset();
  until([&] { return leader() < 3; });
  const std::size_t third = leader();
  EXPECT_NE(third, second);
  EXPECT_NE(third, first) << "it has not asked for it again";
  acquired[third].get();
  EXPECT_NE(
      cluster()
          .kubectl({"get", "lease", "lead", "-n", ns(), "-o", "jsonpath={.spec.holderIdentity}"})
          .find("candidate-" + std::to_string(third)),
      std::string::npos);
  run(candidates[third]->resign());
}

TEST_F(informer_cluster, finalizers_events_and_waiting) {
  const client k8s = connect(cluster().kubeconfig());
  const api<config_map> maps(k8s, ns());
  config_map fresh;
  fresh.metadata.name = "kept";
  const config_map made = run(maps.create(fresh));
  EXPECT_TRUE(run(add_finalizer(maps, made, "mizzen.test/keep")));
  EXPECT_FALSE(run(add_finalizer(maps, made, "mizzen.test/keep")));
  run(maps.remove("kept"));
  const auto deleting = run(wait_until<config_map>(
      maps, "kept",
      [](const config_map* it) { return it && it->metadata.deletion_timestamp.has_value(); },
      deadline::after(60s)));
  EXPECT_TRUE(run(remove_finalizer(maps, *deleting, "mizzen.test/keep")));
  const auto gone = run(wait_until<config_map>(
      maps, "kept", [](const config_map* it) { return it == nullptr; }, deadline::after(60s)));
  EXPECT_EQ(gone, nullptr);
  EXPECT_FALSE(run(remove_finalizer(maps, *deleting, "mizzen.test/keep")));

  event_recorder_options options;
  options.controller = "mizzen.test/recorder";
  event_recorder recorder(k8s, options);
  for (int i = 0; i < 3; ++i) {
    recorded_event event;
    event.regarding = reference_to(made);
    event.reason = "Tested";
    event.action = "Testing";
    event.note = "three times";
    recorder.record(std::move(event));
  }
  run(recorder.flush());
  EXPECT_EQ(recorder.dropped(), 0U);
  EXPECT_EQ(cluster().kubectl({"get", "events.events.k8s.io", "-n", ns(), "-o",
                               "jsonpath={.items[*].reason} {.items[*].series.count}"}),
            "Tested 2");
}

TEST_F(informer_cluster, survives_what_a_proxy_does_to_its_watch) {
  mizzen::test::fault_proxy proxy(cluster());
  const client k8s = connect(proxy.kubeconfig(), encoding::json);
  const api<config_map> direct(connect(cluster().kubeconfig()), ns());
  std::vector<mizzen::test::fault> faults;
  for (const char* end : {"reset", "truncated_chunk", "half_open"}) {
    faults.push_back({.target = "watch=", .after_events = 1, .end = end});
  }
  for (const std::string& line :
       {mizzen::test::watch_error(410, "Expired"), mizzen::test::watch_error(401, "Unauthorized"),
        std::string("this is no event\n")}) {
    faults.push_back({.target = "watch=", .after_events = 1, .inject = line, .end = "close"});
  }
  int number = 0;
  for (const auto& fault : faults) {
    SCOPED_TRACE(fault.end + " " + fault.inject);
    proxy.clear();
    proxy.add(fault);
    informer_options<config_map> options;
    options.watch.stream_lists = false;
    options.watch.silence = 3s;
    options.watch.first_backoff = 50ms;
    std::mutex mutex;
    int errors = 0;
    options.on_error = [&](const std::exception_ptr&) {
      const std::lock_guard lock(mutex);
      ++errors;
    };
    informer<config_map> copy(api<config_map>(k8s, ns()), options);
    copy.start();
    run(copy.synced());
    for (int i = 0; i < 3; ++i) {
      config_map fresh;
      fresh.metadata.name = "map-" + std::to_string(++number);
      run(direct.create(fresh));
    }
    until([&] { return copy.store().get(ns(), "map-" + std::to_string(number)) != nullptr; });
    const std::lock_guard lock(mutex);
    EXPECT_GE(errors, 1) << "the fault did not happen";
    EXPECT_NO_THROW(run(copy.stop()));
  }
}

}  // namespace
}  // namespace mizzen::kubernetes
