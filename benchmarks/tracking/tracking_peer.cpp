// Mizzen's side of tracking.compare.py; prints JSON.
//   mizzen_tracking_peer latency URI THREADS CALLS PAUSE_US   each call of log_metric, timed, while
//       the drain runs; PAUSE_US of work between the calls of a thread
//   mizzen_tracking_peer sustained URI POINTS KEYS   all the way into the store; prints the run too
//   mizzen_tracking_peer search URI FILTER ROUNDS    all pages of runs, 1,000 at a time
//   mizzen_tracking_peer history URI RUN KEY         every point of one metric
#include <mizzen/core/id.hpp>
#include <mizzen/core/json.hpp>
#include <mizzen/tracking.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace mizzen::tracking;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point then) {
  return std::chrono::duration<double>(clock_type::now() - then).count();
}

mizzen::json percentiles(std::vector<double>& micros) {
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double share) {
    return micros[std::min(micros.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(micros.size())))];
  };
  return {{"p50", at(0.5)}, {"p99", at(0.99)}, {"p99.9", at(0.999)}, {"max", micros.back()}};
}

mizzen::json latency(const std::string& uri, int threads, std::int64_t calls,
                     std::chrono::microseconds pause) {
  client c({.uri = uri});
  run into = c.start_run("bench");
  std::vector<std::vector<double>> micros(static_cast<std::size_t>(threads));
  std::vector<std::thread> all;
  for (std::size_t t = 0; t < micros.size(); ++t) {
    micros[t].reserve(static_cast<std::size_t>(calls));
    all.emplace_back([&, t] {
      const std::string key = "loss/" + std::to_string(t);
      for (std::int64_t step = 0; step < calls; ++step) {
        const auto before = clock_type::now();
        into.log_metric(key, 0.5, {.step = step});
        const auto after = clock_type::now();
        micros[t].push_back(std::chrono::duration<double, std::micro>(after - before).count());
        while (clock_type::now() - after < pause) {
        }
      }
    });
  }
  const auto began = clock_type::now();
  for (auto& thread : all) thread.join();
  const double took = seconds_since(began);
  std::vector<double> together;
  for (const auto& each : micros) together.insert(together.end(), each.begin(), each.end());
  mizzen::json out = percentiles(together);
  out["calls_per_second"] = static_cast<double>(together.size()) / took;
  out["refused"] = c.status().refused;
  return out;
}

// Most memory that this process ever had, in MiB (proc(5): VmHWM).
double most_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib / 1024;
  }
  return 0;
}

mizzen::json sustained(const std::string& uri, std::int64_t points, int keys) {
  const double before = most_memory();
  // As long as the log is full, the program waits for the drain.
  client c({.uri = uri, .writer = {.total_size = 64 << 20, .patience = std::chrono::hours(1)}});
  run into = c.start_run("bench");
  std::vector<std::string> names;
  for (int i = 0; i < keys; ++i) names.push_back("metric/" + std::to_string(i));
  const auto began = clock_type::now();
  for (std::int64_t i = 0; i < points; ++i) {
    into.log_metric(names[static_cast<std::size_t>(i % keys)], 0.5, {.step = i / keys});
  }
  c.flush();
  const double took = seconds_since(began);
  return {{"run", into.id()},
          {"points_per_second", static_cast<double>(c.status().drained) / took},
          {"memory_mib", most_memory() - before},
          {"refused", c.status().refused}};
}

mizzen::json search(const std::string& uri, const std::string& filter, std::int64_t rounds) {
  const client c({.uri = uri, .create = false});
  std::vector<double> seconds;
  std::size_t found = 0;
  for (std::int64_t round = -1; round < rounds; ++round) {  // the first one warms up
    const auto began = clock_type::now();
    found = 0;
    run_query query{.filter = filter};
    do {
      const auto page = c.search_runs(query);
      found += page.size();
      query.page_token = page.next_page_token;
    } while (!query.page_token.empty());
    if (round >= 0) seconds.push_back(seconds_since(began));
  }
  return {{"found", found}, {"seconds", seconds}};
}

mizzen::json history(const std::string& uri, const std::string& run_id, const std::string& key) {
  const double before = most_memory();
  const client c({.uri = uri, .create = false});
  const auto began = clock_type::now();
  const auto points = c.metric_history(run_id, key);
  return {{"points", points.size()},
          {"seconds", seconds_since(began)},
          {"memory_mib", most_memory() - before}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  const auto number = [&](int at) { return std::atoll(argv[at]); };
  try {
    mizzen::json out;
    if (what == "latency" && argc == 6) {
      out = latency(argv[2], static_cast<int>(number(3)), number(4),
                    std::chrono::microseconds(number(5)));
    } else if (what == "sustained" && argc == 5) {
      out = sustained(argv[2], number(3), static_cast<int>(number(4)));
    } else if (what == "search" && argc == 5) {
      out = search(argv[2], argv[3], number(4));
    } else if (what == "history" && argc == 5) {
      out = history(argv[2], argv[3], argv[4]);
    } else {
      std::cerr << "usage: mizzen_tracking_peer latency URI THREADS CALLS PAUSE_US | sustained URI "
                   "POINTS KEYS | search URI FILTER ROUNDS | history URI RUN KEY\n";
      return 2;
    }
    std::cout << out << '\n';
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
